"""Lesson 3: sequences of different lengths, padded and masked so that padding changes nothing.

A strip holds two to five handwritten digits. A batch is one tensor, so its strips are padded on
the right to the longest of the batch. A mask tells the recurrent layers which steps are padding,
and the scores of these steps are forced to the blank of Connectionist Temporal Classification
(CTC), which says nothing and costs nothing.

    python variable_length_seq.py
    python variable_length_seq.py --no-mask
"""

from typing import Literal

import common  # before Keras, because it keeps TensorFlow's start quiet

import keras
import numpy as np
from keras import layers, ops
from pydantic import PositiveFloat, PositiveInt


class Config(common.RunConfig):
    """What you can change, here or on the command line."""

    shortest: PositiveInt = 2  # fewest digits on a strip
    longest: PositiveInt = 5  # most digits on a strip
    mask: bool = True  # tell the network which steps are padding
    buckets: bool = True  # batches of similar length, to pad less
    distortion: common.Share = 0.1  # most that a digit is turned (radians), stretched and slanted
    shift: common.Pixels = 1.0  # most that a digit moves, in pixels
    elastic: common.Pixels = 0.0  # how far parts of a digit move on their own, in pixels
    cell: Literal["SimpleRNN", "GRU", "LSTM"] = "GRU"  # kind of recurrent layer
    units: PositiveInt = 128  # units of each recurrent layer and direction
    layers: PositiveInt = 2  # recurrent layers, one on top of the other
    bidirectional: bool = True  # read the strip in both directions
    columns: PositiveInt = 4  # columns of the strip that make one step
    dropout: common.Share = 0.0  # share of each recurrent layer's outputs dropped in training
    epochs: PositiveInt = 13  # times that the network sees every training digit
    batch_size: PositiveInt = 64  # strips of one weight update
    learning_rate: PositiveFloat = 0.0045  # at its peak
    warmup: common.Share = 0.2  # share of the training in which the learning rate climbs
    clip_norm: PositiveFloat = 1.0  # longest gradient; a longer one is shortened to it
    beam_width: PositiveInt = 20  # candidates that beam search keeps


def rnn_seqlab_network(
    D: int,
    cell: str = "GRU",
    units: int = 128,
    depth: int = 2,
    bidirectional: bool = True,
    columns: int = 4,
    dropout: float = 0.0,
    mask: bool = True,
    labels: int = 10,
) -> keras.Model:
    """Build a network that reads any number of timesteps of D features and labels every step.

    Returns:
        A model from raw pixels (batch, T, D), 0 to 255, or -1 in timesteps of padding, to logits
        (batch, T / columns, 1 + labels); class 0 is the blank of CTC. A step of
        padding is blank with certainty.
    """
    pixels = keras.Input((None, D), dtype="int16", name="pixels")
    steps = layers.Reshape((-1, columns * D), name="steps")(pixels)
    # Masking hangs a mask on its output; Rescaling, the recurrent layers and Dropout heed it and
    # hand it on.
    x = layers.Masking(common.PADDING)(steps) if mask else steps
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
        certain_blank = np.full(1 + labels, -1e4, np.float32)
        certain_blank[common.BLANK] = 1e4
        real = ops.any(ops.not_equal(steps, common.PADDING), axis=-1, keepdims=True)
        logits = ops.where(real, logits, certain_blank)
    return keras.Model(pixels, logits, name="rnn_seqlab_network")


def main(config: Config) -> dict[str, float]:
    """Train and test the network; return the figures of the test."""
    if config.shortest > config.longest:
        raise common.SettingError(
            f"--shortest {config.shortest} is more than --longest {config.longest}"
        )
    common.set_seed(config.seed)
    compose, validation, test = common.load_strips(
        *(config, config.shortest, config.longest, config.columns),
        *(config.distortion, config.shift, config.elastic),
    )

    def compose_in_buckets(random: np.random.Generator) -> common.Examples:
        return common.bucketed(compose(random), config.batch_size, random)

    batches = common.EpochBatches(
        compose_in_buckets if config.buckets else compose,
        *(config.batch_size, config.seed),
        collate=lambda strips: common.pad(strips, config.columns),
    )
    # Where padding changes nothing, all strips may as well be padded to one length.
    validation, test = (
        common.Examples(common.pad(part.x, config.columns), part.y) for part in (validation, test)
    )

    network = rnn_seqlab_network(
        *(test.x.shape[2], config.cell, config.units, config.layers),
        *(config.bidirectional, config.columns, config.dropout, config.mask),
    )
    schedule = common.one_cycle(config.learning_rate, config.epochs * len(batches), config.warmup)
    network.compile(
        optimizer=common.muon(schedule, config.clip_norm),
        loss=keras.losses.CTC(),
    )
    folder = common.run_folder(__file__, config)
    network.summary()
    print(f"padding: {common.padding_share(batches):.1%} of the timesteps of the first epoch")
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
