"""Lesson 2: read a sequence of labels when nobody says which frame belongs to which label.

Five handwritten digits stand side by side on one strip. A recurrent network reads the strip from
left to right and gives, at every step, a score to each digit and one to the blank, "nothing new".
Connectionist Temporal Classification (CTC) adds up all the ways to spread the five labels over
the steps, so that training needs the labels alone and no alignment.

    python seq_labelling.py
    python seq_labelling.py --cell LSTM --epochs 4
"""

import functools
from typing import Literal

import common  # before Keras, because it keeps TensorFlow's start quiet

import keras
from keras import layers
from pydantic import PositiveFloat, PositiveInt

from support import command_line, devices, digits, report, run_folder, strips, training
from support.settings import Pixels, RunConfig, Share


class Config(RunConfig):
    """What you can change, here or on the command line."""

    digits: PositiveInt = 5  # digits on a strip
    distortion: Share = 0.1  # most that a digit is turned (radians), stretched and slanted
    shift: Pixels = 2.0  # most that a digit moves, in pixels
    elastic: Pixels = 0.0  # how far parts of a digit move on their own, in pixels
    cell: Literal["SimpleRNN", "GRU", "LSTM"] = "GRU"  # kind of recurrent layer
    units: PositiveInt = 128  # units of each recurrent layer and direction
    depth: PositiveInt = 2  # recurrent layers, one on top of the other
    bidirectional: bool = True  # read the strip in both directions
    columns: PositiveInt = 4  # columns of the strip that make one step
    dropout: Share = 0.0  # share of each recurrent layer's outputs dropped in training
    epochs: PositiveInt = 15  # times that the network sees every training digit
    batch_size: PositiveInt = 128  # strips of one weight update
    learning_rate: PositiveFloat = 0.006  # at its peak
    warmup: Share = 0.2  # share of the training in which the learning rate climbs
    clip_norm: PositiveFloat = 1.0  # longest gradient; a longer one is shortened to it
    beam_width: PositiveInt = 20  # candidates that beam search keeps


def rnn_seqlab_network(
    T: int,
    D: int,
    *,
    cell: str,
    units: int,
    depth: int,
    bidirectional: bool,
    columns: int,
    dropout: float,
    labels: int = 10,
) -> keras.Model:
    """Build a network that reads T timesteps of D features and labels every step.

    Args:
        cell: "SimpleRNN", "GRU" or "LSTM".
        units: of each recurrent layer and direction.
        depth: recurrent layers, one on top of the other.
        bidirectional: read the strip in both directions.
        columns: timesteps that make one step.
        dropout: share of each recurrent layer's outputs dropped in training.

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
    devices.distribute(config.batch_size)
    distort = functools.partial(
        digits.distorted,
        distortion=config.distortion,
        shift=config.shift,
        elastic=config.elastic,
    )
    compose, validation, test = strips.load_strips(
        config.data,
        shortest=config.digits,
        longest=config.digits,
        columns=config.columns,
        distort=distort,
        train_size=config.train_size,
        test_size=config.test_size,
    )
    batches = training.EpochBatches(
        lambda random: strips.stack_equal(compose(random), "training"),
        batch_size=config.batch_size,
        seed=config.seed,
    )
    validation = strips.stack_equal(validation, "validation")
    test = strips.stack_equal(test, "test")
    if len({part.x.shape[1:] for part in (batches.examples, validation, test)}) > 1:
        raise common.DataError(f"{config.data}: training and test sequences differ in length")

    T, D = test.x.shape[1:]
    if T % config.columns:
        raise common.SettingError(f"--columns {config.columns} does not divide {T} timesteps")
    network = rnn_seqlab_network(
        T,
        D,
        cell=config.cell,
        units=config.units,
        depth=config.depth,
        bidirectional=config.bidirectional,
        columns=config.columns,
        dropout=config.dropout,
    )
    schedule = common.one_cycle(
        peak=config.learning_rate, steps=config.epochs * len(batches), warmup=config.warmup
    )
    # The first epoch predicts little but blanks; a large learning rate with a warm-up leaves that
    # plateau soonest.
    network.compile(
        optimizer=common.muon(schedule, clip_norm=config.clip_norm),
        loss=keras.losses.CTC(),
    )
    folder = run_folder.open_run(
        __file__, settings=config.of_the_run(), output=config.output, resume=config.resume
    )
    network.summary()
    history, seconds = training.train(
        network,
        batches,
        validation=None,  # by the callback, which reads the labels too
        epochs=config.epochs,
        folder=folder,
        best="val_label_error_rate",
        mode="min",
        callbacks=[training.SequenceValidation(validation)],
    )
    devices.alone()
    # The test set is used here, once, by the network of the best epoch.
    network = keras.saving.load_model(folder / "model.keras", compile=False)
    metrics = report.labeller(network, test, beam_width=config.beam_width, folder=folder)
    return report.finish(folder, history=history, metrics=metrics, seconds=seconds)


if __name__ == "__main__":
    command_line.run(main, Config, __doc__)
