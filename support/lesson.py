"""What surrounds a lesson's main: the seed, several devices, Ctrl-C."""

import functools
import signal
from collections.abc import Callable

import common

from support import devices, gru
from support.settings import RunConfig


def lesson(main: Callable[[RunConfig], dict]) -> Callable[[RunConfig], dict]:
    """Make `main(config)` start from its seed, run on all devices, and restore Ctrl-C at the end.

    Whatever this process did before, the same seed repeats a run. If there are several devices,
    they share each batch. The decorated function raises, besides the errors of `main`:

    Raises:
        SettingError: the devices cannot divide a batch; or `main` asks for a setting that class
            Config does not have.
        Interrupted: Ctrl-C was pressed after `run_folder.open_run`; the message is the folder.
    """

    @functools.wraps(main)
    def run(config: RunConfig) -> dict:
        ctrl_c = signal.getsignal(signal.SIGINT)
        try:
            devices.distribute(config.batch_size)
            common.set_seed(config.seed)
            gru.without_waste()
            return main(config)
        except AttributeError as error:
            if not isinstance(error.obj, RunConfig):
                raise
            raise common.SettingError(
                f"class Config has no setting {error.name!r}: is it misspelt?"
            ) from None
        finally:
            if signal.getsignal(signal.SIGINT) is not ctrl_c:  # see `run_folder.open_run`
                signal.signal(signal.SIGINT, ctrl_c)

    return run
