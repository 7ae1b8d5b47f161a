"""Strips: sequences of digits, composed of images or loaded from a pickle of sequences.

From images: training strips hold training digits only and are composed anew from a random
generator; each digit is used at most once, and distorted. Validation strips hold validation digits
only, and test strips, at most 2,000, test digits only; both are composed once, in an order that no
setting changes but the lengths.

From sequences, `((x_train, y_train), (x_test, y_test))`, each x a list of arrays (T_i, D) and each
y a list of label lists: a fixed list, which is only shuffled.

Labels of a sequence are digit + 1, because Connectionist Temporal Classification (CTC) in Keras
takes 0 for its blank, and for the padding after the last label too.

Sequences of different lengths are an object array of arrays (T_i, D) until they are padded.
"""

import functools
import math
from pathlib import Path

import common

import keras
import numpy as np

from support import ctc, data_files, digits, pixels

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
        path: file of digits, see `digits.load_digits`, or of sequences.
        shortest, longest: fewest and most digits on a strip that is composed.
        columns: number of timesteps that make one step of the network's output.
        train_size, test_size: how many strips to return, the first ones; None: all.
        distortion: of the training digits, see `digits.distorted`; none: they stay as they are.

    Returns:
        A function that composes an epoch's training strips from its random generator; validation
        strips; test strips. A strip that ends within a step is filled up with background.

    Raises:
        DataError: the file holds neither digits nor sequences with enough steps for their labels.
        SettingError: there are too few strips; `columns`, `shortest` or `longest` is too large.
    """
    parts = data_files.load_parts(path)
    if any(part.labels is None for part in parts):
        train, validation, test = _split_sequences(path, parts, columns)
        train = digits.take_first(train, train_size, "--train-size", "training sequences")
        compose = digits.shuffled_anew(train)
    else:
        train, validation, test = _split_digits(path, parts, longest, columns)
        available = len(strip_lengths(len(train.x), shortest, longest))
        digits.check_size(train_size, available, "--train-size", "training strips")
        compose = functools.partial(
            compose_distorted,
            train,
            shortest=shortest,
            longest=longest,
            size=train_size,
            **digits.distortion_of(train.x, **distortion),
        )
        validation = compose_strips(validation, shortest, longest, np.random.default_rng(1))
        test = compose_strips(test, shortest, longest, np.random.default_rng(2))
        test = common.Examples(*(part[:MOST_TEST_STRIPS] for part in test))
    test = digits.take_first(test, test_size, "--test-size", "test strips")
    filled = functools.partial(_filled, columns=columns)
    return lambda random: filled(compose(random)), filled(validation), filled(test)


def _filled(strips: common.Examples, columns: int) -> common.Examples:
    """Fill up strips that end within a step with background, so that they are whole steps."""
    filled = [
        np.pad(strip, ((0, -len(strip) % columns), (0, 0))) if len(strip) % columns else strip
        for strip in strips.x
    ]
    return common.Examples(np.fromiter(filled, object), strips.y)


def load_equal_strips(
    path: Path, *, length: int, columns: int, **options: float | None
) -> tuple[digits.Compose, common.Examples, common.Examples]:
    """Load strips that are all of one length, as `load_strips` does, each part one array (n, T, D).

    Args:
        length: number of digits on a strip that is composed.
        columns: number of timesteps that make one step of the network's output.
        options: the other arguments of `load_strips`.

    Raises:
        DataError: see `load_strips`; or the sequences of a file are not all of one length.
        SettingError: see `load_strips`.
    """
    compose, validation, test = load_strips(
        path, shortest=length, longest=length, columns=columns, **options
    )
    equal = functools.partial(_stack_equal, path, len(test.x[0]))
    return lambda random: equal(compose(random)), equal(validation), equal(test)


def strip_lengths(number: int, shortest: int, longest: int) -> np.ndarray:
    """Return the lengths of the strips that a number of digits make, counted in digits, (strips,).

    The lengths take turns, so they are equally frequent, and every epoch has the same number of
    strips.

    Raises:
        SettingError: `shortest` is more than `longest`, or that is more than there are digits.
    """
    if shortest > longest:
        raise common.SettingError(f"--shortest {shortest} is more than --longest {longest}")
    if longest > number:
        raise common.SettingError(
            f"strips of {longest:,} digits, but there are {number:,} to train, validate or test"
        )
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
        shortest, longest: fewest and most digits on a strip; all lengths are equally frequent.

    Returns:
        Strips whose columns are the timesteps, an object array of arrays (digits * width, height),
        and their labels, digit + 1, padded with 0, (strips, longest).

    Raises:
        SettingError: see `strip_lengths`.
    """
    order = random.permutation(len(examples.x))
    lengths = random.permutation(strip_lengths(len(order), shortest, longest))
    order = order[: lengths.sum()]  # a few digits may be left over
    columns = examples.x[order].transpose(0, 2, 1)
    parts = np.split(columns, lengths.cumsum()[:-1])
    strips = np.fromiter((part.reshape(-1, columns.shape[2]) for part in parts), object)
    labels = np.zeros((len(lengths), longest), np.uint8)
    labels[np.arange(longest) < lengths[:, None]] = examples.y[order] + 1
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
    """Distort digits and compose strips of them; return the first `size`, or all if it is None."""
    most = size and size * longest  # digits that these strips need, however long they turn out
    x = digits.distorted(examples.x[:most], random, **distortion)
    strips = compose_strips(common.Examples(x, examples.y[:most]), shortest, longest, random)
    return common.Examples(*(part[:size] for part in strips))


def _split_digits(
    path: Path, parts: list[data_files.Part], longest: int, columns: int
) -> tuple[common.Examples, common.Examples, common.Examples]:
    """Make training, validation and test digits, wide enough for the longest strip."""
    train, validation, test = digits.split(path, digits.digits_of(path, parts))
    digits.say_what_is_missing(train.y, test.y)
    steps = math.ceil(longest * train.x.shape[2] / columns)  # the last may be filled up
    needed = ctc.steps_needed(np.ones((1, longest), int))[0]
    if steps < needed:
        raise common.SettingError(
            f"--columns {columns} leaves {steps} steps to a strip of {longest} digits, which may "
            f"need {needed}"
        )
    return train, validation, test


def _split_sequences(
    path: Path, parts: list[data_files.Part], columns: int
) -> tuple[common.Examples, common.Examples, common.Examples]:
    """Make training, validation and test sequences, each with enough steps for its labels.

    Sequences are an object array (n,) of arrays (T_i, D) of uint8, light on dark; labels are
    digit + 1, padded with 0, (n, longest).
    """
    sequences, labels = zip(*map(_sequences_and_labels, parts), strict=True)
    features = sorted({part[0].shape[1] for part in sequences})
    if len(features) > 1:
        raise common.DataError(f"{path}: sequences of {features} features a timestep")
    lengths = [np.array([*map(len, part)]) for part in sequences]
    # A strip is longer than it is high, so it has fewer features than timesteps.
    transposed = max(map(np.max, lengths)) < features[0]
    advice = (
        f"each has {features[0]} features: if it is transposed, make it strip.T"
        if transposed
        else "name a smaller --columns, or leave the sequence out"
    )
    for part, padded, steps in zip(parts, labels, lengths, strict=True):
        ctc.check_labels_fit(padded, -(-steps // columns), part.where, advice)
    if sum(x.nbytes for part in sequences for x in part) > common.LARGEST_DATA:
        raise common.DataError(f"{path}: more than a file can hold, one of them many times")
    # All sequences of a part, one after the other, are one long image.
    long = {
        f"{part.where} sequence": np.concatenate(x)[None]
        for part, x in zip(parts, sequences, strict=True)
    }
    long = pixels.light_on_dark(path, pixels.to_uint8(long))
    if transposed:
        print(
            f"{path} has fewer timesteps than features: if a strip is transposed, make it strip.T"
        )
    examples = [
        common.Examples(np.fromiter(np.split(image, steps.cumsum()[:-1]), object), padded)
        for (image,), steps, padded in zip(long, lengths, labels, strict=True)
    ]
    train, validation, test = digits.split(path, examples)
    digits.say_what_is_missing(train.y[train.y > ctc.BLANK] - 1, test.y[test.y > ctc.BLANK] - 1)
    return train, validation, test


def _sequences_and_labels(part: data_files.Part) -> tuple[list[np.ndarray], np.ndarray]:
    """Check the sequences (T_i, D) of a part, with pixels of any kind, and pad its labels.

    Returns:
        The sequences, and their labels, digit + 1, padded with 0, (n, longest).
    """
    where = f"{part.where} sequence", f"{part.where} labels of sequence"
    sequences = data_files.to_arrays(where[0], part.x)
    labels = data_files.to_arrays(where[1], part.y, data_files.to_labels)
    if len(sequences) != len(labels) or not sequences:
        raise common.DataError(
            f"{part.where}: {len(sequences)} sequences, {len(labels)} lists of labels"
        )
    if len(labels) * max(label.size for label in labels) > common.LARGEST_DATA // 8:
        raise common.DataError(f"{part.where}: one list of labels is too long to pad all others")
    first = sequences[0]
    for index, (sequence, label) in enumerate(zip(sequences, labels, strict=True)):
        if (
            sequence.ndim != 2
            or not sequence.size
            or (sequence.dtype, sequence.shape[1:]) != (first.dtype, first.shape[1:])
        ):
            raise common.DataError(
                f"{where[0]} {index}: expected the shape (T, "
                f"{first.shape[1] if first.ndim == 2 else 'D'}), T at least 1, of {first.dtype}, "
                f"found {sequence.shape} of {sequence.dtype}; if it is transposed, make it strip.T"
            )
        if not np.isfinite([sequence.min(), sequence.max()]).all():
            raise common.DataError(f"{where[0]} {index}: a pixel is not a finite number")
        if label.ndim != 1 or not label.size:
            raise common.DataError(f"{where[1]} {index}: found the shape {label.shape}")
        digits.check_digits(f"{where[1]} {index}", label)
    return sequences, keras.utils.pad_sequences(
        [label + 1 for label in labels], padding="post", dtype="uint8", value=ctc.BLANK
    )


def _stack_equal(path: Path, length: int, strips: common.Examples) -> common.Examples:
    """Make one array (n, T, D) of sequences; DataError if one has another length than T."""
    lengths = [length, *map(len, strips.x)]
    labels = (strips.y != ctc.BLANK).sum(axis=1)
    if min(lengths) < max(lengths) or min(labels) < max(labels):
        raise common.DataError(
            f"{path}: sequences of {min(lengths)} to {max(lengths)} timesteps and of {min(labels)} "
            f"to {max(labels)} labels: different lengths are for variable_length_seq.py"
        )
    return common.Examples(np.stack(list(strips.x)), strips.y[:, : max(labels)])
