"""Small data sets, and files that hold them, for several test files."""

import pickle
from pathlib import Path

import numpy as np

PICKLES = Path(__file__).parent / "pickles"


def digit_images(n, start=0):
    """The images of the files in tests/pickles."""
    pixels = np.arange(start, start + n * 784) % 256
    return pixels.astype(np.uint8).reshape(n, 28, 28), np.arange(n) % 10


TRAIN, VALIDATION, TEST = digit_images(24), digit_images(12, 7), digit_images(12, 3)


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    return path


def assert_same(examples, expected):
    np.testing.assert_array_equal(examples.x, expected[0])
    np.testing.assert_array_equal(examples.y, expected[1])
    assert examples.x.dtype == examples.y.dtype == np.uint8


def sequences(n, steps=12, labels=3, first=0):
    """Sequences whose pixels and labels tell their number; the last feature is full ink."""
    x = [np.full((steps, 4), (first + i) / 255) for i in range(n)]
    for array in x:
        array[:, -1] = 1.0
    return x, [[(first + i + j) % 10 for j in range(labels)] for i in range(n)]


def changed(part, index, value):
    """Sequences with one of x (part 0) or y (part 1) replaced."""
    parts = sequences(24)
    parts[part][index] = value
    return parts
