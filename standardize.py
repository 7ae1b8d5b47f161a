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

import sys
from typing import Literal

import common  # before Keras: it chooses the backend and keeps its start quiet

import keras
import numpy as np
from keras import layers
from pydantic import PositiveFloat, PositiveInt

import classic
from support import command_line, digits, report, run_folder, saved, tensorboard_log, training
from support.lesson import lesson
from support.run_folder import Run
from support.settings import RunConfig, Share

SCALINGS = "raw", "unit", "standardized"
GOALS = 0.97, 0.985  # validation accuracies, to compare how soon they are reached

# The highest learning rate, by optimizer; a constant rate is a quarter of it. It is one for all
# scalings, so that only the scalings differ. The best of each: tests/benchmarks/scalings.py.
LEARNING_RATES = {  # GRU, LSTM   SimpleRNN
    "SGD": (1.0, 0.3),
    "RMSprop": (0.003, 0.001),
    "Adam": (0.003, 0.003),
    "AdamW": (0.003, 0.003),
    "Muon": (0.003, 0.003),
}


class Config(RunConfig):
    """The settings. Each is an option too: batch_size is --batch-size on the command line.

    RunConfig adds those of all lessons, see support/settings.py: seed, data, train_size, test_size,
    output, start_from, resume, and those that read your own pictures.
    """

    # Data
    scaling: Literal["raw", "unit", "standardized", "all"] = "all"  # of the pixels
    # Network
    cell: Literal["SimpleRNN", "GRU", "LSTM"] = "GRU"  # kind of recurrent layer
    units: PositiveInt = 112  # numbers in the state of each recurrent layer
    depth: PositiveInt = 1  # recurrent layers, one on top of the other
    bidirectional: bool = False  # read the rows in both directions
    dropout: Share = 0.0  # share of each recurrent layer's outputs dropped in training
    # Training
    epochs: PositiveInt = 3  # times that the network sees every training image
    batch_size: PositiveInt = 128  # images per weight update
    optimizer: Literal["SGD", "RMSprop", "Adam", "AdamW", "Muon"] = "Adam"  # as Keras names them
    schedule: Literal["one-cycle", "constant"] = "one-cycle"  # of the learning rate
    learning_rate: PositiveFloat | None = None  # the highest one; None: that of LEARNING_RATES
    warmup: Share = 0.3  # share of the training in which the learning rate of one cycle climbs
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


def build_network(config: Config, train: common.Examples) -> keras.Model:
    """Build the network that reads one scaling of the pixels: the one of lesson 1, classic.py."""
    # All networks begin with the same weights, because each is built with the same seed. So only
    # the scaling differs.
    common.set_seed(config.seed)
    settings = classic.Config(
        cell=config.cell,
        units=config.units,
        depth=config.depth,
        bidirectional=config.bidirectional,
        dropout=config.dropout,
        update_bias=0.0,
    )
    T, D = train.x.shape[1:]
    scaling = scaling_layer(config.scaling, train.x)
    network = classic.classif_rnn_network(T, D, settings, scaling=scaling)
    saved.start_from(config.start_from, network)  # its weights, where --start-from names a network
    return network


def tensorboard_callbacks(config: Config, run: Run) -> list[keras.callbacks.Callback]:
    """Make the callbacks that write what TensorBoard shows; none, where TensorFlow is missing."""
    if not tensorboard_log.AVAILABLE:
        return []
    return [
        keras.callbacks.TensorBoard(run.folder, histogram_freq=1),  # figures, weights: every epoch
        tensorboard_log.LogBatches(run.folder),  # figures and learning rate: every tenth batch
        tensorboard_log.settings_callback(config, run),  # the settings, beside what they reach
    ]


def train_network(
    config: Config,
    network: keras.Model,
    train: common.Examples,
    validation: common.Examples,
    run: Run,
) -> None:
    """Train the network on one scaling of the pixels."""
    # In every epoch the training images are in a new order, by the seed: the same for all scalings.
    batches = training.EpochBatches(
        digits.distorted_anew(train), batch_size=config.batch_size, seed=config.seed
    )
    network.compile(
        # One cycle begins at a 25th of the learning rate, climbs to all of it while `warmup` lasts,
        # and falls along a cosine to 0 at the last update. A constant rate stays what it is.
        optimizer=common.optimizer(config, updates=config.epochs * len(batches)),
        # The loss takes logits and makes probabilities of them, by softmax. The answer is the digit
        # with the largest logit, and the accuracy the share of right answers.
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    network.summary()
    run.restore(network, steps_per_epoch=len(batches))  # with --resume: to where that run ended
    tensorboard_log.log_graph(network, run)
    network.fit(
        batches,
        validation_data=training.in_batches(validation),
        initial_epoch=len(run.epochs),  # 0, or more with --resume
        epochs=run.last_epoch(config.epochs),  # fewer, if patience had ended the run
        shuffle=False,  # not by Keras: the images are in a new order already
        callbacks=[
            training.StartEpoch(batches),  # makes the batches of the epoch, by seed and number
            training.StopOnInfiniteLoss(),  # ends a training that has failed
            training.StopEarly(run, monitor="val_accuracy", mode="max", patience=config.patience),
            *tensorboard_callbacks(config, run),
            # In place of Keras's ModelCheckpoint, which forgets the best epoch when one resumes:
            training.KeepBest(run, monitor="val_accuracy", mode="max"),  # writes model.keras
            training.Checkpoint(run),  # writes checkpoint.keras, for --resume, and history.csv
        ],
        verbose=1 if sys.stdout.isatty() else 2,
    )


def score(
    network: keras.Model, train: common.Examples, test: common.Examples, run: Run
) -> dict[str, float | None]:
    """Test the network of the best epoch, which validation alone has chosen; return its figures.

    Among them the mean and variance of the training images as the scaling makes them, and after how
    many epochs the validation accuracy reached each goal.
    """
    network = run.best(network)
    figures = network.evaluate(test.x, test.y, batch_size=500, verbose=0, return_dict=True)
    seen = keras.ops.convert_to_numpy(network.layers[1](train.x))  # by the layer after the pixels
    more = {"input_mean": float(seen.mean()), "input_variance": float(seen.var())}
    for goal in GOALS:
        reached = np.flatnonzero(np.array(run.history["val_accuracy"]) >= goal)
        more[f"epochs_to_{goal}"] = int(reached[0]) + 1 if len(reached) else None
    metrics = report.classifier(network, test, figures, run, more=more)
    tensorboard_log.add_result(run, metrics)
    return metrics


@lesson  # begins anew with the seed, on all devices; Ctrl-C ends with the command that goes on
def main(config: Config) -> dict[str, dict[str, float | None]]:
    """Train and test a network on each scaling; return the figures of each test."""
    # One example is an image (28, 28) with its digit. MNIST has 55,000 to train on, 5,000 others
    # for validation and 10,000 more to test on; no image is in two of these sets.
    train, validation, test = digits.load_digits(
        config.data, train_size=config.train_size, test_size=config.test_size
    )
    if config.start_from and config.scaling == "all":
        raise common.SettingError("--start-from goes with one --scaling: that of its network")
    config = common.with_learning_rate(config, LEARNING_RATES)  # from the table, if it has none
    configs = {
        scaling: config.model_copy(update={"scaling": scaling})
        for scaling in (SCALINGS if config.scaling == "all" else [config.scaling])
    }
    networks = {scaling: build_network(configs[scaling], train) for scaling in configs}
    whole = run_folder.open_run(__file__, config)  # runs/standardize/TIME, with config.json
    runs = {scaling: run_folder.open_part(whole, scaling, configs[scaling]) for scaling in configs}
    for scaling, run in runs.items():
        print(f"\ntraining on {scaling} pixels\n")
        train_network(configs[scaling], networks[scaling], train, validation, run)

    # The test images are used here for the first time.
    metrics = {}
    for scaling, run in runs.items():
        print(f"\ntest on {scaling} pixels")
        metrics[scaling] = score(networks[scaling], train, test, run)
    report.comparison(whole, runs, metrics, GOALS)
    print(f"\n{tensorboard_log.how_to_see(whole)}")
    return metrics


if __name__ == "__main__":
    command_line.run(main, Config, __doc__)
