"""The folder of a run: its name, its settings, and what a run needs in order to go on."""

import contextlib
import csv
import itertools
import json
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Self

import common

import keras
import numpy as np

from support import processes
from support.settings import RunConfig

SECONDS, STOPPED = "training_seconds", "stopped"  # in metrics.json, during the training too


class Run:
    """A training and its folder.

    Attributes:
        folder: where the files of the run are.
        whole: the run of which this one is a part, as in lesson 4; else itself.
        epochs: the figures of every epoch that is done, by name.
        seconds: how long these epochs took.
        stopped: whether the training ended early because it made no more progress.
        interrupted: whether Ctrl-C has been pressed since the run was opened.
    """

    def __init__(self, folder: Path, whole: Self | None = None) -> None:
        self.folder = folder
        self.whole = whole or self
        self.epochs: list[dict[str, float]] = []
        self.seconds = 0.0
        self.stopped = False
        self.interrupted = False

    @property
    def history(self) -> dict[str, list[float]]:
        """The figures of all epochs by name."""
        return by_name(self.epochs)

    @property
    def state(self) -> dict[str, float | bool]:
        """What metrics.json says of the training: its seconds, and whether it stopped early."""
        return {SECONDS: round(self.seconds, 1)} | ({STOPPED: True} if self.stopped else {})

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Handle Ctrl-C: raise Interrupted, and remember it, because Keras may drop exceptions."""
        self.interrupted = True
        raise common.Interrupted(str(self.folder))

    def last_epoch(self, planned: int) -> int:
        """Return after how many epochs the training ends: a run that stopped early gets no more."""
        return len(self.epochs) if self.stopped else planned

    def restore(self, network: keras.Model, steps_per_epoch: int) -> None:
        """Bring a compiled network to where the checkpoint of the folder left it, if there is one.

        The run takes over the epochs saved there, their seconds, and whether it stopped early.

        Args:
            steps_per_epoch: number of weight updates in an epoch.

        Raises:
            DataError: the files are damaged.
        """
        # Otherwise TensorFlow would trace the first step twice, because that creates variables.
        network.optimizer.build(network.trainable_variables)
        checkpoint = self.folder / "checkpoint.keras"
        if not checkpoint.exists():
            return
        try:
            network.load_weights(checkpoint)
            rows = read_epochs(self.folder)
            # One less than there are rows, if saving the last epoch was cut short:
            done = int(network.optimizer.iterations.value) // steps_per_epoch
            if done > len(rows):
                raise ValueError(f"history.csv has {len(rows)} of {done} epochs")
            state = json.loads((self.folder / "metrics.json").read_text())
            (self.folder / "model.keras").stat()  # raises if there is none
            self.seconds = state[SECONDS]
            self.stopped = state.get(STOPPED, False) and done == len(rows)
            self.epochs = rows[:done]
        except Exception as error:  # of Keras, HDF5, zip, CSV or JSON
            raise common.DataError(
                f"--resume {self.folder}: its files are damaged ({common.one_line(error)})"
            ) from None

    def save(self, network: keras.Model) -> None:
        """Write what a run needs in order to go on after the last of `epochs`.

        Writes history.csv, the seconds so far in metrics.json, and, last, checkpoint.keras: the
        network as it is, with the optimizer's state, whose count of weight updates tells how many
        epochs are done.
        """
        write_csv(
            {"epoch": range(len(self.epochs))} | dict(sorted(self.history.items())),
            self.folder / "history.csv",
        )
        write_json(self.state, self.folder / "metrics.json")
        with common.written_beside(self.folder / "checkpoint.keras") as path:
            network.save(path)

    def best(self, network: keras.Model) -> keras.Model:
        """Return the network of the best epoch, from model.keras, compiled as `network` is.

        Where several devices or processes trained, the first process goes on alone from here, on
        one device; the others leave `processes.join`.
        """
        compiled = network.get_compile_config()
        keras.distribution.set_distribution(None)
        if processes.process_id() > 0:
            raise processes.WorkDone
        best = keras.saving.load_model(self.folder / "model.keras")
        best.compile_from_config(compiled)
        return best


def read_epochs(folder: Path) -> list[dict[str, float]]:
    """Read history.csv: the figures of every epoch, by name."""
    with (folder / "history.csv").open(newline="") as file:
        return [
            {name: float(row[name]) for name in row if name != "epoch"}
            for row in csv.DictReader(file)
        ]


def by_name(epochs: list[dict[str, float]]) -> dict[str, list[float]]:
    """Turn a list of every epoch's figures into lists of all epochs, one for each figure."""
    return {name: [row[name] for row in epochs] for name in epochs[0]}


def write_json(content: dict | list, path: Path) -> None:
    """Write a dictionary or a list as JSON."""
    with common.written_beside(path) as file:
        file.write_text(json.dumps(content, indent=2) + "\n")


def write_csv(columns: dict[str, Iterable], path: Path) -> None:
    """Write columns of equal length, each below its name, as CSV."""
    with common.written_beside(path) as unfinished, unfinished.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *zip(*columns.values(), strict=True)])


def open_run(script: str, config: RunConfig) -> Run:
    """Make the folder OUTPUT/SCRIPT/TIME, which must be new, and write config.json into it.

    With --resume, take the folder of that run, if it was made with the same settings. The backend
    and the versions are in versions.json, not among the settings: another backend may resume a
    run. From here on Ctrl-C raises Interrupted, which names the folder, until the
    decorator `lesson` takes that back.

    Args:
        script: path of the script that runs.
        config: its settings.

    Raises:
        SettingError: the folder cannot be made or written to; or the run to resume is missing, has
            other settings, or is finished.
    """
    settings = config.of_the_run()
    if config.resume:
        _check_resumable(config.resume, Path(script).name, settings)
        run = Run(config.resume)
    else:
        try:
            run = Run(_new_folder(config.output / Path(script).stem))
            write_json(settings, run.folder / "config.json")
        except OSError as error:
            raise common.SettingError(
                f"--output {config.output} can't be written: {error}"
            ) from None
    _note_versions(run.folder)
    # Only the main thread may handle Ctrl-C, and only where nobody else does.
    if (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):
        signal.signal(signal.SIGINT, run.interrupt)
    return run


def _new_folder(parent: Path) -> Path:
    """Make a folder that is named after the time."""
    name = time.strftime("%Y-%m-%d_%H-%M-%S")
    parent.mkdir(parents=True, exist_ok=True)
    for attempt in itertools.count(1):
        folder = parent / (name if attempt == 1 else f"{name}_{attempt}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder


def open_part(whole: Run, name: str, config: RunConfig) -> Run:
    """Make the folder of a part of a run, if it is missing, and write its config.json."""
    part = Run(whole.folder / name, whole)
    part.folder.mkdir(exist_ok=True)
    write_json(config.of_the_run(), part.folder / "config.json")
    return part


def _note_versions(folder: Path) -> None:
    """Note in versions.json with which backend and versions a run begins or goes on."""
    backend = keras.backend.backend()
    versions = {"backend": backend, "python": platform.python_version()} | {
        library.__name__: library.__version__ for library in (keras, sys.modules[backend], np)
    }
    path = folder / "versions.json"
    try:
        noted = list(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):  # none yet, or damaged: no reason to stop the run
        noted = []
    if versions not in noted:
        write_json([*noted, versions], path)


def _check_resumable(folder: Path, script: str, now: dict) -> None:
    """Raise SettingError if there is no unfinished run of the script with these settings."""
    try:
        before = json.loads((folder / "config.json").read_text())
        others = before.keys() ^ now.keys()  # of another script, or of this one as it was
    except (OSError, ValueError, AttributeError):  # no file, no JSON, no dictionary
        raise common.SettingError(f"--resume {folder}: there is no run of {script}") from None
    if (folder.parent / "config.json").exists():
        raise common.SettingError(
            f"--resume {folder}: it is a part of the run {folder.parent}: name that"
        )
    if others:
        raise common.SettingError(
            f"--resume {folder}: there is no run of {script} as it is now: only one of "
            f"the two has {', '.join(sorted(others))}"
        )
    different = [
        f"{name} {before[name]}, not {now[name]}"
        for name in now
        if now[name] != before[name]
        and name not in ("output", "data")  # the project may have been moved, or copied
    ]
    if different:
        raise common.SettingError(f"--resume {folder}: that run began with {', '.join(different)}")
    with contextlib.suppress(OSError, ValueError, AttributeError):  # `restore` says what is damaged
        if json.loads((folder / "metrics.json").read_text()).keys() - {SECONDS, STOPPED}:
            raise common.SettingError(f"--resume {folder}: that run is finished")
