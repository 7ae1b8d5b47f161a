"""Lesson 3: sequences of different lengths, padded and masked so that padding changes nothing.

A strip holds two to five handwritten digits. A batch is one tensor, so its strips are padded on the
right to the length of the longest. A mask tells the recurrent layers which steps are padding; there
the network says the blank of Connectionist Temporal Classification (CTC): nothing.

    python variable_length_seq.py
    python variable_length_seq.py --no-mask
    python variable_length_seq.py --optimizer Adam --schedule constant --learning-rate 0.001

With its default settings it reads 0.9% of the labels of the test strips wrong, and 97% of the
strips without an error (greedy decoding), after about 2 minutes of training on 2 cores.

It prints the network, the loss and error rates of every epoch and of the test, and ten readings
beside the truth. It writes a folder runs/variable_length_seq/TIME: model.keras, the network of the
best epoch; history.csv, metrics.json and answers.csv, the numbers; config.json, versions.json and
checkpoint.keras; and pictures: learning_curves.png, misread.png, alignment.png and padding.png.
Ctrl-C stops the training and prints how to go on after the last whole epoch: with --resume FOLDER.
"""

import functools
import sys
from typing import Literal

import common  # before Keras, whose backend it chooses

import keras
import numpy as np
from keras import layers, ops
from pydantic import PositiveFloat, PositiveInt

from support import command_line, ctc, digits, report, run_folder, saved, strips, training
from support.lesson import lesson
from support.settings import BelowOne, Pixels, RunConfig

PADDING = -1  # no pixel has this value; 0 would be the background

# The highest learning rate of each optimizer, unless --learning-rate names another. A constant
# schedule takes a quarter of it.
LEARNING_RATES = {
    #           GRU, LSTM  SimpleRNN
    "SGD":     (1.0,       0.3),
    "RMSprop": (0.004,     0.002),
    "Adam":    (0.006,     0.004),
    "AdamW":   (0.006,     0.004),
    "Muon":    (0.0045,    0.0045),
}  # fmt: skip


class Config(RunConfig):
    """The settings. Each is an option: batch_size is --batch-size; a bool has --no-NAME as well.

    RunConfig, in support/settings.py, has those of all lessons: seed, data, train_size, test_size,
    output, start_from, resume; predict, draw, model and seen, to read what you write; compare.
    """

    # Data
    shortest: PositiveInt = 2  # fewest digits on a strip
    longest: PositiveInt = 5  # most digits on a strip
    buckets: bool = True  # put strips of similar length into one batch, to pad less
    distortion: BelowOne = 0.15  # largest turn (in radians), stretch and slant (shares) of a digit
    shift: Pixels = 1.0  # largest move of a digit along each axis, in pixels
    elastic: Pixels = 0.0  # standard deviation of the moves of a digit's parts, in pixels
    # Network
    mask: bool = True  # tell the network which steps are padding, so that it skips them
    cell: Literal["SimpleRNN", "GRU", "LSTM"] = "GRU"  # kind of recurrent layer
    units: PositiveInt = 128  # length of the state of each recurrent layer in each direction
    depth: PositiveInt = 2  # number of recurrent layers, on top of one another
    bidirectional: bool = True  # read the strip in both directions
    columns: PositiveInt = 7  # number of columns of a strip that make one step
    dropout: BelowOne = 0.0  # share of each recurrent layer's outputs set to 0 in training
    # Training and test
    epochs: PositiveInt = 7  # number of times that the network sees every training digit
    batch_size: PositiveInt = 64  # number of strips per weight update
    optimizer: Literal["SGD", "RMSprop", "Adam", "AdamW", "Muon"] = "Muon"  # kind of optimizer
    schedule: Literal["one-cycle", "constant"] = "one-cycle"  # course of the learning rate
    learning_rate: PositiveFloat | None = None  # highest learning rate; None: see LEARNING_RATES
    warmup: BelowOne = 0.2  # share of the updates in which the learning rate climbs
    clip_norm: PositiveFloat | None = 1.0  # norm to which longer gradients are cut; None: no limit
    patience: PositiveInt | None = None  # epochs to wait for progress (constant rate); None: all
    beam_width: PositiveInt = 20  # number of candidate readings that beam search keeps


def rnn_seqlab_network(D: int, config: Config, *, labels: int = digits.DIGITS) -> keras.Model:
    """Build the network of lesson 2, but with a mask, and for strips of any number T of columns.

    Args:
        config: only the settings under "Network" are used; `columns` must divide every T.
        labels: number of labels, without the blank; the default is ten digits. For others, change
            DIGITS in support/digits.py (labels are 0 to DIGITS - 1); name your file with --data.

    Returns:
        A model from raw pixels (batch, T, D), 0 to 255, or -1 in columns of padding, to logits
        (batch, T / columns, 1 + labels); class 0 is the blank of CTC.
    """
    pixels = keras.Input((None, D), dtype="int16", name="pixels")
    steps = layers.Reshape((-1, config.columns * D), name="steps")(pixels)
    # The mask (batch, steps) is true at every step that is not all padding.
    mask = layers.Masking(PADDING).compute_mask(steps) if config.mask else None
    x = layers.Rescaling(1 / 255)(steps)
    for _ in range(config.depth):
        recurrent = getattr(layers, config.cell)(config.units, return_sequences=True)
        if config.bidirectional:  # a sum has half as many numbers as both side by side
            recurrent = layers.Bidirectional(recurrent, merge_mode="sum")
        # Each layer is given the mask, because in newer versions of Keras no layer passes it on.
        x = recurrent(x, mask=mask)  # a step of padding leaves the state as it is
        if config.dropout:
            x = layers.Dropout(config.dropout)(x)
    logits = layers.Dense(1 + labels, name="logits")(x)
    if config.mask:
        # CTC in Keras counts every step as input and takes no mask. A step that is blank with
        # certainty (1e4 against -1e4) adds nothing to the loss, the gradient or the reading.
        certain_blank = np.where(np.arange(1 + labels) == ctc.BLANK, 1e4, -1e4).astype(np.float32)
        logits = ops.where(ops.expand_dims(mask, axis=-1), logits, certain_blank)
    return keras.Model(pixels, logits, name="rnn_seqlab_network")


def pad(strips: list[np.ndarray] | np.ndarray) -> np.ndarray:
    """Pad strips (T_i, D) on the right with -1 to the length T of the longest: (n, T, D), int16."""
    return keras.utils.pad_sequences(strips, dtype="int16", padding="post", value=PADDING)


def in_buckets(
    compose: digits.Compose, batch_size: int, random: np.random.Generator
) -> common.Examples:
    """Compose the strips of an epoch, ordered so that those of a batch are of similar length.

    Strips of equal length are in random order, and so are the batches. The last may be smaller.
    """
    examples = compose(random)
    lengths = [len(strip) for strip in examples.x]
    order = np.lexsort((random.random(len(lengths)), lengths))
    # The smaller batch takes strips of any length, not just the longest.
    rest = random.choice(len(order), len(order) % batch_size, replace=False)
    batches = np.delete(order, rest).reshape(-1, batch_size)
    order = np.concatenate([random.permutation(batches).ravel(), order[rest]])
    return common.Examples(*(part[order] for part in examples))


def load_data(config: Config) -> tuple[training.EpochBatches, common.Examples, common.Examples]:
    """Load strips: batches to train on, padded strips for validation, padded strips to test on.

    In every epoch the training digits are distorted anew and composed into new strips. The strips
    for validation and test hold other digits and stay as they are; so do sequences from a file.
    """
    train, validation, test = strips.load_strips(
        config.data,
        shortest=config.shortest,
        longest=config.longest,
        columns=config.columns,
        train_size=config.train_size,
        test_size=config.test_size,
        distortion=config.distortion,
        shift=config.shift,
        elastic=config.elastic,
    )
    if config.buckets:
        train = functools.partial(in_buckets, train, config.batch_size)
    batches = training.EpochBatches(
        train, batch_size=config.batch_size, seed=config.seed, collate=pad
    )
    # Strips for validation and test are padded to one length, which the mask makes harmless.
    validation, test = (common.Examples(pad(part.x), part.y) for part in (validation, test))
    return batches, validation, test


@lesson  # sets the seed, and spreads each batch over all devices
def main(config: Config) -> dict[str, float]:
    """Train and test the network; return the figures of the test."""
    # One example is a strip of T columns of 28 pixels, (T, 28), with the labels of its two to five
    # digits: digit + 1, because 0 is the blank; 0 also pads the labels. data/mnist.pkl.gz, or the
    # file that --data names, makes 15,714 strips to train on (of 55,000 digits), 1,429 for
    # validation (of 5,000 other digits) and 2,000 to test on (of 10,000 more, not all used).
    batches, validation, test = load_data(config)

    network = rnn_seqlab_network(test.x.shape[2], config)
    saved.start_from(config.start_from, network)  # takes the weights of --start-from, if any
    config = common.with_learning_rate(config, LEARNING_RATES)  # unless --learning-rate is set
    network.compile(
        # One cycle: the learning rate begins at a 25th of its highest value, climbs linearly during
        # `warmup`, and then falls along a cosine to 0 at the end. Constant: it never changes.
        optimizer=common.optimizer(config, updates=config.epochs * len(batches)),
        # Minus the logarithm of the probability of the labels, which is a sum over all ways to put
        # them on the steps. Keras makes it from logits, and always takes class 0 for the blank.
        loss=keras.losses.CTC(),
        # Both by greedy decoding, see below: the labels to insert, delete or change, as a share of
        # the true labels; and the share of strips with an error.
        metrics=[ctc.LabelErrorRate(), ctc.SequenceErrorRate()],
    )

    run = run_folder.open_run(__file__, config)  # makes runs/variable_length_seq/TIME
    network.summary()
    print(f"padding: {training.padding_share(batches):.1%} of the timesteps of the first epoch")
    run.restore(network, steps_per_epoch=len(batches))  # loads the checkpoint of --resume, if any
    network.fit(
        batches,
        validation_data=training.in_batches(validation, batch_size=500),
        initial_epoch=len(run.epochs),  # 0; with --resume, the epochs already done
        epochs=run.last_epoch(config.epochs),  # fewer, if --resume names a run that stopped early
        shuffle=False,  # the batches are in a new order already
        callbacks=[
            training.StartEpoch(batches),  # composes the strips of the epoch, by seed and number
            training.StopOnInfiniteLoss(),  # ends a training that has failed
            # Like Keras's ModelCheckpoint, KeepBest writes model.keras; like EarlyStopping, it ends
            # the training. Unlike them, it knows the epochs before --resume.
            training.KeepBest(
                run, monitor="val_label_error_rate", mode="min", patience=config.patience
            ),
            training.Checkpoint(run),  # writes checkpoint.keras, for --resume, and history.csv
        ],
        verbose=1 if sys.stdout.isatty() else 2,  # a progress bar on a screen, lines in a file
    )

    # Here the test strips are used for the first time, by the network of the epoch with the lowest
    # label error rate in validation. Validation alone has chosen it.
    network = run.best(network)
    figures = network.evaluate(test.x, test.y, batch_size=500, verbose=0, return_dict=True)
    # How logits become labels: greedy decoding takes the best class of every step, merges repeats
    # and drops blanks, so padding says nothing. Beam search keeps the `beam_width` most probable
    # readings from step to step, and adds up the probabilities of all ways to spread each of them.
    logits = network.predict(test.x, batch_size=500, verbose=0)
    greedy = ctc.read_labels(logits)
    beam = ctc.read_labels(logits, beam_width=config.beam_width)
    report.padding(network, test, run)
    return report.labeller(test, logits, figures, run, greedy=greedy, beam=beam)  # prints, draws


if __name__ == "__main__":
    command_line.run(main, Config, __doc__)
