"""From the terminal to `main(config)`: options, messages, exit codes, what Ctrl-C prints."""

import contextlib
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import common

import pydantic
import tyro

from support import drawing, predict, processes, report
from support.settings import RunConfig


def parse(config_class: type[pydantic.BaseModel], description: str) -> pydantic.BaseModel:
    """Read the settings from the command line; end with a message and exit code 2 if one is bad.

    Args:
        config_class: the settings, with their defaults and bounds.
        description: what --help says of the script.
    """
    with warnings.catch_warnings():
        # tyro warns about a default of the wrong type; the validation that follows says more.
        warnings.filterwarnings("ignore", category=UserWarning, module="tyro")
        return tyro.cli(config_class, prog=Path(sys.argv[0]).name, description=description)


def spelt(*words: str) -> str:
    """Write a command as PowerShell, cmd.exe and sh read it, with quotes where they are needed."""
    return " ".join(word if re.fullmatch(r"[\w./:=+,@-]+", word) else f'"{word}"' for word in words)


@contextlib.contextmanager
def one_message(resume: Path | None = None) -> Iterator[None]:
    """Turn an error that the user can mend into one message on stderr and an exit code.

    The code is 2 for a setting, 130 for Ctrl-C, and 1 for all else: data, training, a file that
    cannot be read or written, a process that was lost.

    Args:
        resume: the folder of the run to go on with, if the command names one.
    """
    try:
        yield
    except common.SettingError as error:
        processes.leave(str(error), 2)
    except (common.DataError, common.TrainingError) as error:
        processes.leave(str(error), 1)
    except OSError as error:  # a full disk, a folder that is gone
        processes.leave(
            f"{error.filename or 'a file'} can't be written or read: {error.strerror or error}", 1
        )
    except (RuntimeError, ValueError) as error:  # JAX raises either
        if processes.count() == 1:
            raise
        processes.leave(
            f"another process has ended or can't be reached, or this one has failed "
            f"({common.one_line(error)}): start all again, with --resume and the folder of the run",
            1,
        )
    except common.Interrupted as interruption:
        if processes.process_id() > 0:  # its folder is a temporary one
            advice = "start all again, with --resume and the run's folder"
        else:
            options = [] if resume else ["--resume", Path(str(interruption)).as_posix()]
            advice = spelt("python", *sys.argv, *options)
        processes.leave(f"\ninterrupted; to go on: {advice}", 130)
    except KeyboardInterrupt:
        processes.leave("\ninterrupted", 130)


def run(main: Callable, config_class: type[RunConfig], description: str) -> None:
    """Run a script: read its settings from the command line, and do what they ask for.

    It calls `main(config)`, or does what --predict, --draw or --compare say instead. An error that
    the user can mend ends the script: see `one_message`.

    Args:
        description: what --help says of the script.
    """
    config = parse(config_class, description)
    with contextlib.suppress(AttributeError):  # notebooks and editors have their own output
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may not suit the screen
    runs = config.output / Path(sys.argv[0]).stem
    with one_message(config.resume):
        if (config.predict, config.compare, config.draw or None).count(None) < 2:
            raise common.SettingError("--predict, --draw and --compare: one at a time")
        if config.seen and config.predict is None:
            raise common.SettingError("--seen goes with --predict")
        if config.model and config.predict is None and not config.draw:
            raise common.SettingError("--model goes with --predict or --draw")
        if config.draw:
            drawing.open_pad(model=config.model, runs=runs, folder=config.output / "drawn")
        elif config.compare is not None:
            report.compare(config.compare, runs)
        elif config.predict is not None:
            if not predict.print_predictions(
                config.predict, model=config.model, runs=runs, seen=config.seen
            ):
                sys.exit(1)
        else:
            with processes.join(
                seed=config.seed, output=config.output, resume=config.resume
            ) as folders:
                main(config.model_copy(update=folders))
