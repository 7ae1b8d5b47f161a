"""Lesson 4: what the scale of the input does to training, and how to watch a training.

The network of lesson 1 is trained three times with the same seed and the same settings: on pixels
as they are (0 to 255), on pixels from 0 to 1, and on standardized pixels, each column of the image
with mean 0 and variance 1. TensorBoard shows the three trainings side by side.

    python standardize.py
    python standardize.py --scaling standardized --learning-rate 0.002
"""

import functools
from pathlib import Path
from typing import Literal

import common  # before Keras, because it keeps TensorFlow's start quiet

import keras
import numpy as np
from keras import layers
from pydantic import PositiveFloat, PositiveInt
from tensorboard.plugins.hparams import api as hparams

from classic import classif_rnn_network
from support import command_line, devices, digits, plots, report, run_folder, training
from support.settings import RunConfig, Share

SCALINGS = "raw", "unit", "standardized"
GOALS = 0.97, 0.985  # validation accuracies, to compare how soon they are reached


class Config(RunConfig):
    """What you can change, here or on the command line."""

    scaling: Literal["raw", "unit", "standardized", "all"] = "all"  # of the pixels
    cell: Literal["SimpleRNN", "GRU", "LSTM"] = "GRU"  # kind of recurrent layer
    units: PositiveInt = 192  # units of each recurrent layer
    depth: PositiveInt = 1  # recurrent layers, one on top of the other
    bidirectional: bool = False  # read the rows in both directions
    dropout: Share = 0.0  # share of each recurrent layer's outputs dropped in training
    epochs: PositiveInt = 3  # times that the network sees every training image
    batch_size: PositiveInt = 128  # images of one weight update
    learning_rate: PositiveFloat = 0.003  # at its peak
    warmup: Share = 0.3  # share of the training in which the learning rate climbs
    clip_norm: PositiveFloat = 1.0  # longest gradient; a longer one is shortened to it


def scaling_layer(scaling: str, images: np.ndarray) -> keras.Layer:
    """Make the layer that scales pixels (batch, T, D), 0 to 255.

    Args:
        scaling: "raw" leaves them as they are; "unit" brings them to 0 to 1; "standardized" brings
            each of the D features to mean 0 and variance 1, a constant one to 0.
        images: the training images, (n, T, D), whose mean and variance count.
    """
    if scaling == "standardized":
        normalization = layers.Normalization(axis=-1)
        normalization.adapt(images)
        return normalization
    return layers.Rescaling({"raw": 1, "unit": 1 / 255}[scaling])


class LogBatches(keras.callbacks.Callback):
    """Write the figures of every tenth batch, and its learning rate, for TensorBoard.

    keras.callbacks.TensorBoard(update_freq=10) would then leave out the figures of an epoch whose
    last batch is not a tenth one.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_train_begin(self, logs: dict | None = None) -> None:
        from tensorflow import summary

        self.writer = summary.create_file_writer(str(self.folder / "batches"))

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations.value))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        from tensorflow import summary

        self.step += 1  # to look at the model takes long with JAX
        if self.step % 10 == 0:
            with self.writer.as_default(self.step):
                for name, value in logs.items():
                    summary.scalar(f"batch_{name}", value)
                summary.scalar("batch_learning_rate", float(self.model.optimizer.learning_rate))

    def on_train_end(self, logs: dict | None = None) -> None:
        self.writer.close()


def log_result(folder: Path, metrics: dict[str, float]) -> None:
    """Add the figures of the test and the pictures of a run to its TensorBoard log."""
    from tensorflow import io, summary

    with summary.create_file_writer(str(folder)).as_default(step=0):
        for name, value in metrics.items():
            if value is not None:
                summary.scalar(name, value)
        for picture in sorted(folder.glob("*.png")):
            summary.image(picture.stem, io.decode_png(picture.read_bytes(), channels=3)[None])


def train_network(
    config: Config,
    architecture: dict,
    train: common.Examples,
    validation: common.Examples,
    folder: Path,
) -> tuple[dict[str, list[float]], float]:
    """Train the network on one scaling of the pixels; return its history and the seconds."""
    common.set_seed(config.seed)
    devices.distribute(config.batch_size)
    batches = training.EpochBatches(
        functools.partial(digits.shuffled, train), batch_size=config.batch_size, seed=config.seed
    )
    T, D = train.x.shape[1:]
    network = classif_rnn_network(
        T, D, scaling=scaling_layer(config.scaling, train.x), **architecture
    )
    schedule = common.one_cycle(
        peak=config.learning_rate, steps=config.epochs * len(batches), warmup=config.warmup
    )
    network.compile(
        optimizer=common.muon(schedule, clip_norm=config.clip_norm),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    run_folder.save_settings(config.of_the_run(), folder)
    network.summary()
    return training.train(
        network,
        batches,
        validation=validation,
        epochs=config.epochs,
        folder=folder,
        best="val_accuracy",
        mode="max",
        callbacks=[
            keras.callbacks.TensorBoard(folder, histogram_freq=1),
            LogBatches(folder),
            hparams.KerasCallback(str(folder), config.of_the_run(exclude_none=True)),
        ],
    )


def score(
    history: dict[str, list[float]],
    train: common.Examples,
    test: common.Examples,
    folder: Path,
) -> dict[str, float | None]:
    """Test the network of the best epoch; add what it sees and how soon it reached the goals."""
    network = keras.saving.load_model(folder / "model.keras", compile=False)
    metrics = report.classifier(network, test, folder)
    seen = keras.ops.convert_to_numpy(network.layers[0](train.x))
    metrics |= {"input_mean": float(seen.mean()), "input_variance": float(seen.var())}
    for goal in GOALS:
        reached = np.flatnonzero(np.array(history["val_accuracy"]) >= goal)
        metrics[f"epochs_to_{goal}"] = int(reached[0]) + 1 if len(reached) else None
    return metrics


def print_comparison(metrics: dict[str, dict[str, float | None]]) -> None:
    """Print a row of figures for each scaling."""
    first, second = (f"epochs to {goal:.1%}" for goal in GOALS)
    print(f"\nscaling       input mean  variance  {first}  {second}  test accuracy  seconds")
    for scaling, figures in metrics.items():
        first, second = (figures[f"epochs_to_{goal}"] or "-" for goal in GOALS)
        print(
            f"{scaling:12}  {figures['input_mean']:z10.4f}  {figures['input_variance']:8,.2f}  "
            f"{first:>15}  {second:>15}  {figures['test_accuracy']:13.2%}  "
            f"{figures['training_seconds']:7.1f}"
        )


def main(config: Config) -> dict[str, dict[str, float | None]]:
    """Train and test a network on each scaling; return the figures of each test."""
    train, validation, test = digits.load_digits(
        config.data, train_size=config.train_size, test_size=config.test_size
    )
    architecture = {
        "cell": config.cell,
        "units": config.units,
        "depth": config.depth,
        "bidirectional": config.bidirectional,
        "dropout": config.dropout,
    }
    folder = run_folder.open_run(
        __file__, settings=config.of_the_run(), output=config.output, resume=config.resume
    )
    histories, seconds, metrics = {}, {}, {}
    for scaling in SCALINGS if config.scaling == "all" else [config.scaling]:
        print(f"\ntraining on {scaling} pixels\n")
        try:
            histories[scaling], seconds[scaling] = train_network(
                config.model_copy(update={"scaling": scaling}),
                architecture,
                train,
                validation,
                folder / scaling,
            )
        except common.Interrupted:  # to be resumed as a whole
            raise common.Interrupted(str(folder)) from None
    devices.alone()
    # The test set is used from here on, once for each network.
    for scaling, history in histories.items():
        print(f"\ntest on {scaling} pixels")
        metrics[scaling] = report.finish(
            folder / scaling,
            history=history,
            metrics=score(history, train, test, folder / scaling),
            seconds=seconds[scaling],
        )
        log_result(folder / scaling, metrics[scaling])
    common.write_json(metrics, folder / "metrics.json")
    with common.written_beside(folder / run_folder.LAST_FILE) as path:
        plots.comparison(histories, path)
    print_comparison(metrics)
    print(f"\nTo look at the training, type: tensorboard --logdir {folder}")
    return metrics


if __name__ == "__main__":
    command_line.run(main, Config, __doc__)
