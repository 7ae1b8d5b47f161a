"""Lesson 2: read a sequence of labels when nobody says which frame belongs to which label.

Five handwritten digits stand side by side on one strip. A recurrent network reads the strip from
left to right and gives, at every step, a score to each digit and one to the blank, "nothing new".
Connectionist Temporal Classification (CTC) adds up all the ways to spread the five labels over
the steps, so that training needs the labels alone and no alignment.

    python seq_labelling.py
    python seq_labelling.py --cell LSTM --epochs 4
"""

from typing import Literal

import common  # before Keras, because it keeps TensorFlow's start quiet

import keras
from keras import layers
from pydantic import PositiveFloat, PositiveInt


class Config(common.RunConfig):
    """What you can change, here or on the command line."""

    digits: PositiveInt = 5  # digits on a strip
    distortion: common.Share = 0.1  # most that a digit is turned (radians), stretched and slanted
    shift: common.Pixels = 2.0  # most that a digit moves, in pixels
    elastic: common.Pixels = 0.0  # how far parts of a digit move on their own, in pixels
    cell: Literal["SimpleRNN", "GRU", "LSTM"] = "GRU"  # kind of recurrent layer
    units: PositiveInt = 128  # units of each recurrent layer and direction
    layers: PositiveInt = 2  # recurrent layers, one on top of the other
    bidirectional: bool = True  # read the strip in both directions
    columns: PositiveInt = 4  # columns of the strip that make one step
    dropout: common.Share = 0.0  # share of each recurrent layer's outputs dropped in training
    epochs: PositiveInt = 15  # times that the network sees every training digit
    batch_size: PositiveInt = 128  # strips of one weight update
    learning_rate: PositiveFloat = 0.006  # at its peak
    warmup: common.Share = 0.2  # share of the training in which the learning rate climbs
    clip_norm: PositiveFloat = 1.0  # longest gradient; a longer one is shortened to it
    beam_width: PositiveInt = 20  # candidates that beam search keeps


def rnn_seqlab_network(
    T: int,
    D: int,
    cell: str = "GRU",
    units: int = 128,
    depth: int = 2,
    bidirectional: bool = True,
    columns: int = 4,
    dropout: float = 0.0,
    labels: int = 10,
) -> keras.Model:
    """Build a network that reads T timesteps of D features and labels every step.

    Returns:
        A model from raw pixels (batch, T, D), 0 to 255, to logits (batch, T / columns,
        1 + labels); class 0 is the blank of CTC.
    """
    pixels = keras.Input((T, D), dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / 255)(pixels)
    x = layers.Reshape((-1, columns * D), name="steps")(x)
    for _ in range(depth):
        recurrent = getattr(layers, cell)(units, return_sequences=True)
        x = layers.Bidirectional(recurrent)(x) if bidirectional else recurrent(x)
        if dropout:
            x = layers.Dropout(dropout)(x)
    logits = layers.Dense(1 + labels, name="logits")(x)
    return keras.Model(pixels, logits, name="rnn_seqlab_network")


def main(config: Config) -> dict[str, float]:
    """Train and test the network; return the figures of the test."""
    common.set_seed(config.seed)
    compose, validation, test = common.load_strips(
        *(config, config.digits, config.digits, config.columns),
        *(config.distortion, config.shift, config.elastic),
    )
    batches = common.EpochBatches(
        lambda random: common.stack_equal(compose(random), "training"),
        *(config.batch_size, config.seed),
    )
    validation = common.stack_equal(validation, "validation")
    test = common.stack_equal(test, "test")
    if len({part.x.shape[1:] for part in (batches.examples, validation, test)}) > 1:
        raise common.DataError(f"{config.data}: training and test sequences differ in length")

    T, D = test.x.shape[1:]
    if T % config.columns:
        raise common.SettingError(f"--columns {config.columns} does not divide {T} timesteps")
    network = rnn_seqlab_network(
        *(T, D, config.cell, config.units, config.layers),
        *(config.bidirectional, config.columns, config.dropout),
    )
    schedule = common.one_cycle(config.learning_rate, config.epochs * len(batches), config.warmup)
    # The first epoch predicts little but blanks; a large learning rate with a warm-up leaves that
    # plateau soonest.
    network.compile(
        optimizer=common.muon(schedule, config.clip_norm),
        loss=keras.losses.CTC(),
    )
    folder = common.run_folder(__file__, config)
    network.summary()
    history, seconds = common.train(
        *(network, batches, None, config.epochs, folder),
        best="val_label_error_rate",
        callbacks=[common.SequenceValidation(validation)],
    )
    # The test set is used here, once.
    metrics = common.test_labeller(network, test, config.beam_width, folder)
    return common.finish(folder, history, metrics, seconds)


if __name__ == "__main__":
    common.run(main, Config)
