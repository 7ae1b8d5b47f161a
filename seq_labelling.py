"""Lesson 2: read a sequence of labels when nobody says which frame belongs to which label.

Five handwritten digits stand side by side on one strip. A recurrent network reads the strip from
left to right and gives, at every step, a score to each digit and one to the blank, "nothing new".
Connectionist Temporal Classification (CTC) adds up all the ways to spread the five labels over
the steps, so that training needs the labels alone and no alignment.

    python seq_labelling.py
    python seq_labelling.py --cell LSTM --epochs 4

With its default settings the label error rate is 0.9% on test strips, and 95.5% of the strips have
no error, by greedy decoding, after about 2 minutes of training on 2 cores.

It prints the network, the figures of every epoch and of the test, and ten answers beside the
truth. It writes a folder runs/seq_labelling/TIME: model.keras, the network of the best epoch;
history.csv and metrics.json, the figures; config.json, the settings; versions.json, the versions of
the libraries; checkpoint.keras, to go on from; and pictures: learning_curves.png, misread.png
and alignment.png.
"""

import functools
import sys
from typing import Literal

import common  # before Keras: it chooses the backend and keeps its start quiet

import keras
import numpy as np
from keras import layers, ops
from pydantic import PositiveFloat, PositiveInt

from support import command_line, ctc, devices, digits, report, run_folder, saved, strips, training
from support.settings import Pixels, RunConfig, Share

# Peaks of the learning rate that suit this lesson, by optimizer, schedule and cell.
# In the first epoch the network says little but blanks; a high rate after a warm-up ends that.
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
    digits: PositiveInt = 5  # digits on a strip
    distortion: Share = 0.1  # most that a digit is turned (radians), stretched and slanted
    shift: Pixels = 1.0  # most that a digit moves, in pixels
    elastic: Pixels = 0.0  # how far parts of a digit move on their own, in pixels
    # Network
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
    """Build a network that reads T columns of D pixels and labels every step, a group of columns.

    Args:
        cell: "SimpleRNN", "GRU" or "LSTM".
        units: of each recurrent layer and direction.
        depth: recurrent layers, one on top of the other.
        bidirectional: read the strip in both directions.
        columns: how many make one step; it divides T.
        dropout: share of each recurrent layer's outputs dropped in training.
        labels: how many there are, without the blank.

    Returns:
        A model from raw pixels (batch, T, D), 0 to 255, to logits (batch, T / columns,
        1 + labels); class 0 is the blank of CTC.
    """
    pixels = keras.Input((T, D), dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / 255)(pixels)
    x = layers.Reshape((-1, columns * D), name="steps")(x)
    for _ in range(depth):
        recurrent = getattr(layers, cell)(units, return_sequences=True)
        if bidirectional:  # the sum of both directions: half as many numbers as both side by side
            recurrent = layers.Bidirectional(recurrent, merge_mode="sum")
        x = recurrent(x)
        if dropout:
            x = layers.Dropout(dropout)(x)
    logits = layers.Dense(1 + labels, name="logits")(x)
    return keras.Model(pixels, logits, name="rnn_seqlab_network")


def load_strips(
    config: Config,
) -> tuple[training.EpochBatches, common.Examples, common.Examples]:
    """Load strips of one length: batches to train on, strips for validation, strips to test on."""
    compose, validation, test = strips.load_strips(
        config.data,
        shortest=config.digits,
        longest=config.digits,
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
    batches = training.EpochBatches(
        lambda random: strips.stack_equal(compose(random), "training"),
        batch_size=config.batch_size,
        seed=config.seed,
    )
    validation = strips.stack_equal(validation, "validation")
    test = strips.stack_equal(test, "test")
    if len({part.x.shape[1:] for part in (batches.examples, validation, test)}) > 1:
        raise common.DataError(f"{config.data}: training and test sequences differ in length")
    T = test.x.shape[1]
    if T % config.columns:
        raise common.SettingError(f"--columns {config.columns} does not divide {T} timesteps")
    return batches, validation, test


def main(config: Config) -> dict[str, float]:
    """Train and test the network; return the figures of the test."""
    common.set_seed(config.seed)
    devices.distribute(config.batch_size)  # several devices, if any, share each batch

    # One example is a strip of 140 columns, each of 28 pixels, (140, 28), with its five labels,
    # digit + 1, because 0 is the blank. From MNIST, the 11,000 training strips are composed anew in
    # every epoch, of 55,000 digits; the 1,000 strips for validation hold 5,000 other digits, the
    # 2,000 test strips the 10,000 test digits, as they are.
    batches, validation, test = load_strips(config)

    T, D = test.x.shape[1:]
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
        # Of greedy decoding, see below: labels to insert, delete or change, over the number of true
        # labels; and the share of strips with any error.
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
    run.restore(network, steps_per_epoch=len(batches))  # with --resume: go on after its last epoch
    # Ctrl-C ends the script here and prints the command that goes on after the last whole epoch.
    with run.guarded():
        network.fit(
            batches,
            validation_data=training.in_batches(validation),
            initial_epoch=len(run.epochs),
            epochs=run.last_epoch(planned=config.epochs),
            shuffle=False,  # the strips of an epoch are composed in a random order already
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

    # How logits become labels: greedy decoding takes the best class of every step, merges repeats
    # and drops blanks. Beam search keeps the most probable labellings while it reads, each with all
    # the ways added up that say it. -1 follows the last label.
    logits = network.predict(test.x, batch_size=500, verbose=0)
    steps = np.full(len(logits), logits.shape[1], np.int32)  # every strip uses all its steps
    greedy, _ = ops.ctc_decode(logits, steps, strategy="greedy", mask_index=ctc.BLANK)
    beam, _ = ops.ctc_decode(
        logits, steps, strategy="beam_search", beam_width=config.beam_width, mask_index=ctc.BLANK
    )
    metrics = report.labeller(
        test, logits=logits, figures=figures, greedy=greedy[0], beam=beam[0], run=run
    )
    return report.finish(run, metrics)


if __name__ == "__main__":
    command_line.run(main, Config, __doc__)
