"""Lesson 3: sequences of different lengths, padded and masked so that padding changes nothing.

A strip holds two to five handwritten digits. A batch is one tensor, so its strips are padded on
the right to the longest of the batch. A mask tells the recurrent layers which steps are padding,
and the scores of these steps are forced to the blank of Connectionist Temporal Classification
(CTC), which says nothing and costs nothing.

    python variable_length_seq.py
    python variable_length_seq.py --no-mask
"""

import functools
import math
from collections.abc import Sequence
from typing import Literal

import common  # before Keras, because it keeps TensorFlow's start quiet

import keras
import numpy as np
from keras import layers, ops
from pydantic import PositiveFloat, PositiveInt

from support import command_line, ctc, devices, digits, report, run_folder, strips, training
from support.settings import Pixels, RunConfig, Share

PADDING = -1  # no pixel has this value; 0 would be the background


class Config(RunConfig):
    """What you can change, here or on the command line."""

    shortest: PositiveInt = 2  # fewest digits on a strip
    longest: PositiveInt = 5  # most digits on a strip
    mask: bool = True  # tell the network which steps are padding
    buckets: bool = True  # batches of similar length, to pad less
    distortion: Share = 0.1  # most that a digit is turned (radians), stretched and slanted
    shift: Pixels = 1.0  # most that a digit moves, in pixels
    elastic: Pixels = 0.0  # how far parts of a digit move on their own, in pixels
    cell: Literal["SimpleRNN", "GRU", "LSTM"] = "GRU"  # kind of recurrent layer
    units: PositiveInt = 128  # units of each recurrent layer and direction
    depth: PositiveInt = 2  # recurrent layers, one on top of the other
    bidirectional: bool = True  # read the strip in both directions
    columns: PositiveInt = 4  # columns of the strip that make one step
    dropout: Share = 0.0  # share of each recurrent layer's outputs dropped in training
    epochs: PositiveInt = 13  # times that the network sees every training digit
    batch_size: PositiveInt = 64  # strips of one weight update
    learning_rate: PositiveFloat = 0.0045  # at its peak
    warmup: Share = 0.2  # share of the training in which the learning rate climbs
    clip_norm: PositiveFloat = 1.0  # longest gradient; a longer one is shortened to it
    beam_width: PositiveInt = 20  # candidates that beam search keeps


def rnn_seqlab_network(
    D: int,
    *,
    cell: str,
    units: int,
    depth: int,
    bidirectional: bool,
    columns: int,
    dropout: float,
    mask: bool,
    labels: int = 10,
) -> keras.Model:
    """Build a network that reads any number of timesteps of D features and labels every step.

    Args:
        cell: "SimpleRNN", "GRU" or "LSTM".
        units: of each recurrent layer and direction.
        depth: recurrent layers, one on top of the other.
        bidirectional: read the strip in both directions.
        columns: timesteps that make one step.
        dropout: share of each recurrent layer's outputs dropped in training.
        mask: tell the recurrent layers which steps are padding.

    Returns:
        A model from raw pixels (batch, T, D), 0 to 255, or -1 in timesteps of padding, to logits
        (batch, T / columns, 1 + labels); class 0 is the blank of CTC. A step of
        padding is blank with certainty.
    """
    pixels = keras.Input((None, D), dtype="int16", name="pixels")
    steps = layers.Reshape((-1, columns * D), name="steps")(pixels)
    # Masking hangs a mask on its output; Rescaling, the recurrent layers and Dropout heed it and
    # hand it on.
    x = layers.Masking(PADDING)(steps) if mask else steps
    x = layers.Rescaling(1 / 255)(x)
    for _ in range(depth):
        recurrent = getattr(layers, cell)(units, return_sequences=True)
        if bidirectional:  # added, the states of both directions keep the next layer small
            recurrent = layers.Bidirectional(recurrent, merge_mode="sum")
        x = recurrent(x)
        if dropout:
            x = layers.Dropout(dropout)(x)
    logits = layers.Dense(1 + labels, name="logits")(x)
    if mask:
        # CTC in Keras counts every step as input and heeds no mask. A step that is blank with
        # certainty adds nothing to its loss, to the gradient or to the reading.
        certain_blank = np.where(np.arange(1 + labels) == ctc.BLANK, 1e4, -1e4).astype(np.float32)
        real = ops.any(ops.not_equal(steps, PADDING), axis=-1, keepdims=True)
        logits = ops.where(real, logits, certain_blank)
    return keras.Model(pixels, logits, name="rnn_seqlab_network")


def pad(strips: Sequence[np.ndarray], columns: int = 1) -> np.ndarray:
    """Pad strips (T_i, D) on the right with -1 to the longest, (n, T, D) of int16.

    Args:
        columns: T is a multiple of it. A strip whose length is none is first filled up with
            background, so that every step of so many columns is all strip or all padding.
    """
    filled = [
        np.pad(strip, ((0, -len(strip) % columns), (0, 0))) if len(strip) % columns else strip
        for strip in strips
    ]
    return keras.utils.pad_sequences(filled, dtype="int16", padding="post", value=PADDING)


def bucketed(
    examples: common.Examples, batch_size: int, random: np.random.Generator
) -> common.Examples:
    """Order sequences so that those of one batch are of similar length, the batches at random.

    Sequences of equal length come in random order. What fills no batch comes last.
    """
    lengths = [len(sequence) for sequence in examples.x]
    order = np.lexsort((random.random(len(lengths)), lengths))
    # Leave out of the whole batches some sequences anywhere in the order, not just the longest.
    rest = random.choice(len(order), len(order) % batch_size, replace=False)
    batches = np.delete(order, rest).reshape(-1, batch_size)
    order = np.concatenate([random.permutation(batches).ravel(), order[rest]])
    return common.Examples(*(part[order] for part in examples))


def padding_share(batches: training.EpochBatches) -> float:
    """Return the share of padding in the timesteps of the current epoch's batches."""
    timesteps = sum(math.prod(batches[index].x.shape[:2]) for index in range(len(batches)))
    return 1 - sum(map(len, batches.examples.x)) / timesteps


def main(config: Config) -> dict[str, float]:
    """Train and test the network; return the figures of the test."""
    if config.shortest > config.longest:
        raise common.SettingError(
            f"--shortest {config.shortest} is more than --longest {config.longest}"
        )
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
        shortest=config.shortest,
        longest=config.longest,
        columns=config.columns,
        distort=distort,
        train_size=config.train_size,
        test_size=config.test_size,
    )

    def compose_in_buckets(random: np.random.Generator) -> common.Examples:
        return bucketed(compose(random), config.batch_size, random)

    batches = training.EpochBatches(
        compose_in_buckets if config.buckets else compose,
        batch_size=config.batch_size,
        seed=config.seed,
        collate=functools.partial(pad, columns=config.columns),
    )
    # Where padding changes nothing, all strips may as well be padded to one length.
    validation, test = (
        common.Examples(pad(part.x, config.columns), part.y) for part in (validation, test)
    )

    network = rnn_seqlab_network(
        test.x.shape[2],
        cell=config.cell,
        units=config.units,
        depth=config.depth,
        bidirectional=config.bidirectional,
        columns=config.columns,
        dropout=config.dropout,
        mask=config.mask,
    )
    schedule = common.one_cycle(
        peak=config.learning_rate, steps=config.epochs * len(batches), warmup=config.warmup
    )
    network.compile(
        optimizer=common.muon(schedule, clip_norm=config.clip_norm),
        loss=keras.losses.CTC(),
    )
    folder = run_folder.open_run(
        __file__, settings=config.of_the_run(), output=config.output, resume=config.resume
    )
    network.summary()
    print(f"padding: {padding_share(batches):.1%} of the timesteps of the first epoch")
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
