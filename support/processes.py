"""Several processes that train one network together.

All do the same: build the network, train it on their share of every batch, write the files of the
run. What the first one prints and writes is what a user sees; it alone tests.
"""

import contextlib
import os
import re
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import common

import keras

_ADDRESSES = "KERAS_DISTRIBUTION_JOB_ADDRESSES"
_PROCESSES = "KERAS_DISTRIBUTION_NUM_PROCESSES"
_PROCESS = "KERAS_DISTRIBUTION_PROCESS_ID"
LONGEST_WAIT = 240.0  # seconds of the first for the others; after 300, JAX would end it with a dump


class WorkDone(BaseException):
    """All that a process which is not the first has to do is done."""


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
        TrainingError: the first process cannot be reached within a minute.
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
    common.set_seed(seed)  # the same in all, without asking each other
    message = f"the other processes did not come in {LONGEST_WAIT:.0f} seconds: start all, or none"
    stderr = os.dup(2)  # what is written to the usual one is held back below

    def give_up() -> None:
        os.write(stderr, f"{message}\n".encode())
        os._exit(1)  # see `leave`

    giving_up = threading.Timer(LONGEST_WAIT, give_up)
    giving_up.daemon = True
    if process_id() == 0:
        print(f"waiting for the other processes, {number} in all", flush=True)
        giving_up.start()
    else:
        _wait_for_the_first(addresses.split(",")[0])
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
    for name, value in (_ADDRESSES, addresses), (_PROCESSES, number), (_PROCESS, index):
        if value is None:
            raise common.SettingError(
                f"{name} is not set, but other KERAS_DISTRIBUTION_ variables are"
            )
    if not re.fullmatch(r"[^,]+:\d+(,[^,]+:\d+)*", addresses):
        raise common.SettingError(f"{_ADDRESSES}={addresses}: expected HOST:PORT[,HOST:PORT]")
    if not (number.isdecimal() and index.isdecimal() and int(index) < int(number)):
        raise common.SettingError(
            f"{_PROCESSES}={number}, {_PROCESS}={index}: expected a number "
            f"of processes and one below it, counted from 0"
        )
    if addresses.count(",") and addresses.count(",") + 1 != int(number):
        raise common.SettingError(
            f"{_ADDRESSES} names {addresses.count(',') + 1} processes, "
            f"{_PROCESSES} is {number}: name the first, or all"
        )


def _wait_for_the_first(address: str, seconds: float = 60) -> None:
    host, port = address.rsplit(":", 1)
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except (OSError, OverflowError) as error:
            if time.monotonic() > end:
                raise common.TrainingError(
                    f"the first process can't be reached at {address} ({error})"
                ) from None
            time.sleep(0.2)


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
