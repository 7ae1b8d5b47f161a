"""Training: the batches of an epoch, the callbacks, and the loop with all that it writes."""

import csv
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import common

import keras
import numpy as np

from support import ctc, devices, run_folder


class EpochBatches(keras.utils.PyDataset):
    """Batches of examples that depend on the seed and the number of the epoch, nothing else.

    Args:
        compose: takes the epoch's random generator, returns the epoch's examples in their order.
        batch_size: examples in a batch, of which every process takes its share; the last batch
            holds what is left, divided by the devices.
        seed: of the random generators.
        collate: makes one array of the inputs of a batch, where they are not one already.
    """

    def __init__(
        self,
        compose: Callable[[np.random.Generator], common.Examples],
        batch_size: int,
        seed: int,
        collate: Callable[[np.ndarray], np.ndarray] = np.asarray,
    ) -> None:
        # More than one worker makes Keras switch off the tuner of tf.data, a thread that sleeps
        # ever longer and for which the end of an epoch would wait, at times longer than it trained.
        # Without tf.data, the batches that workers had ready when Keras looked at the first one
        # would come before it.
        super().__init__(workers=2 if keras.backend.backend() == "tensorflow" else 1)
        self.compose = compose
        self.collate = collate
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = None
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Compose the batches of an epoch, counted from 0."""
        self.begun = True
        if epoch != self.epoch:
            self.epoch = epoch
            examples = self.compose(np.random.default_rng([self.seed, epoch]))
            size = len(examples.x) // devices.count() * devices.count()
            self.examples = common.Examples(*(part[:size] for part in examples))

    def __len__(self) -> int:
        return math.ceil(len(self.examples.x) / self.batch_size)

    def __getitem__(self, index: int) -> common.Examples:
        batch = slice(index * self.batch_size, (index + 1) * self.batch_size)
        x, y = (part[batch] for part in self.examples)
        if not self.begun and index == 1 and x.dtype == object:
            # Before the first epoch Keras looks at two batches and takes for fixed what is equal
            # in both. The second must show it that lengths differ.
            x = x.copy()
            x[0] = np.tile(max(self.examples.x, key=len), (2, 1))
        share = devices.share(len(y))
        return common.Examples(self.collate(x)[share], y[share])


def in_batches(examples: common.Examples, batch_size: int = 500) -> EpochBatches:
    """Return batches of the same examples in the same order in every epoch, to validate or test.

    Args:
        batch_size: examples in a batch, or a few less, so that the devices can divide them.
    """
    batch_size -= batch_size % devices.count()
    return EpochBatches(lambda random: examples, batch_size, seed=0)


class StartEpoch(keras.callbacks.Callback):
    """Make the batches and the dropout of an epoch depend on the seed and its number alone."""

    def __init__(self, batches: EpochBatches) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.batches.start_epoch(epoch)
        for variable in self.model.non_trainable_variables:
            if variable.path.endswith("seed_generator_state"):  # Keras does not save it
                seed, _ = keras.ops.convert_to_numpy(variable.value)
                variable.assign([seed, epoch * 2**20])


class StopOnInfiniteLoss(keras.callbacks.Callback):
    """Raise TrainingError at the first batch whose loss is not a finite number."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if not math.isfinite(logs["loss"]):
            raise common.TrainingError(
                f"the loss became {logs['loss']} in epoch {self.epoch + 1}, batch {batch + 1}: "
                f"lower --learning-rate"
            )


class SequenceValidation(keras.callbacks.Callback):
    """Add the loss and the error rates on validation sequences to the figures of an epoch."""

    def __init__(self, validation: common.Examples) -> None:
        super().__init__()
        self.validation = validation

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        with devices.on_one_device(self.model) as network:
            logits = network.predict(in_batches(self.validation), verbose=0)
        losses = keras.ops.convert_to_numpy(keras.losses.ctc(self.validation.y, logits))
        rates = ctc.error_rates(self.validation.y, ctc.read_labels(logits))
        logs["val_loss"] = float(losses.mean())
        logs.update({f"val_{name}": rate for name, rate in rates.items()})


class Progress(keras.callbacks.Callback):
    """Save a training after every epoch, so that it can go on from there to the same end.

    Writes to the run's folder: history.csv; model.keras, the network of the best epoch; the
    seconds so far in metrics.json; and last checkpoint.keras, the network as it is, with the
    optimizer's state, whose count of weight updates tells how many epochs are done.

    Args:
        folder: of the run; if it holds a checkpoint, `load` goes on from there.
        best, mode: the figure by which an epoch is the best, see `train`.
    """

    def __init__(self, folder: Path, best: str, mode: Literal["min", "max"]) -> None:
        super().__init__()
        self.folder = folder
        self.best = best
        self.better = {"min": min, "max": max}[mode]
        self.epochs: list[dict[str, float]] = []
        self.seconds = 0.0

    def load(self, network: keras.Model, batches: int) -> None:
        """Bring a network with its optimizer to where the run's checkpoint left it, if any."""
        checkpoint = self.folder / "checkpoint.keras"
        if not checkpoint.exists():
            return
        try:
            network.load_weights(checkpoint)
            done = int(keras.ops.convert_to_numpy(network.optimizer.iterations.value)) // batches
            with (self.folder / "history.csv").open(newline="") as file:
                rows = list(csv.DictReader(file))[:done]
            self.seconds = json.loads((self.folder / "metrics.json").read_text())[
                run_folder.SECONDS
            ]
            self.epochs = [
                {name: float(row[name]) for name in row if name != "epoch"} for row in rows
            ]
        except Exception as error:  # of Keras, HDF5, zip, CSV or JSON
            raise common.DataError(
                f"--resume {self.folder}: its files are damaged ({common.one_line(error)})"
            ) from None

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.start = time.perf_counter() - self.seconds

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.epochs.append({name: float(value) for name, value in logs.items()})
        figures = [figures[self.best] for figures in self.epochs]
        if self.better(figures) not in figures[:-1]:
            self._save("model.keras")
        with (
            common.written_beside(self.folder / "history.csv") as path,
            path.open("w", newline="") as file,
        ):
            writer = csv.DictWriter(file, ["epoch", *sorted(logs)])
            writer.writeheader()
            writer.writerows({"epoch": i, **row} for i, row in enumerate(self.epochs))
        self.seconds = time.perf_counter() - self.start
        common.write_json(
            {run_folder.SECONDS: round(self.seconds, 1)}, self.folder / "metrics.json"
        )
        self._save("checkpoint.keras")

    def _save(self, name: str) -> None:
        with common.written_beside(self.folder / name) as path:
            self.model.save(path)


def train(
    network: keras.Model,
    batches: EpochBatches,
    *,
    validation: common.Examples | None,
    epochs: int,
    folder: Path,
    best: str,
    mode: Literal["min", "max"],
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> tuple[dict[str, list[float]], float]:
    """Train a compiled network, and write that of the best epoch to model.keras.

    Goes on where the checkpoint of the run's folder ends, if there is one. What it writes there:
    see `Progress`.

    Args:
        best: the validation figure by which an epoch is the best.
        mode: whether the lowest or the highest of this figure is the best.
        callbacks: more of Keras's callbacks; they may add figures to those of an epoch.

    Returns:
        The figures of every epoch by name, and the seconds that training took.

    Raises:
        DataError: the files of a run to be resumed are damaged.
        TrainingError: the loss became infinite or not a number.
        Interrupted: by Ctrl-C.
    """
    # Else TensorFlow would trace the first step twice, once to find that variables are made in it.
    network.optimizer.build(network.trainable_variables)
    progress = Progress(folder, best, mode)
    progress.load(network, len(batches))
    batches.begun = False  # fit begins the first epoch, but looks at its batches before
    try:
        if len(progress.epochs) < epochs:
            with devices.guarded():
                network.fit(
                    batches,
                    shuffle=False,  # the batches are shuffled already
                    initial_epoch=len(progress.epochs),
                    epochs=epochs,
                    validation_data=None if validation is None else in_batches(validation),
                    callbacks=[StartEpoch(batches), StopOnInfiniteLoss(), *callbacks, progress],
                    verbose=1 if sys.stdout.isatty() else 2,
                )
    except KeyboardInterrupt:
        raise common.Interrupted(str(folder)) from None
    history = {name: [row[name] for row in progress.epochs] for name in progress.epochs[0]}
    return history, progress.seconds
