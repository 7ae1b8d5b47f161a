"""Lesson 3: sequences of different lengths, padded and masked so that padding changes nothing.

A strip holds two to five handwritten digits. A batch is one tensor, so its strips are padded on
the right to the longest of the batch. A mask tells the recurrent layers which steps are padding,
and the scores of these steps are forced to the blank of Connectionist Temporal Classification
(CTC), which says nothing and costs nothing.

    python variable_length_seq.py
    python variable_length_seq.py --no-mask

With its default settings the label error rate is 0.9% on test strips, and 97% of the strips have
no error, by greedy decoding, after 2 to 3 minutes of training on 2 cores.

It prints the network, the figures of every epoch and of the test, and ten answers beside the
truth. It writes a folder runs/variable_length_seq/TIME: model.keras, the network of the best epoch;
history.csv and metrics.json, the figures; config.json, the settings; versions.json, the versions of
the libraries; checkpoint.keras, to go on from; and pictures: learning_curves.png, misread.png,
alignment.png and padding.png.
"""

import functools
import sys
from collections.abc import Sequence
from typing import Literal

import common  # before Keras: it chooses the backend and keeps its start quiet

import keras
import numpy as np
from keras import layers, ops
from pydantic import PositiveFloat, PositiveInt

from support import command_line, ctc, devices, digits, report, run_folder, saved, strips, training
from support.settings import Pixels, RunConfig, Share

PADDING = -1  # no pixel has this value; 0 would be the background

# Peaks of the learning rate that suit this lesson, by optimizer, schedule and cell.
PEAKS = {
    ("Muon", "one-cycle", "SimpleRNN"): 0.0045,
    ("Muon", "one-cycle", "GRU"): 0.0045,
    ("Muon", "one-cycle", "LSTM"): 0.0045,
}


class Config(RunConfig):
    """What you can change, here or on the command line: batch_size is --batch-size there.

    RunConfig adds what all lessons have, see support/settings.py: seed, data, train_size and
    test_size, output, start_from, resume, and what reads your own pictures.
    """

    # Data
    shortest: PositiveInt = 2  # fewest digits on a strip
    longest: PositiveInt = 5  # most digits on a strip
    buckets: bool = True  # strips of similar length in one batch, to pad less
    distortion: Share = 0.15  # most that a digit is turned (radians), stretched and slanted
    shift: Pixels = 1.0  # most that a digit moves, in pixels
    elastic: Pixels = 0.0  # how far parts of a digit move on their own, in pixels
    # Network
    mask: bool = True  # tell the network which steps are padding
    cell: Literal["SimpleRNN", "GRU", "LSTM"] = "GRU"  # kind of recurrent layer
    units: PositiveInt = 128  # units of each recurrent layer and direction
    depth: PositiveInt = 2  # recurrent layers, one on top of the other
    bidirectional: bool = True  # read the strip in both directions
    columns: PositiveInt = 4  # columns of the strip that make one step
    dropout: Share = 0.0  # share of each recurrent layer's outputs dropped in training
    # Training
    epochs: PositiveInt = 7  # times that the network sees every training digit
    batch_size: PositiveInt = 64  # strips per weight update
    optimizer: Literal["SGD", "RMSprop", "Adam", "AdamW", "Muon"] = "Muon"  # as Keras names them
    schedule: Literal["one-cycle", "constant"] = "one-cycle"  # of the learning rate
    learning_rate: PositiveFloat | None = None  # at its peak; None: that of PEAKS, if any
    warmup: Share = 0.2  # share of the training in which the learning rate climbs
    clip_norm: PositiveFloat | None = 1.0  # longest gradient, of all weights together; None: any
    patience: PositiveInt | None = None  # with constant: end after so many epochs without gain
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
    """Build the network of lesson 2 for any number of columns of D pixels, with a mask.

    Args:
        cell, units, depth, bidirectional, columns, dropout, labels: as in lesson 2.
        mask: tell the recurrent layers which steps are padding.

    Returns:
        A model from raw pixels (batch, T, D), 0 to 255, or -1 in columns of padding, to logits
        (batch, T / columns, 1 + labels); class 0 is the blank of CTC. With the mask, a step of
        padding is blank with certainty.
    """
    pixels = keras.Input((None, D), dtype="int16", name="pixels")
    steps = layers.Reshape((-1, columns * D), name="steps")(pixels)
    # The mask (batch, steps) is true at every step that is not all padding.
    real = layers.Masking(PADDING).compute_mask(steps) if mask else None
    x = layers.Rescaling(1 / 255)(steps)
    for _ in range(depth):
        recurrent = getattr(layers, cell)(units, return_sequences=True)
        if bidirectional:  # the sum of both directions: half as many numbers as both side by side
            recurrent = layers.Bidirectional(recurrent, merge_mode="sum")
        x = recurrent(x, mask=real)  # a step of padding leaves the state as it is
        if dropout:
            x = layers.Dropout(dropout)(x)
    logits = layers.Dense(1 + labels, name="logits")(x)
    if mask:
        # CTC in Keras counts every step as input and takes no mask. A step that is blank with
        # certainty adds nothing to its loss, to the gradient or to the reading.
        certain_blank = np.where(np.arange(1 + labels) == ctc.BLANK, 1e4, -1e4).astype(np.float32)
        logits = ops.where(ops.expand_dims(real, axis=-1), logits, certain_blank)
    return keras.Model(pixels, logits, name="rnn_seqlab_network")


def pad(strips: Sequence[np.ndarray], columns: int = 1) -> np.ndarray:
    """Pad strips (T_i, D) on the right with -1 to the longest of them: (n, T, D), int16.

    Args:
        columns: how many make one step. A strip that ends within a step is first filled up with
            background, so that every step is all strip or all padding.
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

    Sequences of equal length come in random order. The last batch may be smaller.
    """
    lengths = [len(sequence) for sequence in examples.x]
    order = np.lexsort((random.random(len(lengths)), lengths))
    # The smaller batch takes sequences of any length, not just the longest.
    rest = random.choice(len(order), len(order) % batch_size, replace=False)
    batches = np.delete(order, rest).reshape(-1, batch_size)
    order = np.concatenate([random.permutation(batches).ravel(), order[rest]])
    return common.Examples(*(part[order] for part in examples))


def padding_share(batches: training.EpochBatches) -> float:
    """Return the share of padding in the timesteps of the current epoch's batches."""
    strips = batches.examples.x  # those of all processes, of which a batch has this one's share
    timesteps = sum(batches.collate(strips[batch])[:, :, 0].size for batch in batches.batches)
    return 1 - sum(map(len, strips)) / timesteps


def two_batches(strips: common.Examples, size: int) -> dict[str, common.Examples]:
    """Make a batch of the first strips, and one of those nearest in length to the first of all."""
    lengths = (strips.x != PADDING).any(axis=2).sum(axis=1)
    near = np.abs(lengths - lengths[0]).argsort(kind="stable")
    return {
        name: common.Examples(strips.x[order, : lengths[order].max()], strips.y[order])
        for name, order in (("without buckets", slice(size)), ("with buckets", near[:size]))
    }


def load_strips(
    config: Config,
) -> tuple[training.EpochBatches, common.Examples, common.Examples]:
    """Load strips: batches to train on, padded strips for validation, padded strips to test on."""
    strips.check_lengths(config.shortest, config.longest)
    compose, *parts = strips.load_strips(
        config.data,
        shortest=config.shortest,
        longest=config.longest,
        columns=config.columns,
        distort=functools.partial(
            digits.distorted,
            distortion=config.distortion,
            shift=config.shift,
            elastic=config.elastic,
        ),
        train_size=config.train_size,
        test_size=config.test_size,
    )

    def in_buckets(random: np.random.Generator) -> common.Examples:
        return bucketed(compose(random), config.batch_size, random)

    batches = training.EpochBatches(
        in_buckets if config.buckets else compose,
        batch_size=config.batch_size,
        seed=config.seed,
        collate=functools.partial(pad, columns=config.columns),
    )
    # Strips to validate and to test are padded to one length. With the mask that changes nothing.
    return batches, *(common.Examples(pad(part.x, config.columns), part.y) for part in parts)


def main(config: Config) -> dict[str, float]:
    """Train and test the network; return the figures of the test."""
    common.set_seed(config.seed)
    devices.distribute(config.batch_size)  # several devices, if any, share each batch

    # One example is a strip of T columns, each of 28 pixels, (T, 28), with its two to five labels:
    # digit + 1, because 0 is the blank, which also pads the labels. From MNIST, the 15,714
    # training strips are composed anew in every epoch, of 55,000 digits; the 1,429 strips for
    # validation hold 5,000 other digits, the 2,000 test strips test digits, as they are.
    batches, validation, test = load_strips(config)

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
    if config.start_from:  # a second training, of a network that was saved
        saved.start_from(config.start_from, network)
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
        loss=keras.losses.CTC(),  # minus the logarithm of the probability of the labels
        # Of greedy decoding: labels to insert, delete or change, by the number of true labels, and
        # the share of strips with any error.
        metrics=[ctc.LabelErrorRate(), ctc.SequenceErrorRate()],
    )

    # The folder, named after this script and the time, and in it config.json.
    run = run_folder.open_run(
        __file__,
        settings=config.of_the_run() | {"learning_rate": peak},
        output=config.output,
        resume=config.resume,
    )
    network.summary()
    print(f"padding: {padding_share(batches):.1%} of the timesteps of the first epoch")
    run.restore(network, steps_per_epoch=len(batches))  # with --resume: go on after its last epoch
    # Ctrl-C ends the script here and prints the command that goes on after the last whole epoch.
    with run.guarded():
        network.fit(
            batches,
            validation_data=training.in_batches(validation),
            initial_epoch=len(run.epochs),
            epochs=run.last_epoch(planned=config.epochs),
            shuffle=False,  # the batches of an epoch are in a random order already
            callbacks=[
                training.StartEpoch(batches),  # composes the strips of the epoch
                training.StopOnInfiniteLoss(),  # ends a training that has failed
                training.StopEarly(
                    run, monitor="val_label_error_rate", mode="min", patience=config.patience
                ),
                training.KeepBest(run, monitor="val_label_error_rate", mode="min"),  # model.keras
                training.Checkpoint(run),  # writes checkpoint.keras, for --resume, and history.csv
            ],
            verbose=1 if sys.stdout.isatty() else 2,
        )

    devices.alone()  # several processes, if any: from here on the first alone
    # The test strips are used from here on only, by the network of the epoch with the lowest label
    # error rate on validation. It was saved without loss and metrics, so that it is compiled again.
    network = keras.saving.load_model(run.folder / "model.keras")
    network.compile(
        loss=keras.losses.CTC(), metrics=[ctc.LabelErrorRate(), ctc.SequenceErrorRate()]
    )
    figures = network.evaluate(test.x, test.y, batch_size=500, verbose=0, return_dict=True)

    # How logits become labels: see lesson 2. A step of padding is a blank, and says nothing. In
    # what is read, -1 follows the last label.
    logits = network.predict(test.x, batch_size=500, verbose=0)
    steps = np.full(len(logits), logits.shape[1], np.int32)
    greedy, _ = ops.ctc_decode(logits, steps, strategy="greedy", mask_index=ctc.BLANK)
    beam, _ = ops.ctc_decode(
        logits, steps, strategy="beam_search", beam_width=config.beam_width, mask_index=ctc.BLANK
    )
    metrics = report.labeller(
        test, logits=logits, figures=figures, greedy=greedy[0], beam=beam[0], run=run
    )
    report.padding(network, two_batches(test, size=8), run)
    return report.finish(run, metrics)


if __name__ == "__main__":
    command_line.run(main, Config, __doc__)
