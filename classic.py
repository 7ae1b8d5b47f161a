"""Lesson 1: an image is a sequence.

An image of a handwritten digit, 28 x 28 pixels, is read row by row, from top to bottom: that makes
a sequence of 28 timesteps with 28 features each. A recurrent layer carries what it has seen from
row to row in its state, and a dense layer names the digit from the state after the last row.

    python classic.py
    python classic.py --cell SimpleRNN --units 256 --epochs 5
"""

from typing import Literal

import common  # before Keras, because it keeps TensorFlow's start quiet

import keras
import numpy as np
from keras import layers
from pydantic import PositiveFloat, PositiveInt

from support import command_line, devices, digits, report, run_folder, training
from support.settings import Pixels, RunConfig, Share


class Config(RunConfig):
    """What you can change, here or on the command line."""

    cell: Literal["SimpleRNN", "GRU", "LSTM"] = "GRU"  # kind of recurrent layer
    units: PositiveInt = 192  # units of each recurrent layer
    depth: PositiveInt = 1  # recurrent layers, one on top of the other
    bidirectional: bool = False  # read the rows in both directions
    distortion: Share = 0.0  # most that a digit is turned (radians), stretched and slanted
    shift: Pixels = 0.0  # most that a digit moves, in pixels
    elastic: Pixels = 0.0  # how far parts of a digit move on their own, in pixels
    dropout: Share = 0.0  # share of each recurrent layer's outputs dropped in training
    epochs: PositiveInt = 3  # times that the network sees every training image
    batch_size: PositiveInt = 128  # images of one weight update
    learning_rate: PositiveFloat | None = None  # at its peak; None: 0.008, 0.001 for SimpleRNN
    warmup: Share = 0.3  # share of the training in which the learning rate climbs
    clip_norm: PositiveFloat = 1.0  # longest gradient; a longer one is shortened to it


def classif_rnn_network(
    T: int,
    D: int,
    *,
    cell: str,
    units: int,
    depth: int,
    bidirectional: bool,
    dropout: float,
    scaling: keras.Layer | None = None,
    classes: int = 10,
) -> keras.Model:
    """Build a network that reads T timesteps of D features and names one class.

    Args:
        cell: "SimpleRNN", "GRU" or "LSTM".
        units: of each recurrent layer, and direction.
        depth: recurrent layers, one on top of the other.
        bidirectional: read the timesteps in both directions.
        dropout: share of each recurrent layer's outputs dropped in training.
        scaling: the layer that turns pixels into the network's input; None: to 0 to 1.

    Returns:
        A model from raw pixels (batch, T, D), 0 to 255, to logits (batch, classes).
    """
    network = keras.Sequential(name="classif_rnn_network")
    network.add(keras.Input((T, D), dtype="uint8", name="pixels"))
    network.add(scaling or layers.Rescaling(1 / 255))
    for level in range(depth):
        # All layers but the last hand their state at every timestep to the next layer.
        recurrent = getattr(layers, cell)(units, return_sequences=level < depth - 1)
        network.add(layers.Bidirectional(recurrent) if bidirectional else recurrent)
        if dropout:
            network.add(layers.Dropout(dropout))
    network.add(layers.Dense(classes, name="logits"))
    return network


def main(config: Config) -> dict[str, float]:
    """Train and test the network; return the figures of the test."""
    common.set_seed(config.seed)
    devices.distribute(config.batch_size)
    train, validation, test = digits.load_digits(
        config.data, train_size=config.train_size, test_size=config.test_size
    )

    def compose(random: np.random.Generator) -> common.Examples:
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
    network = classif_rnn_network(
        T,
        D,
        cell=config.cell,
        units=config.units,
        depth=config.depth,
        bidirectional=config.bidirectional,
        dropout=config.dropout,
    )
    # A SimpleRNN wants smaller steps: no gate keeps its state while the weights change.
    peak = config.learning_rate or (0.001 if config.cell == "SimpleRNN" else 0.008)
    schedule = common.one_cycle(peak=peak, steps=config.epochs * len(batches), warmup=config.warmup)
    network.compile(
        optimizer=common.muon(schedule, clip_norm=config.clip_norm),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    folder = run_folder.open_run(
        __file__, settings=config.of_the_run(), output=config.output, resume=config.resume
    )
    network.summary()
    history, seconds = training.train(
        network,
        batches,
        validation=validation,
        epochs=config.epochs,
        folder=folder,
        best="val_accuracy",
        mode="max",
    )
    devices.alone()
    # The test set is used here, once, by the network of the best epoch.
    network = keras.saving.load_model(folder / "model.keras", compile=False)
    metrics = report.classifier(network, test, folder)
    return report.finish(folder, history=history, metrics=metrics, seconds=seconds)


if __name__ == "__main__":
    command_line.run(main, Config, __doc__)
