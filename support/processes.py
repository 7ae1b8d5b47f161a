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
LONGEST_WAIT = 240.0  # seconds for one another; after 300, JAX would end a process with a dump


class WorkDone(BaseException):
    """A process other than the first has done all its work."""


@contextlib.contextmanager
def join(*, seed: int, output: Path, resume: Path | None) -> Iterator[dict[str, Path | None]]:
    """Join, for the block, the processes that Keras's environment variables name.

    KERAS_DISTRIBUTION_JOB_ADDRESSES, _NUM_PROCESSES and _PROCESS_ID are those of
    `keras.distribution.initialize`. Without them there is one process. The first of several is
    the one that a user sees: the others print nothing and write to a folder that is removed. If not
    all join within LONGEST_WAIT, each ends with a message and exit code 1.

    Args:
        seed: that of the run.
        output: the folder that the first process writes to.
        resume: the folder of the run that is to go on, if any.

    Yields:
        The `output` and the `resume` that this process must use.

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
    given = f"{_ADDRESSES}={addresses}, {_PROCESSES}={number}, {_PROCESS}={index}"
    if keras.backend.backend() != "jax":
        raise common.SettingError(
            f"{given}, but the {keras.backend.backend()} backend trains in one process: set "
            f"KERAS_BACKEND=jax, or unset them"
        )
    if (
        not re.fullmatch(r"[^,\s]+:\d+(,[^,\s]+:\d+)* \d+ \d+", f"{addresses} {number} {index}")
        or int(index) >= int(number)
        or addresses.count(",") + 1 not in (1, int(number))
    ):
        raise common.SettingError(
            f"{given}: expected HOST:PORT of the first process or, with commas between them, of "
            f"all; how many there are; and the number of this one, counted from 0"
        )
    common.set_seed(seed)  # the same in all processes, without an exchange
    stderr = os.dup(2)  # what is written to the usual one is held back below

    def give_up() -> None:
        message = f"not all {number} processes came in {LONGEST_WAIT:.0f} seconds"
        os.write(stderr, f"{message}: start all, or none\n".encode())
        os._exit(1)  # see `leave`

    giving_up = threading.Timer(LONGEST_WAIT, give_up)
    giving_up.start()
    try:
        if process_id() == 0:
            print(f"waiting for the other processes, {number} in all", flush=True)
        keras.distribution.initialize()
        with common.hold_back_output(), keras.distribution.DataParallel().scope():
            keras.Variable(0.0)  # first exchange: JAX connects the processes, and reports it
    finally:
        giving_up.cancel()


def process_id() -> int:
    """Return the number of this process among those that train together, counted from 0."""
    return int(os.environ.get(_PROCESS, 0))


def count() -> int:
    """Count the processes that train together."""
    return int(os.environ.get(_PROCESSES, 1))


def leave(message: str, code: int) -> NoReturn:
    """Print a message on stderr and exit, without waiting for other processes."""
    print(message, file=sys.stderr)
    if _PROCESS in os.environ:
        # At a usual exit JAX would wait for the other processes, which wait for this one.
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)
