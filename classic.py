"""Lesson 1: an image is a sequence.

An image of a handwritten digit, 28 x 28 pixels, is read row by row, from top to bottom: that makes
a sequence of 28 timesteps with 28 features each. A recurrent layer carries what it has seen from
row to row in its state, and a dense layer names the digit from the state after the last row.

    python classic.py
    python classic.py --cell SimpleRNN --units 256 --epochs 5
    python classic.py --optimizer Adam --schedule constant --learning-rate 0.001 --patience 1

With its default settings it gets 99.1% of the test images right, after half a minute of training
on 2 cores.

It prints the network, the figures of every epoch and of the test, and ten answers beside the
truth. It writes a folder runs/classic/TIME: model.keras, the network of the best epoch;
history.csv and metrics.json, the figures; config.json, the settings; versions.json, the versions of
the libraries; checkpoint.keras, to go on from; and pictures: learning_curves.png, misread.png,
confusion_matrix.png and, for one direction, reading.png.
"""

import functools
import sys
from typing import Literal

import common  # before Keras: it chooses the backend and keeps its start quiet

import keras
import numpy as np
from keras import layers
from pydantic import PositiveFloat, PositiveInt

from support import command_line, devices, digits, report, run_folder, saved, training
from support.settings import Pixels, RunConfig, Share

# Peaks of the learning rate that suit this lesson, by optimizer, schedule and cell.
# A SimpleRNN needs smaller changes: without gates, each acts on the state at all 28 rows.
PEAKS = {
    ("Muon", "one-cycle", "SimpleRNN"): 0.006,
    ("Muon", "one-cycle", "GRU"): 0.009,
    ("Muon", "one-cycle", "LSTM"): 0.008,
}


class Config(RunConfig):
    """What you can change, here or on the command line: batch_size is --batch-size there.

    RunConfig adds what all lessons have, see support/settings.py: seed, data, train_size and
    test_size, output, start_from, resume, and what reads your own pictures.
    """

    # Data
    distortion: Share = 0.2  # most that a digit is turned (radians), stretched and slanted
    shift: Pixels = 0.5  # most that a digit moves, in pixels
    elastic: Pixels = 0.0  # how far parts of a digit move on their own, in pixels
    # Network
    cell: Literal["SimpleRNN", "GRU", "LSTM"] = "GRU"  # kind of recurrent layer
    units: PositiveInt = 128  # units of each recurrent layer
    depth: PositiveInt = 1  # recurrent layers, one on top of the other
    bidirectional: bool = False  # read the rows in both directions
    dropout: Share = 0.0  # share of each recurrent layer's outputs dropped in training
    update_bias: float = 1.0  # of a GRU's update gate at first: the larger, the longer its memory
    # Training
    epochs: PositiveInt = 3  # times that the network sees every training image
    batch_size: PositiveInt = 192  # images per weight update
    optimizer: Literal["SGD", "RMSprop", "Adam", "AdamW", "Muon"] = "Muon"  # as Keras names them
    schedule: Literal["one-cycle", "constant"] = "one-cycle"  # of the learning rate
    learning_rate: PositiveFloat | None = None  # at its peak; None: that of PEAKS, if any
    warmup: Share = 0.3  # share of the training in which the learning rate climbs
    clip_norm: PositiveFloat | None = 1.0  # longest gradient, of all weights together; None: any
    patience: PositiveInt | None = None  # with constant: end after so many epochs without gain


def classif_rnn_network(
    T: int,
    D: int,
    *,
    cell: str,
    units: int,
    depth: int,
    bidirectional: bool,
    dropout: float,
    update_bias: float = 0.0,
    scaling: keras.Layer | None = None,
    classes: int = 10,
    every_row: bool = False,
) -> keras.Model:
    """Build a network that reads T timesteps of D features and names one class.

    Args:
        cell: "SimpleRNN", "GRU" or "LSTM".
        units: of each recurrent layer in each direction.
        depth: recurrent layers, one on top of the other.
        bidirectional: read the timesteps in both directions.
        dropout: share of each recurrent layer's outputs dropped in training.
        update_bias: with which a GRU's update gate begins. With 0 it keeps half of the state at
            every row, with 1 sigmoid(1), 73%, as in Keras the forget gate of an LSTM does.
        scaling: the layer that scales the pixels; None: one that divides them by 255.
        classes: how many there are to choose from.
        every_row: answer after every timestep, not only after the last.

    Returns:
        A model from raw pixels (batch, T, D), 0 to 255, to logits (batch, classes); with
        `every_row` (batch, T, classes).

    Source: C. Tallec and Y. Ollivier (2018), for the bias, https://arxiv.org/abs/1804.11188
    """
    # A GRU adds up two biases, so that each begins at half; a bias has a part for update gate,
    # reset gate and candidate. (Constant documents a scalar, and takes an array.)
    biases = keras.initializers.Constant(np.repeat([update_bias / 2, 0.0, 0.0], units))
    settings = {"bias_initializer": biases} if cell == "GRU" else {}
    network = keras.Sequential(name="classif_rnn_network")
    network.add(keras.Input((T, D), dtype="uint8", name="pixels"))
    network.add(scaling or layers.Rescaling(1 / 255))
    for level in range(depth):
        # All layers but the last hand their state at every timestep to the next layer.
        every_state = level < depth - 1 or every_row
        recurrent = getattr(layers, cell)(units, return_sequences=every_state, **settings)
        network.add(layers.Bidirectional(recurrent) if bidirectional else recurrent)
        if dropout:
            network.add(layers.Dropout(dropout))
    network.add(layers.Dense(classes, name="logits"))
    return network


def main(config: Config) -> dict[str, float]:
    """Train and test the network; return the figures of the test."""
    common.set_seed(config.seed)
    devices.distribute(config.batch_size)  # several devices, if any, share each batch

    # One example is an image (28, 28) with its digit. MNIST has 55,000 to train on, 5,000 more for
    # validation, which are never trained on, and 10,000 to test on, which are set apart.
    train, validation, test = digits.load_digits(
        config.data, train_size=config.train_size, test_size=config.test_size
    )

    def compose(random: np.random.Generator) -> common.Examples:
        """Return the images of an epoch, distorted anew, in a new order."""
        distorted = digits.distorted(
            train.x,
            random,
            distortion=config.distortion,
            shift=config.shift,
            elastic=config.elastic,
        )
        return digits.shuffled(common.Examples(distorted, train.y), random)

    batches = training.EpochBatches(compose, batch_size=config.batch_size, seed=config.seed)

    T, D = train.x.shape[1:]
    build_network = functools.partial(
        classif_rnn_network,
        T,
        D,
        cell=config.cell,
        units=config.units,
        depth=config.depth,
        bidirectional=config.bidirectional,
        dropout=config.dropout,
        update_bias=config.update_bias,
    )
    network = build_network()
    if config.start_from:  # a second training, of a network that was saved
        saved.start_from(config.start_from, network)
    # The loss makes probabilities of the logits, by softmax. The answer is the digit with the
    # largest logit, and the accuracy the share of right answers.
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    training.check_patience(config.patience, config.schedule)
    peak = config.learning_rate or common.peak_learning_rate(
        PEAKS, optimizer=config.optimizer, schedule=config.schedule, cell=config.cell
    )
    learning_rate = peak
    if config.schedule == "one-cycle":
        updates = config.epochs * len(batches)
        learning_rate = common.one_cycle(peak, steps=updates, warmup=config.warmup)
    network.compile(
        optimizer=common.optimizer(
            config.optimizer, learning_rate=learning_rate, clip_norm=config.clip_norm
        ),
        loss=loss,
        metrics=["accuracy"],
    )

    # The folder, named after this script and the time, and in it config.json.
    run = run_folder.open_run(
        __file__,
        settings=config.of_the_run() | {"learning_rate": peak},
        output=config.output,
        resume=config.resume,
    )
    network.summary()
    run.restore(network, steps_per_epoch=len(batches))  # with --resume: go on after its last epoch
    # Ctrl-C ends the script here and prints the command that goes on after the last whole epoch.
    with run.guarded():
        network.fit(
            batches,
            validation_data=training.in_batches(validation),
            initial_epoch=len(run.epochs),
            epochs=run.last_epoch(planned=config.epochs),
            shuffle=False,  # the batches of an epoch are shuffled already
            callbacks=[
                training.StartEpoch(batches),  # makes the batches of the epoch, by its number
                training.StopOnInfiniteLoss(),  # ends a training that has failed
                training.StopEarly(
                    run, monitor="val_accuracy", mode="max", patience=config.patience
                ),
                training.KeepBest(run, monitor="val_accuracy", mode="max"),  # writes model.keras
                training.Checkpoint(run),  # writes checkpoint.keras, for --resume, and history.csv
            ],
            verbose=1 if sys.stdout.isatty() else 2,
        )

    devices.alone()  # several processes, if any: from here on the first alone
    # The test images are used from here on only, by the network of the epoch with the highest
    # validation accuracy. It was saved without loss and metrics, so that it is compiled again.
    network = keras.saving.load_model(run.folder / "model.keras")
    network.compile(loss=loss, metrics=["accuracy"])
    figures = network.evaluate(test.x, test.y, batch_size=500, verbose=0, return_dict=True)
    metrics = report.classifier(network, test, figures, run)
    if not config.bidirectional:
        # What would it answer if it had read no further? The same weights, asked after every row.
        reader = build_network(every_row=True)
        reader.set_weights(network.get_weights())
        metrics |= report.reading(test, reader.predict(test.x, batch_size=500, verbose=0), run)
    return report.finish(run, metrics)


if __name__ == "__main__":
    command_line.run(main, Config, __doc__)
