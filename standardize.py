"""Lesson 4: what the scale of the input does to training, and how to watch a training.

A network like that of lesson 1, classic.py, reads an image row by row, 28 timesteps of 28 features.
Its layers are the scaling, (28, 28) to (28, 28); a recurrent layer, whose last state (112,) goes
on; and a dense layer, which gives ten logits. It is trained three times with the same seed and the
same settings: on pixels as they are (0 to 255), on pixels from 0 to 1, and on standardized pixels,
each column with mean 0 and variance 1 over all training images. TensorBoard shows the three
training runs side by side.

    python standardize.py
    python standardize.py --optimizer Muon --scaling standardized

With its default settings 98.5% of the test images are read right where pixels are standardized,
98.2% where they are from 0 to 1 and 87% where they are raw, after half a minute each.

It prints each network, the figures of every epoch and test, ten answers beside the truth, and a
table of all. It writes a folder runs/standardize/TIME with config.json, versions.json, metrics.json
and learning_curves.png of all, and in it one for each scaling: the files that lesson 1 writes, but
for reading.png and versions.json, and what TensorBoard reads.
"""

import functools
import shlex
import sys
from pathlib import Path
from typing import Literal

import common  # before Keras: it chooses the backend and keeps its start quiet

import keras
import numpy as np
from keras import layers
from pydantic import PositiveFloat, PositiveInt

from classic import classif_rnn_network
from support import command_line, devices, digits, plots, report, run_folder, saved, training
from support.run_folder import Run
from support.settings import RunConfig, Share

try:  # TensorFlow writes what TensorBoard reads, with any backend
    import tensorflow as tf
    from tensorboard.plugins.hparams import api as hparams
except ModuleNotFoundError:
    tf = None

SCALINGS = "raw", "unit", "standardized"
GOALS = 0.97, 0.985  # validation accuracies, to compare how soon they are reached

SETTINGS_SHOWN = "scaling", "optimizer", "learning_rate", "cell", "units", "epochs", "seed"
FIGURES_SHOWN = "test_accuracy", "test_loss", "training_seconds"  # columns of TensorBoard's table

# Peaks of the learning rate that suit this lesson, by optimizer, schedule and cell: one for all
# scalings, so that only the scalings differ. The best of each: tests/benchmarks/scalings.py.
PEAKS = {
    ("SGD", "one-cycle", "SimpleRNN"): 0.3,
    ("SGD", "one-cycle", "GRU"): 1.0,
    ("SGD", "one-cycle", "LSTM"): 1.0,
    ("Adam", "one-cycle", "SimpleRNN"): 0.003,
    ("Adam", "one-cycle", "GRU"): 0.003,
    ("Adam", "one-cycle", "LSTM"): 0.003,
    ("Muon", "one-cycle", "SimpleRNN"): 0.003,
    ("Muon", "one-cycle", "GRU"): 0.003,
    ("Muon", "one-cycle", "LSTM"): 0.003,
}


class Config(RunConfig):
    """What you can change, here or on the command line: batch_size is --batch-size there.

    RunConfig adds what all lessons have, see support/settings.py: seed, data, train_size and
    test_size, output, start_from, resume, and what reads your own pictures.
    """

    # Data
    scaling: Literal["raw", "unit", "standardized", "all"] = "all"  # of the pixels
    # Network
    cell: Literal["SimpleRNN", "GRU", "LSTM"] = "GRU"  # kind of recurrent layer
    units: PositiveInt = 112  # units of each recurrent layer
    depth: PositiveInt = 1  # recurrent layers, one on top of the other
    bidirectional: bool = False  # read the rows in both directions
    dropout: Share = 0.0  # share of each recurrent layer's outputs dropped in training
    # Training
    epochs: PositiveInt = 3  # times that the network sees every training image
    batch_size: PositiveInt = 128  # images per weight update
    optimizer: Literal["SGD", "RMSprop", "Adam", "AdamW", "Muon"] = "Adam"  # as Keras names them
    schedule: Literal["one-cycle", "constant"] = "one-cycle"  # of the learning rate
    learning_rate: PositiveFloat | None = None  # at its peak; None: that of PEAKS, if any
    warmup: Share = 0.3  # share of the training in which the learning rate climbs
    clip_norm: PositiveFloat | None = 1.0  # longest gradient, of all weights together; None: any
    patience: PositiveInt | None = None  # with constant: end after so many epochs without gain


def scaling_layer(scaling: str, images: np.ndarray) -> keras.Layer:
    """Make the layer that scales images of T rows and D columns, (batch, T, D).

    Args:
        scaling: "raw" leaves pixels as they are; "unit" divides them by 255; "standardized" brings
            each of the D columns of `images` to mean 0 and variance 1, one that never varies to 0.
        images: the training images, (n, T, D), whose mean and variance are used.
    """
    if scaling == "standardized":
        normalization = layers.Normalization(axis=-1)
        normalization.adapt(images)
        return normalization
    return layers.Rescaling({"raw": 1, "unit": 1 / 255}[scaling])


class LogBatches(keras.callbacks.Callback):
    """Write figures after every tenth batch, and the learning rate, for TensorBoard.

    The figures are means since the epoch began. keras.callbacks.TensorBoard(update_freq=10) writes
    them too, but leaves out those of an epoch whose last batch is not a tenth one.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.writer = tf.summary.create_file_writer(str(folder / "batches"))

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations.value))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.step += 1  # counted here, because to ask the optimizer takes long with JAX
        if self.step % 10 == 0:
            with self.writer.as_default(self.step):
                for name, value in logs.items():
                    tf.summary.scalar(f"batch_{name}", value)
                tf.summary.scalar("batch_learning_rate", float(self.model.optimizer.learning_rate))

    def on_train_end(self, logs: dict | None = None) -> None:
        self.writer.close()


def tensorboard_callbacks(config: Config, folder: Path) -> list[keras.callbacks.Callback]:
    """Make the callbacks that write for TensorBoard during a training."""
    settings = {name: getattr(config, name) for name in SETTINGS_SHOWN}
    trial = f"{config.scaling} {folder.parent.name}"
    return [
        keras.callbacks.TensorBoard(folder, histogram_freq=1),  # figures and weights, every epoch
        LogBatches(folder),
        hparams.KerasCallback(str(folder), settings, trial_id=trial),  # a row of its table
    ]


def log_graph(network: keras.Model, folder: Path) -> None:
    """Write the graph of the network's operations for TensorBoard."""
    if keras.backend.backend() != "tensorflow":
        print("in TensorBoard, choose the conceptual graph: that of operations needs TensorFlow")
        return
    pixels = tf.TensorSpec(network.input_shape, network.inputs[0].dtype)
    answer = tf.function(lambda pixels: network(pixels, training=False))
    with tf.summary.create_file_writer(str(folder / "train")).as_default():  # where Keras writes
        tf.summary.graph(answer.get_concrete_function(pixels).graph)


def log_result(folder: Path, metrics: dict[str, float]) -> None:
    """Add the figures of the test and the pictures of a run to its TensorBoard log."""
    with tf.summary.create_file_writer(str(folder)).as_default(step=0):
        hparams.hparams_config(
            hparams=[hparams.HParam(name) for name in SETTINGS_SHOWN],
            metrics=[hparams.Metric(name) for name in FIGURES_SHOWN],
        )
        for name, value in metrics.items():
            if value is not None:
                tf.summary.scalar(name, value)
        for picture in sorted(folder.glob("*.png")):
            tf.summary.image(picture.stem, tf.io.decode_png(picture.read_bytes(), channels=3)[None])


def build_network(config: Config, train: common.Examples) -> keras.Model:
    """Build the network that reads one scaling of the pixels."""
    common.set_seed(config.seed)
    devices.distribute(config.batch_size)  # several devices, if any, share each batch
    network = classif_rnn_network(
        *train.x.shape[1:],
        cell=config.cell,
        units=config.units,
        depth=config.depth,
        bidirectional=config.bidirectional,
        dropout=config.dropout,
        scaling=scaling_layer(config.scaling, train.x),
    )
    if config.start_from:  # a second training, of a network that was saved
        saved.start_from(config.start_from, network)
    return network


def train_network(
    config: Config, train: common.Examples, validation: common.Examples, run: Run
) -> None:
    """Train the network on one scaling of the pixels."""
    network = build_network(config, train)
    batches = training.EpochBatches(
        functools.partial(digits.shuffled, train), batch_size=config.batch_size, seed=config.seed
    )
    learning_rate = config.learning_rate
    if config.schedule == "one-cycle":
        updates = config.epochs * len(batches)
        learning_rate = common.one_cycle(learning_rate, steps=updates, warmup=config.warmup)
    network.compile(
        optimizer=common.optimizer(
            config.optimizer, learning_rate=learning_rate, clip_norm=config.clip_norm
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],  # the answer is the digit with the largest logit
    )
    run_folder.save_settings(config.of_the_run(), run.folder)
    network.summary()
    run.restore(network, steps_per_epoch=len(batches))  # with --resume: go on after its last epoch
    if tf and not run.epochs:
        log_graph(network, run.folder)
    network.fit(
        batches,
        validation_data=training.in_batches(validation),
        initial_epoch=len(run.epochs),
        epochs=run.last_epoch(planned=config.epochs),
        shuffle=False,  # the batches of an epoch are shuffled already
        callbacks=[
            training.StartEpoch(batches),  # composes the epoch
            training.StopOnInfiniteLoss(),  # ends a training that has failed
            training.StopEarly(run, monitor="val_accuracy", mode="max", patience=config.patience),
            *(tensorboard_callbacks(config, run.folder) if tf else []),
            training.KeepBest(run, monitor="val_accuracy", mode="max"),  # writes model.keras
            training.Checkpoint(run),  # writes checkpoint.keras, for --resume, and history.csv
        ],
        verbose=1 if sys.stdout.isatty() else 2,
    )


def score(train: common.Examples, test: common.Examples, run: Run) -> dict[str, float | None]:
    """Test the network of the epoch with the highest validation accuracy, and write its figures.

    Among them the mean and variance of the training images as the scaling makes them, and after how
    many epochs the validation accuracy reached each goal.
    """
    network = keras.saving.load_model(run.folder / "model.keras")
    network.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    figures = network.evaluate(test.x, test.y, batch_size=500, verbose=0, return_dict=True)
    metrics = report.classifier(network, test, figures, run)
    scaling = network.layers[1]  # after the pixels
    seen = keras.ops.convert_to_numpy(scaling(train.x))
    metrics |= {"input_mean": float(seen.mean()), "input_variance": float(seen.var())}
    for goal in GOALS:
        reached = np.flatnonzero(np.array(run.history["val_accuracy"]) >= goal)
        metrics[f"epochs_to_{goal}"] = int(reached[0]) + 1 if len(reached) else None
    metrics = report.finish(run, metrics)
    if tf:
        log_result(run.folder, metrics)
    return metrics


def main(config: Config) -> dict[str, dict[str, float | None]]:
    """Train and test a network on each scaling; return the figures of each test."""
    # One example is an image (28, 28) with its digit. MNIST has 55,000 to train on, 5,000 more for
    # validation, which are never trained on, and 10,000 to test on, which are set apart.
    train, validation, test = digits.load_digits(
        config.data, train_size=config.train_size, test_size=config.test_size
    )
    scalings = SCALINGS if config.scaling == "all" else [config.scaling]
    training.check_patience(config.patience, config.schedule)
    peak = config.learning_rate or common.peak_learning_rate(
        PEAKS, optimizer=config.optimizer, schedule=config.schedule, cell=config.cell
    )
    config = config.model_copy(update={"learning_rate": peak})
    if config.start_from and config.scaling == "all":
        raise common.SettingError("--start-from goes with one --scaling: that of its network")
    # Before a folder is made: a setting may be misspelt, or the batch size or the weights not fit.
    build_network(config.model_copy(update={"scaling": scalings[0]}), train)
    # The folder, named after this script and the time, and in it config.json.
    whole = run_folder.open_run(
        __file__, settings=config.of_the_run(), output=config.output, resume=config.resume
    )
    runs = {scaling: Run(whole.folder / scaling) for scaling in scalings}
    # Ctrl-C ends the script here and prints the command that goes on after the last whole epoch.
    with whole.guarded():
        for scaling, run in runs.items():
            print(f"\ntraining on {scaling} pixels\n")
            settings = config.model_copy(update={"scaling": scaling})
            train_network(settings, train, validation, run)

    devices.alone()  # several processes, if any: from here on the first alone
    metrics = {}
    for scaling, run in runs.items():
        print(f"\ntest on {scaling} pixels")
        metrics[scaling] = score(train, test, run)  # the test images are used here only
    run_folder.write_json(metrics, whole.folder / "metrics.json")
    with common.written_beside(whole.folder / run_folder.LAST_FILE) as path:
        plots.comparison({scaling: run.history for scaling, run in runs.items()}, path)
    report.comparison(metrics, GOALS)
    if tf:
        print(f"\nto see the training: tensorboard --logdir {shlex.quote(str(whole.folder))}")
    else:
        print("\nnothing was written for TensorBoard: its logs need TensorFlow and TensorBoard")
    return metrics


if __name__ == "__main__":
    command_line.run(main, Config, __doc__)
