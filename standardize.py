"""Lesson 4: what the scale of the input does to training, and how to watch a training.

A network like that of lesson 1, classic.py, reads an image row by row, 28 timesteps of 28 features.
Its first layer scales the pixels, (28, 28) to (28, 28); a recurrent layer hands its last state,
112 numbers, to a dense layer, which gives ten logits. The network is trained three times with the
same seed and the same settings: on pixels as they are (0 to 255), on pixels from 0 to 1, and on
standardized pixels, each column with mean 0 and variance 1 over all training images. TensorBoard
shows the three training runs side by side.

    python standardize.py
    python standardize.py --optimizer Muon --scaling standardized
    python standardize.py --optimizer Adam --schedule constant --learning-rate 0.001 --patience 1

With its default settings it gets 98.5% of the test images right where pixels are standardized,
98.2% where they are from 0 to 1 and 87% where they are raw, after half a minute each on 2 cores.

It prints each network, its loss and accuracy in every epoch and in the test, ten answers beside the
truth, and a table of all three. It writes a folder runs/standardize/TIME with config.json,
versions.json, metrics.json and learning_curves.png of all, and in it a folder for each scaling:
model.keras, the network of the best epoch; history.csv, metrics.json and answers.csv, the numbers;
config.json; checkpoint.keras, to go on from; learning_curves.png, misread.png and
confusion_matrix.png; and what TensorBoard reads. Ctrl-C stops the training and prints the command
that goes on after the last whole epoch: this one with --resume FOLDER.
"""

import sys
from typing import Literal

import common  # before Keras, whose backend it chooses

import keras
import numpy as np
from keras import layers
from pydantic import PositiveFloat, PositiveInt

import classic
from support import command_line, digits, report, run_folder, saved, tensorboard_log, training
from support.lesson import lesson
from support.run_folder import Run
from support.settings import BelowOne, RunConfig

SCALINGS = "raw", "unit", "standardized"
GOALS = 0.97, 0.985  # validation accuracies, to compare how soon they are reached

# The highest learning rate of each optimizer, unless --learning-rate names another. A constant
# schedule takes a quarter of it. All scalings have the same rate, so that only the scaling differs.
LEARNING_RATES = {
    #           GRU, LSTM  SimpleRNN
    "SGD":     (1.0,       0.3),
    "RMSprop": (0.006,     0.003),
    "Adam":    (0.003,     0.003),
    "AdamW":   (0.003,     0.003),
    "Muon":    (0.003,     0.003),
}  # fmt: skip


class Config(RunConfig):
    """The settings. Each is an option: batch_size is --batch-size; a bool has --no-NAME as well.

    RunConfig, in support/settings.py, has those of all lessons: seed, data, train_size, test_size,
    output, start_from, resume; predict, draw, model and seen, to read what you write; compare.
    """

    # Data
    scaling: Literal["raw", "unit", "standardized", "all"] = "all"  # scale of the pixels; all: each
    # Network
    cell: Literal["SimpleRNN", "GRU", "LSTM"] = "GRU"  # kind of recurrent layer
    units: PositiveInt = 112  # length of the state of each recurrent layer
    depth: PositiveInt = 1  # number of recurrent layers, on top of one another
    bidirectional: bool = False  # read the rows in both directions
    dropout: BelowOne = 0.0  # share of each recurrent layer's outputs set to 0 in training
    # Training
    epochs: PositiveInt = 3  # number of times that the network sees every training image
    batch_size: PositiveInt = 128  # number of images per weight update
    optimizer: Literal["SGD", "RMSprop", "Adam", "AdamW", "Muon"] = "Adam"  # kind of optimizer
    schedule: Literal["one-cycle", "constant"] = "one-cycle"  # course of the learning rate
    learning_rate: PositiveFloat | None = None  # highest learning rate; None: see LEARNING_RATES
    warmup: BelowOne = 0.3  # share of the updates in which the learning rate climbs
    clip_norm: PositiveFloat | None = 1.0  # norm to which longer gradients are cut; None: no limit
    patience: PositiveInt | None = None  # epochs to wait for progress (constant rate); None: all


def scaling_layer(scaling: str, images: np.ndarray) -> keras.Layer:
    """Make the layer that scales images of T rows and D columns, (batch, T, D).

    Args:
        scaling: "raw" leaves pixels as they are; "unit" divides them by 255; "standardized" brings
            each of the D columns of `images` to mean 0 and variance 1 (a constant column to 0).
        images: the training images, (n, T, D), whose mean and variance are used.
    """
    if scaling == "standardized":
        normalization = layers.Normalization(axis=-1)  # a mean for each column
        normalization.adapt(images)
        return normalization
    return layers.Rescaling({"raw": 1, "unit": 1 / 255}[scaling])


def build_network(config: Config, train: common.Examples) -> keras.Model:
    """Build the network of lesson 1, classic.py, for one scaling of the pixels, not for "all"."""
    # The same seed for each network: all begin with the same weights, and only the scaling differs.
    common.set_seed(config.seed)
    settings = classic.Config(
        cell=config.cell,
        units=config.units,
        depth=config.depth,
        bidirectional=config.bidirectional,
        dropout=config.dropout,
        update_bias=0.0,  # as in Keras
    )
    scaling = scaling_layer(config.scaling, train.x)
    # The network chooses from ten classes; for others, see its argument `classes`.
    network = classic.classif_rnn_network(*train.x.shape[1:], settings, scaling=scaling)
    saved.start_from(config.start_from, network)  # takes the weights of --start-from, if any
    return network


def train_network(
    config: Config,
    network: keras.Model,
    train: common.Examples,
    validation: common.Examples,
    run: Run,
) -> None:
    """Train the network on one scaling of the pixels."""
    # In every epoch the training images get a new order, which is the same for all scalings.
    batches = training.EpochBatches(
        digits.shuffled_anew(train), batch_size=config.batch_size, seed=config.seed
    )
    network.compile(
        # One cycle: the learning rate begins at a 25th of its highest value, climbs linearly during
        # `warmup`, and then falls along a cosine to 0 at the end. Constant: it never changes.
        optimizer=common.optimizer(config, updates=config.epochs * len(batches)),
        # The loss takes logits and makes probabilities of them, by softmax. The answer is the digit
        # with the largest logit, and the accuracy is the share of right answers.
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    network.summary()
    run.restore(network, steps_per_epoch=len(batches))  # loads the checkpoint of --resume, if any
    logs = []  # callbacks that write what TensorBoard shows; none if TensorFlow is missing
    if tensorboard_log.AVAILABLE:
        logs = [
            keras.callbacks.TensorBoard(run.folder, histogram_freq=1),  # figures of epochs, weights
            tensorboard_log.LogMore(run.folder),  # figures within an epoch, learning rate, graph
        ]
    network.fit(
        batches,
        validation_data=training.in_batches(validation, batch_size=500),
        initial_epoch=len(run.epochs),  # 0; with --resume, the epochs already done
        epochs=run.last_epoch(config.epochs),  # fewer, if --resume names a run that stopped early
        shuffle=False,  # the images are in a new order already
        callbacks=[
            training.StartEpoch(batches),  # makes the batches of the epoch, by seed and number
            training.StopOnInfiniteLoss(),  # ends a training that has failed
            *logs,
            # Like Keras's ModelCheckpoint, KeepBest writes model.keras; like EarlyStopping, it ends
            # the training. Unlike them, it knows the epochs before --resume.
            training.KeepBest(run, monitor="val_accuracy", mode="max", patience=config.patience),
            training.Checkpoint(run),  # writes checkpoint.keras, for --resume, and history.csv
        ],
        verbose=1 if sys.stdout.isatty() else 2,  # a progress bar on a screen, lines in a file
    )


def score(
    config: Config, network: keras.Model, train: common.Examples, test: common.Examples, run: Run
) -> dict[str, float | None]:
    """Test the network of the epoch with the highest validation accuracy; return its figures.

    Validation alone has chosen it. Among the figures are the mean and variance of the scaled
    training images, and after how many epochs the validation accuracy reached each goal (None if
    it never did).
    """
    network = run.best(network)
    figures = network.evaluate(test.x, test.y, batch_size=500, verbose=0, return_dict=True)
    seen = keras.ops.convert_to_numpy(network.layers[1](train.x))  # the scaled images
    more = {"input_mean": float(seen.mean()), "input_variance": float(seen.var())}
    for goal in GOALS:
        reached = np.flatnonzero(np.array(run.history["val_accuracy"]) >= goal)
        more[f"epochs_to_{goal}"] = int(reached[0]) + 1 if len(reached) else None
    metrics = report.classifier(network, test, figures, run, more=more)
    tensorboard_log.add_result(config, run, metrics)  # figures of the test, settings, pictures
    return metrics


@lesson  # sets the seed, and spreads each batch over all devices
def main(config: Config) -> dict[str, dict[str, float | None]]:
    """Train and test a network on each scaling; return the figures of each test."""
    # One example is an image (28, 28) with its digit. data/mnist.pkl.gz has 55,000 to train on,
    # 5,000 others for validation and 10,000 more to test on; --data names another file.
    train, validation, test = digits.load_digits(
        config.data, train_size=config.train_size, test_size=config.test_size
    )
    config = common.with_learning_rate(config, LEARNING_RATES)  # unless --learning-rate is set
    configs = {
        scaling: config.model_copy(update={"scaling": scaling})
        for scaling in (SCALINGS if config.scaling == "all" else [config.scaling])
    }
    networks = {scaling: build_network(configs[scaling], train) for scaling in configs}
    whole = run_folder.open_run(__file__, config)  # makes runs/standardize/TIME
    runs = {scaling: run_folder.open_part(whole, scaling, configs[scaling]) for scaling in configs}
    for scaling, run in runs.items():
        print(f"\ntraining on {scaling} pixels\n")
        train_network(configs[scaling], networks[scaling], train, validation, run)

    # Here the test images are used for the first time.
    metrics = {}
    for scaling, run in runs.items():
        print(f"\ntest on {scaling} pixels")
        metrics[scaling] = score(configs[scaling], networks[scaling], train, test, run)
    report.comparison(whole, runs, metrics, GOALS)
    print(f"\n{tensorboard_log.how_to_see(whole.folder)}")
    return metrics


if __name__ == "__main__":
    command_line.run(main, Config, __doc__)
