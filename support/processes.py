"""Several processes that train one network together.

All do the same: build the network, train it on their share of every batch, write the files of the
run. What the first one prints and writes is what a user sees; it alone tests.
"""

import contextlib
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import common

import keras

_ADDRESSES = "KERAS_DISTRIBUTION_JOB_ADDRESSES"
_PROCESSES = "KERAS_DISTRIBUTION_NUM_PROCESSES"
_PROCESS = "KERAS_DISTRIBUTION_PROCESS_ID"
LONGEST_WAIT = 240.0  # seconds for each other; after 300, JAX would end a process with a dump


class WorkDone(BaseException):
    """A process other than the first has done all its work."""


@contextlib.contextmanager
def join(*, seed: int, output: Path, resume: Path | None) -> Iterator[dict[str, Path | None]]:
    """Join the processes that Keras's variables name, for the block.

    KERAS_DISTRIBUTION_JOB_ADDRESSES, _NUM_PROCESSES and _PROCESS_ID are those of
    `keras.distribution.initialize`. Without them there is one process. The first of several is
    the one that a user sees: the others print nothing and write to a folder that is removed.

    Args:
        seed: of the run.
        output: the folder that the first process writes to.
        resume: the folder of the run that is to go on, if any.

    Yields:
        `output` and `resume` as this process has to take them.

    Raises:
        SettingError: the variables are incomplete, or the backend is not JAX.
    """
    if any(name in os.environ for name in (_ADDRESSES, _PROCESSES, _PROCESS)):
        _connect(seed)
    if process_id() == 0:
        yield {"output": output, "resume": resume}
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.suppress(WorkDone),
    ):
        copy = Path(folder, "resumed") if resume else None
        if resume and resume.exists():
            shutil.copytree(resume, copy)
        yield {"output": Path(folder), "resume": copy}


def _connect(seed: int) -> None:
    addresses, number, index = map(os.environ.get, (_ADDRESSES, _PROCESSES, _PROCESS))
    _check_process_variables(addresses, number, index)
    common.set_seed(seed)  # the same in all processes, without an exchange
    message = f"not all {number} processes came in {LONGEST_WAIT:.0f} seconds: start all, or none"
    stderr = os.dup(2)  # what is written to the usual one is held back below

    def give_up() -> None:
        os.write(stderr, f"{message}\n".encode())
        os._exit(1)  # see `leave`

    giving_up = threading.Timer(LONGEST_WAIT, give_up)
    giving_up.daemon = True
    giving_up.start()
    if process_id() == 0:
        print(f"waiting for the other processes, {number} in all", flush=True)
    try:
        keras.distribution.initialize()
        with common.hold_back_output(), keras.distribution.DataParallel().scope():
            keras.Variable(0.0)  # first exchange: JAX connects the processes, and reports it
    finally:
        giving_up.cancel()


def _check_process_variables(addresses: str | None, number: str | None, index: str | None) -> None:
    if keras.backend.backend() != "jax":
        raise common.SettingError(
            f"{_ADDRESSES} and its like are set, but the {keras.backend.backend()} "
            f"backend trains in one process: set KERAS_BACKEND=jax, or unset them"
        )
    for name, value, form, expected in (
        (_ADDRESSES, addresses, r"[^,]+:\d+(,[^,]+:\d+)*", "HOST:PORT[,HOST:PORT]"),
        (_PROCESSES, number, r"\d+", "how many processes there are"),
        (_PROCESS, index, r"\d+", "the number of this process, counted from 0"),
    ):
        if not re.fullmatch(form, value or ""):
            raise common.SettingError(f"{name} is {value or 'not set'}; expected {expected}")
    if int(index) >= int(number) or addresses.count(",") + 1 not in (1, int(number)):
        raise common.SettingError(
            f"{_ADDRESSES}={addresses}, {_PROCESSES}={number}, {_PROCESS}={index}: expected the "
            f"address of the first process or those of all, and a process below the number of all"
        )


def process_id() -> int:
    """Return the number of this process among those that train together, counted from 0."""
    return int(os.environ.get(_PROCESS, 0))


def count() -> int:
    """Count the processes that train together."""
    return int(os.environ.get(_PROCESSES, 1))


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Turn an error that JAX raises when another process is lost into a TrainingError."""
    try:
        yield
    except (RuntimeError, ValueError) as error:  # JAX raises either, by what it was about to do
        if _ADDRESSES not in os.environ:
            raise
        raise common.TrainingError(
            f"another process has ended or can't be reached, or this one has failed "
            f"({common.one_line(error)}): start all again, with --resume and the folder of the run"
        ) from None


def leave(message: str, code: int) -> NoReturn:
    """Print a message on stderr and exit, without waiting for other processes."""
    print(message, file=sys.stderr)
    if _PROCESS in os.environ:
        # At a usual exit JAX would wait for the other processes, which wait for this one.
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)
