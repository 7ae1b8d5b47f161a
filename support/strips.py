"""Strips: sequences of digits, composed of images or loaded from a pickle of sequences.

From images: training strips hold training digits only and are composed anew from a random
generator, each digit at most once and distorted. Validation strips hold validation digits only,
test strips test digits only, at most 2,000 of them, composed once, in an order that no setting
changes but the lengths.

From sequences, `((x_train, y_train), (x_test, y_test))`, each x a list of arrays (T_i, D) and each
y a list of label lists: a fixed list, only shuffled.

Labels of a sequence are digit + 1, because Connectionist Temporal Classification (CTC) in Keras
takes 0 for its blank, and for the padding after the last label too.

Sequences of different lengths are an object array of arrays (T_i, D) until they are padded.
"""

import contextlib
import functools
import math
from pathlib import Path

import common

import keras
import numpy as np

from support import ctc, digits

MOST_TEST_STRIPS = 2000


def load_strips(
    path: Path,
    *,
    shortest: int,
    longest: int,
    columns: int = 1,
    train_size: int | None = None,
    test_size: int | None = None,
    **distortion: float,
) -> tuple[digits.Compose, common.Examples, common.Examples]:
    """Load strips: training, validation and test.

    Args:
        path: of a pickle of digits, see `digits.load_mnist`, or of sequences.
        shortest, longest: digits on a strip that is composed.
        columns: timesteps that make one step of the network's output.
        train_size, test_size: how many strips to return, the first ones; None: all.
        distortion: of the training digits, see `digits.distorted`; none: they stay as they are.

    Returns:
        A function that composes an epoch's training strips from its random generator; validation
        strips; test strips. One that ends within a step is filled up with background.

    Raises:
        DataError: the file cannot be read, holds neither digits nor sequences, or a sequence has
            too few steps for its labels.
        SettingError: there are fewer strips, or not one, or the columns are too many; the fewest
            digits on a strip are more than the most.
    """
    check_lengths(shortest, longest)
    digits.fetch_if_missing(path)
    parts = common.load_parts(path)
    if any(_holds_sequences(part) for part in parts):
        train, validation, test = _split_sequences(path, parts, columns)
        train = digits.take_first(train, train_size, "--train-size", "training sequences")
        compose, kind = functools.partial(digits.shuffled, train), "sequences"
    else:
        train, validation, test = _split_digits(path, parts, longest, columns)
        available = len(strip_lengths(len(train.x), shortest, longest))
        digits.check_size(train_size, available, "--train-size", "training strips")
        settings = {"shortest": shortest, "longest": longest, "size": train_size}
        compose = functools.partial(compose_distorted, train, **settings, **distortion)
        validation = compose_strips(validation, shortest, longest, np.random.default_rng(1))
        test = compose_strips(test, shortest, longest, np.random.default_rng(2))
        test = common.Examples(*(part[:MOST_TEST_STRIPS] for part in test))
        kind = "strips"
    test = digits.take_first(test, test_size, "--test-size", f"test {kind}")
    filled = functools.partial(_filled, columns=columns)
    return lambda random: filled(compose(random)), filled(validation), filled(test)


def _filled(strips: common.Examples, columns: int) -> common.Examples:
    """Fill up strips that end within a step with background, so that they are whole steps."""
    filled = np.empty(len(strips.x), object)
    filled[:] = [
        np.pad(strip, ((0, -len(strip) % columns), (0, 0))) if len(strip) % columns else strip
        for strip in strips.x
    ]
    return common.Examples(filled, strips.y)


def load_equal_strips(
    path: Path, *, length: int, columns: int, **options: float | None
) -> tuple[digits.Compose, common.Examples, common.Examples]:
    """Load strips that are all of one length, as `load_strips` does, each part one array (n, T, D).

    Args:
        length: digits on a strip that is composed.
        columns: timesteps that make one step of the network's output.
        options: others of `load_strips`.

    Raises:
        DataError: of a file, see `load_strips`; or its sequences are not all of one length.
        SettingError: see `load_strips`.
    """
    compose, *others = load_strips(
        path, shortest=length, longest=length, columns=columns, **options
    )
    validation, test = map(stack_equal, others, ("validation", "test"))

    def compose_equal(random: np.random.Generator) -> common.Examples:
        train = stack_equal(compose(random), "training")
        if not train.x.shape[1:] == validation.x.shape[1:] == test.x.shape[1:]:
            raise common.DataError(f"{path}: training and test sequences differ in length")
        return train

    return compose_equal, validation, test


def check_lengths(shortest: int, longest: int) -> None:
    """Raise SettingError where the fewest digits on a strip are more than the most."""
    if shortest > longest:
        raise common.SettingError(f"--shortest {shortest} is more than --longest {longest}")


def strip_lengths(number: int, shortest: int, longest: int) -> np.ndarray:
    """Return the lengths of the strips that a number of digits make.

    Equally many of each length, in turns, so that every epoch has the same number of strips.
    """
    lengths = np.resize(np.arange(shortest, longest + 1), number // shortest)
    return lengths[lengths.cumsum() <= number]


def compose_strips(
    examples: common.Examples,
    shortest: int,
    longest: int,
    random: np.random.Generator | np.random.RandomState,
) -> common.Examples:
    """Put digits side by side in a random order, each at most once.

    Args:
        examples: images (n, height, width) and labels (n,).
        shortest, longest: digits on a strip; the lengths between are equally frequent.

    Returns:
        Strips whose columns are the timesteps, an object array of arrays (digits * width, height),
        and their labels, digit + 1, padded with 0, (strips, longest).
    """
    order = random.permutation(len(examples.x))
    lengths = random.permutation(strip_lengths(len(order), shortest, longest))
    ends = lengths.cumsum()
    columns, digit_labels = examples.x[order].transpose(0, 2, 1), examples.y[order] + 1
    strips = np.empty(len(ends), object)
    labels = np.zeros((len(ends), longest), np.uint8)
    for strip, (length, end) in enumerate(zip(lengths, ends, strict=True)):
        strips[strip] = columns[end - length : end].reshape(-1, columns.shape[2])
        labels[strip, :length] = digit_labels[end - length : end]
    return common.Examples(strips, labels)


def compose_distorted(
    examples: common.Examples,
    random: np.random.Generator,
    *,
    shortest: int,
    longest: int,
    size: int | None,
    **distortion: float,
) -> common.Examples:
    """Distort digits and compose strips of them; return the first `size`, all for None."""
    if size:  # no more digits than these strips need, however long they turn out
        examples = common.Examples(*(part[: size * longest] for part in examples))
    distorted = common.Examples(digits.distorted(examples.x, random, **distortion), examples.y)
    strips = compose_strips(distorted, shortest, longest, random)
    return common.Examples(*(part[:size] for part in strips))


def _split_digits(
    path: Path, parts: list[tuple[str, object, object]], longest: int, columns: int
) -> tuple[common.Examples, common.Examples, common.Examples]:
    """Make training, validation and test digits, enough and wide enough for the longest strip."""
    train, test = digits.join_digits(path, parts)
    train, validation = digits.split_validation(train, path)
    fewest = min(len(validation.x), len(test.x))
    if fewest < longest:
        raise common.SettingError(
            f"strips of {longest:,} digits, but {path} has {fewest:,} to validate or test"
        )
    steps = math.ceil(longest * train.x.shape[2] / columns)  # the last may be filled up
    needed = ctc.steps_needed(np.ones((1, longest), int))[0]
    if steps < needed:
        raise common.SettingError(
            f"--columns {columns} leaves {steps} steps to a strip of {longest} digits, which may "
            f"need {needed}"
        )
    return train, validation, test


def _split_sequences(
    path: Path, parts: list[tuple[str, object, object]], columns: int
) -> tuple[common.Examples, common.Examples, common.Examples]:
    """Make training, validation and test sequences, each with enough steps for its labels."""
    *train_parts, test = [_digit_sequences(*part) for part in parts]
    for (where, *_), part in zip(parts, (*train_parts, test), strict=True):
        steps = np.array([math.ceil(len(sequence) / columns) for sequence in part.x])
        ctc.check_labels_fit(part.y, steps, where)
    widths = {part.x[0].shape[1] for part in (*train_parts, test)}
    if len(widths) > 1:
        raise common.DataError(f"{path}: sequences of {sorted(widths)} features a timestep")
    train = common.Examples(
        np.concatenate([part.x for part in train_parts]),
        _pad_labels([row for part in train_parts for row in part.y]),
    )
    return *digits.split_validation(train, path), test


def _pad_labels(labels: list[np.ndarray]) -> np.ndarray:
    return keras.utils.pad_sequences(labels, padding="post", dtype="uint8", value=ctc.BLANK)


def _holds_sequences(part: tuple[str, object, object]) -> bool:
    """Tell sequences, whose targets are lists, from single images, whose targets are numbers."""
    _, _, y = part
    with contextlib.suppress(Exception):  # what is neither is refused where it is read
        y = y.to_array() if isinstance(y, common.PickledArray) else y
        return isinstance(y[0], list | common.PickledArray | np.ndarray)
    return False


def _digit_sequences(where: str, x: object, y: object) -> common.Examples:
    """Check sequences and their labels.

    Returns:
        Sequences, an object array (n,) of arrays (T_i, D) of uint8; labels, digit + 1, padded
        with 0, (n, longest).
    """
    sequences = common.to_arrays(f"{where} sequence", x)
    labels = common.to_arrays(f"{where} labels of sequence", y)
    if len(sequences) != len(labels) or not sequences:
        raise common.DataError(
            f"{where}: {len(sequences)} sequences, {len(labels)} lists of labels"
        )
    D = sequences[0].shape[-1] if sequences[0].ndim else 0
    longest = max(part.size for part in labels)
    if longest * len(labels) > common.LARGEST_DATA // 8:  # one long list would pad all others
        raise common.DataError(
            f"{where}: {len(labels):,} label lists of up to {longest:,} are too many"
        )
    for index, (sequence, part) in enumerate(zip(sequences, labels, strict=True)):
        if sequence.ndim != 2 or sequence.shape[1] != D or not sequence.size:
            raise common.DataError(
                f"{where} sequence {index}: expected the shape (T, {D}), T at least 1, found "
                f"{sequence.shape}"
            )
        if sequence.dtype != sequences[0].dtype:
            raise common.DataError(
                f"{where} sequence {index}: its type is {sequence.dtype}, that of sequence 0 "
                f"{sequences[0].dtype}; all must be of one type"
            )
        if part.ndim != 1 or not part.size:
            raise common.DataError(
                f"{where} labels of sequence {index}: found the shape {part.shape}"
            )
        digits.check_digits(f"{where} labels of sequence {index}", part)
    ragged = np.empty(len(sequences), object)
    if sequences[0].dtype != np.uint8:
        ends = np.cumsum([len(sequence) for sequence in sequences])
        pixels = digits.to_pixels(f"{where} sequence", np.concatenate(sequences), ends)
        sequences = np.split(pixels, ends[:-1])
    ragged[:] = sequences
    return common.Examples(ragged, _pad_labels([part + 1 for part in labels]))


def stack_equal(strips: common.Examples, name: str) -> common.Examples:
    """Make one array (n, T, D) of sequences; DataError if their lengths differ."""
    lengths = [len(strip) for strip in strips.x]
    labels = (strips.y != ctc.BLANK).sum(axis=1)
    if min(lengths) < max(lengths) or min(labels) < max(labels):
        raise common.DataError(
            f"{name} sequences of {min(lengths)} to {max(lengths)} timesteps and of {min(labels)} "
            f"to {max(labels)} labels: different lengths are for variable_length_seq.py"
        )
    return common.Examples(np.stack(list(strips.x)), strips.y[:, : max(labels)])
