"""Training: the batches of an epoch, and callbacks."""

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import common

import keras
import numpy as np

from support import devices, digits
from support.run_folder import Run


class EpochBatches(keras.utils.PyDataset):
    """Batches of examples that depend on nothing but the seed and the number of the epoch.

    Args:
        compose: makes the examples of an epoch, in their order, from its random generator.
        batch_size: number of examples in a batch, of which every process takes its share. One
            batch holds what is left over, as far as the devices can divide it.
        seed: that of the random generators.
        collate: makes one array of the inputs of a batch, if they are not one already.

    Raises:
        SettingError: there are fewer examples than devices.
    """

    def __init__(
        self,
        compose: digits.Compose,
        *,
        batch_size: int,
        seed: int,
        collate: Callable[[np.ndarray], np.ndarray] = np.asarray,
    ) -> None:
        # With more than one worker, Keras switches off the tuner of tf.data. That is a thread which
        # sleeps longer and longer; an epoch cannot end before it wakes up, which at times takes
        # longer than the training. Other backends need one worker: Keras looks at the first batch,
        # and batches that more workers had ready by then would come before it.
        super().__init__(workers=2 if keras.backend.backend() == "tensorflow" else 1)
        self.compose = compose
        self.collate = collate
        self.batch_size = batch_size
        self.seed = seed
        self.thread = ThreadPoolExecutor(max_workers=1)
        self.ahead: dict[int, Future[common.Examples]] = {}
        self.epoch = None
        self.start_epoch(0)

    def compose_ahead(self, epoch: int) -> None:
        """Begin to compose the examples of an epoch, and do not wait for them."""
        random = np.random.default_rng([self.seed, epoch])
        self.ahead[epoch] = self.thread.submit(self.compose, random)

    def start_epoch(self, epoch: int) -> None:
        """Take the batches of an epoch, counted from 0, and compose them if nobody has."""
        if epoch == self.epoch:
            return
        self.epoch = epoch
        if epoch not in self.ahead:
            self.compose_ahead(epoch)
        examples = self.ahead.pop(epoch).result()
        size = len(examples.x) // devices.count() * devices.count()
        if size == 0:
            raise common.SettingError(
                f"{len(examples.x)} examples cannot be divided by {devices.count()} devices"
            )
        self.examples = common.Examples(*(part[:size] for part in examples))
        self.batches = [
            slice(start, start + self.batch_size) for start in range(0, size, self.batch_size)
        ]
        if self.examples.x.dtype == object:
            # Keras looks at two batches before the first epoch, and takes for fixed what they have
            # in common. So a batch of another length than the first, if any, becomes the second.
            lengths = (self.collate(self.examples.x[batch]).shape[1] for batch in self.batches)
            first = next(lengths)
            other = next((i for i, length in enumerate(lengths, start=1) if length != first), None)
            if other:
                self.batches.insert(1, self.batches.pop(other))

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> common.Examples:
        x, y = (part[self.batches[index]] for part in self.examples)
        share = devices.share(len(y))
        return common.Examples(self.collate(x)[share], y[share])


def in_batches(examples: common.Examples, batch_size: int = 500) -> EpochBatches:
    """Return batches of the same examples in the same order in every epoch, to validate or test.

    Args:
        batch_size: number of examples in a batch, lowered to a multiple of that of the devices.
    """
    batch_size -= batch_size % devices.count()
    return EpochBatches(lambda random: examples, batch_size=batch_size, seed=0)


def padding_share(batches: EpochBatches) -> float:
    """Return the share of padding in the timesteps of the current epoch's batches."""
    strips = batches.examples.x  # those of all processes; a batch holds only a share of them
    timesteps = sum(batches.collate(strips[batch])[:, :, 0].size for batch in batches.batches)
    return 1 - sum(map(len, strips)) / timesteps


class StartEpoch(keras.callbacks.Callback):
    """Make the batches and the dropout of an epoch depend only on the seed and its number."""

    def __init__(self, batches: EpochBatches) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.batches.start_epoch(epoch)
        if epoch + 1 < self.params["epochs"]:
            self.batches.compose_ahead(epoch + 1)  # while the network is trained on this one
        for variable in self.model.non_trainable_variables:
            if variable.path.endswith("seed_generator_state"):  # Keras does not save it
                seed, _ = keras.ops.convert_to_numpy(variable.value)
                variable.assign([seed, epoch * 2**20 % 2**32])  # of 32 bits in JAX


class StopOnInfiniteLoss(keras.callbacks.Callback):
    """Raise TrainingError at the first batch whose loss is not a finite number."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if not math.isfinite(logs["loss"]):
            # The first batch has the loss of the initial weights: no learning rate is to blame.
            advice = "lower --learning-rate" if self.epoch or batch else "look at the data"
            raise common.TrainingError(
                f"the loss became {logs['loss']} in epoch {self.epoch + 1}, batch {batch + 1}: "
                f"{advice}"
            )


class KeepBest(keras.callbacks.EarlyStopping):
    """Write the network of the best epoch, or the last of several equal ones, to model.keras.

    It writes the network without optimizer and metrics, so Keras can load it without this project.
    As Keras's EarlyStopping does, it ends a training that makes no more progress; but it remembers
    the epochs before a run was interrupted. `keras.callbacks.ModelCheckpoint` would forget which
    was the best, and could leave half a file.

    Args:
        run: the run, whose earlier epochs count too.
        monitor: name of the figure that says which epoch is the best.
        mode: whether its lowest or its highest value is the best.
        patience: epochs without progress after which the training ends; None: it never does.
    """

    def __init__(
        self, run: Run, *, monitor: str, mode: Literal["min", "max"], patience: int | None
    ) -> None:
        super().__init__(monitor, mode=mode, patience=patience or math.inf)
        self.run = run

    def on_train_begin(self, logs: dict | None = None) -> None:
        super().on_train_begin(logs)
        for epoch, figures in enumerate(self.run.epochs):
            super().on_epoch_end(epoch, figures)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        if logs[self.monitor] == self.best:
            network = keras.Model(self.model.inputs[0], self.model.outputs[0], name=self.model.name)
            with common.written_beside(self.run.folder / "model.keras") as path:
                network.save(path)


class Checkpoint(keras.callbacks.Callback):
    """Save a run after every epoch, so that it can go on from there to the same end.

    It must be the last callback, to note whether another one has stopped the training. It also
    makes sure that Ctrl-C ends the training: while Keras waits for JAX to compute the figures of a
    batch or of the validation, it drops every exception, even that of Ctrl-C.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.start = time.perf_counter() - self.run.seconds

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self.run.whole.interrupted:
            raise common.Interrupted(str(self.run.whole.folder))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.run.epochs.append({name: float(value) for name, value in logs.items()})
        self.run.seconds = time.perf_counter() - self.start
        self.run.stopped = self.model.stop_training
        self.run.save(self.model)
        if self.run.whole.interrupted:
            raise common.Interrupted(str(self.run.whole.folder))
