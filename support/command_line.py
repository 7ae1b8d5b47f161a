"""From the terminal to `main(config)`: options, messages, exit codes, what Ctrl-C prints."""

import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import common

import tyro

from support import predict, processes
from support.settings import RunConfig


def run(main: Callable, config_class: type[RunConfig], description: str) -> None:
    """Run a script: read its settings from the command line, call `main(config)`, exit.

    Any error that the user can mend becomes one message on stderr: exit code 2 for a setting,
    1 for data or training, 130 for Ctrl-C.

    Args:
        description: what --help says of the script.
    """
    script = Path(sys.argv[0])
    with warnings.catch_warnings():
        # tyro warns of a default of the wrong type; validation then says it better.
        warnings.filterwarnings("ignore", category=UserWarning, module="tyro")
        config = tyro.cli(config_class, prog=script.name, description=description)
    try:
        if config.predict:
            if not predict.print_predictions(
                config.predict,
                model=config.model,
                runs=config.output / script.stem,
                seen=config.seen,
            ):
                sys.exit(1)
        elif config.model or config.seen:
            raise common.SettingError(
                f"--{'model' if config.model else 'seen'} goes with --predict"
            )
        else:
            with processes.join(
                seed=config.seed, output=config.output, resume=config.resume
            ) as folders:
                main(config.model_copy(update=folders))
    except common.SettingError as error:
        processes.leave(str(error), 2)
    except (common.DataError, common.TrainingError) as error:
        processes.leave(str(error), 1)
    except OSError as error:  # a full disk, a folder that is gone
        reason = f"can't be written or read: {error.strerror or error}"
        processes.leave(f"{error.filename or 'a file'} {reason}", 1)
    except common.Interrupted as interruption:
        resume = [] if config.resume else ["--resume", str(interruption)]
        message = f"\ninterrupted; to go on: {shlex.join(['python', *sys.argv, *resume])}"
        processes.leave(message, 130)
    except KeyboardInterrupt:
        processes.leave("\ninterrupted", 130)
