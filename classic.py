"""Lesson 1: an image is a sequence.

An image of a handwritten digit, 28 x 28 pixels, is read row by row, from top to bottom, which makes
it a sequence of 28 timesteps with 28 features each. A recurrent layer carries what it has seen from
row to row in its state, and a dense layer names the digit from the state after the last row.

    python classic.py
    python classic.py --cell SimpleRNN --units 256 --epochs 5
    python classic.py --optimizer Adam --schedule constant --learning-rate 0.001 --patience 1

With its default settings it gets 99.1% of the test images right, after half a minute of training
on 2 cores.

It prints the network, the loss and accuracy of every epoch and of the test, and ten answers beside
the truth. It writes a folder runs/classic/TIME: model.keras, the network of the best epoch;
history.csv, metrics.json and answers.csv, the numbers; config.json, the settings; versions.json,
the versions of the libraries; checkpoint.keras, to go on from; and pictures: learning_curves.png,
misread.png, confusion_matrix.png and, if the network reads in one direction, reading.png. Ctrl-C
stops the training and prints the command that goes on after the last whole epoch: this one with
--resume FOLDER.
"""

import sys
from typing import Literal

import common  # before Keras, whose backend it chooses

import keras
import numpy as np
from keras import layers
from pydantic import PositiveFloat, PositiveInt

from support import command_line, digits, report, run_folder, saved, training
from support.lesson import lesson
from support.settings import BelowOne, Pixels, RunConfig

# The highest learning rate of each optimizer, unless --learning-rate names another. A constant
# schedule takes a quarter of it. A SimpleRNN has no gates that protect its state, so it needs
# smaller updates.
LEARNING_RATES = {
    #           GRU, LSTM  SimpleRNN
    "SGD":     (3.0,       0.3),
    "RMSprop": (0.006,     0.002),
    "Adam":    (0.008,     0.002),
    "AdamW":   (0.008,     0.002),
    "Muon":    (0.009,     0.006),
}  # fmt: skip


class Config(RunConfig):
    """The settings. Each is an option: batch_size is --batch-size; a bool has --no-NAME as well.

    RunConfig, in support/settings.py, has those of all lessons: seed, data, train_size, test_size,
    output, start_from, resume; predict, draw, model and seen, to read what you write; compare.
    """

    # Data
    distortion: BelowOne = 0.2  # largest turn (in radians), stretch and slant (shares) of a digit
    shift: Pixels = 0.5  # largest move of a digit along each axis, in pixels
    elastic: Pixels = 0.0  # standard deviation of the moves of a digit's parts, in pixels
    # Network
    cell: Literal["SimpleRNN", "GRU", "LSTM"] = "GRU"  # kind of recurrent layer
    units: PositiveInt = 128  # length of the state of each recurrent layer
    depth: PositiveInt = 1  # number of recurrent layers, on top of one another
    bidirectional: bool = False  # read the rows in both directions
    dropout: BelowOne = 0.0  # share of each recurrent layer's outputs set to 0 in training
    update_bias: float = 1.0  # initial bias of a GRU's update gate; a larger one: a longer memory
    # Training
    epochs: PositiveInt = 3  # number of times that the network sees every training image
    batch_size: PositiveInt = 192  # number of images per weight update
    optimizer: Literal["SGD", "RMSprop", "Adam", "AdamW", "Muon"] = "Muon"  # kind of optimizer
    schedule: Literal["one-cycle", "constant"] = "one-cycle"  # course of the learning rate
    learning_rate: PositiveFloat | None = None  # highest learning rate; None: see LEARNING_RATES
    warmup: BelowOne = 0.3  # share of the updates in which the learning rate climbs
    clip_norm: PositiveFloat | None = 1.0  # norm to which longer gradients are cut; None: no limit
    patience: PositiveInt | None = None  # epochs to wait for progress (constant rate); None: all


def classif_rnn_network(
    T: int,
    D: int,
    config: Config,
    *,
    scaling: keras.Layer | None = None,
    classes: int = digits.DIGITS,
    every_row: bool = False,
) -> keras.Model:
    """Build a network that reads T timesteps of D features and names one class.

    Args:
        config: only the settings under "Network" are used.
        scaling: the layer that scales the pixels; None: one that divides them by 255.
        classes: number of classes to choose from; the default is the ten digits. For others, change
            DIGITS in support/digits.py (labels are 0 to DIGITS - 1); name your file with --data.
        every_row: answer after every timestep, not only after the last.

    Returns:
        A model from raw pixels (batch, T, D), 0 to 255, to logits (batch, classes), or, with
        `every_row`, to logits (batch, T, classes).

    Source: C. Tallec and Y. Ollivier (2018), for the bias, https://arxiv.org/abs/1804.11188
    """
    bias = "zeros"  # as in Keras
    if config.cell == "GRU":
        # With bias 0 an untrained update gate keeps half of the state at every row; with bias 1 it
        # keeps sigmoid(1), 73%, as the forget gate of an LSTM does in Keras. A GRU adds up two
        # biases, so in each the update gate's part begins with half of `update_bias`. The parts of
        # the reset gate and of the candidate begin with 0.
        bias = keras.initializers.Constant(
            np.repeat([config.update_bias / 2, 0.0, 0.0], config.units)
        )
    network = keras.Sequential(name="classif_rnn_network")
    network.add(keras.Input((T, D), dtype="uint8", name="pixels"))
    network.add(scaling or layers.Rescaling(1 / 255))
    for level in range(config.depth):
        # All layers but the last hand their state at every timestep to the next layer.
        every_state = level < config.depth - 1 or every_row
        recurrent = getattr(layers, config.cell)(
            config.units, return_sequences=every_state, bias_initializer=bias
        )
        network.add(layers.Bidirectional(recurrent) if config.bidirectional else recurrent)
        if config.dropout:
            network.add(layers.Dropout(config.dropout))
    network.add(layers.Dense(classes, name="logits"))
    return network


@lesson  # sets the seed, and spreads each batch over all devices
def main(config: Config) -> dict[str, float]:
    """Train and test the network; return the figures of the test."""
    # One example is an image (28, 28) with its digit. data/mnist.pkl.gz has 55,000 to train on,
    # 5,000 others for validation and 10,000 more to test on; --data names another file.
    train, validation, test = digits.load_digits(
        config.data, train_size=config.train_size, test_size=config.test_size
    )
    # In every epoch the training images, and no others, get a new order and new distortions.
    batches = training.EpochBatches(
        digits.distorted_anew(
            train, distortion=config.distortion, shift=config.shift, elastic=config.elastic
        ),
        batch_size=config.batch_size,
        seed=config.seed,
    )

    T, D = train.x.shape[1:]
    network = classif_rnn_network(T, D, config)
    saved.start_from(config.start_from, network)  # takes the weights of --start-from, if any
    config = common.with_learning_rate(config, LEARNING_RATES)  # unless --learning-rate is set
    network.compile(
        # One cycle: the learning rate begins at a 25th of its highest value, climbs linearly during
        # `warmup`, and then falls along a cosine to 0 at the end. Constant: it never changes.
        optimizer=common.optimizer(config, updates=config.epochs * len(batches)),
        # The loss takes logits and makes probabilities of them, by softmax. The answer is the digit
        # with the largest logit, and the accuracy is the share of right answers.
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )

    run = run_folder.open_run(__file__, config)  # makes runs/classic/TIME
    network.summary()
    run.restore(network, steps_per_epoch=len(batches))  # loads the checkpoint of --resume, if any
    network.fit(
        batches,
        validation_data=training.in_batches(validation, batch_size=500),
        initial_epoch=len(run.epochs),  # 0; with --resume, the epochs already done
        epochs=run.last_epoch(config.epochs),  # fewer, if --resume names a run that stopped early
        shuffle=False,  # the images are in a new order already
        callbacks=[
            training.StartEpoch(batches),  # makes the batches of the epoch, by seed and number
            training.StopOnInfiniteLoss(),  # ends a training that has failed
            # Like Keras's ModelCheckpoint, KeepBest writes model.keras; like EarlyStopping, it ends
            # the training. Unlike them, it knows the epochs before --resume.
            training.KeepBest(run, monitor="val_accuracy", mode="max", patience=config.patience),
            training.Checkpoint(run),  # writes checkpoint.keras, for --resume, and history.csv
        ],
        verbose=1 if sys.stdout.isatty() else 2,  # a progress bar on a screen, lines in a file
    )

    # Here the test images are used for the first time, by the network of the epoch with the highest
    # validation accuracy. Validation alone has chosen it.
    network = run.best(network)
    figures = network.evaluate(test.x, test.y, batch_size=500, verbose=0, return_dict=True)
    reader = None
    if not config.bidirectional:
        # What would it answer after each row? A second network, with the same weights, shows it.
        reader = classif_rnn_network(T, D, config, every_row=True)
        reader.set_weights(network.get_weights())
    return report.classifier(network, test, figures, run, reader=reader)  # prints and draws


if __name__ == "__main__":
    command_line.run(main, Config, __doc__)
