"""Digit images: load, check, split, shuffle, distort."""

import functools
import hashlib
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import common

import keras
import numpy as np

from support import data_files, pixels

DIGITS = 10  # classes that a label may name; for other data, change it here
SMALLEST_SIDE = 8  # pixels: a distortion would move the ink out of smaller images
# SHA-256 of MNIST's labels, training and test
MNIST_LABELS = "671ff9d70b4811116d55c3dd479efa7a981e2e62753ef7a6d5c15fea81e63d27"
BLOCK = 1000  # images that are distorted together, at most

# Makes the examples of an epoch from its random generator.
Compose = Callable[[np.random.Generator], common.Examples]


def load_digits(
    path: Path, *, train_size: int | None = None, test_size: int | None = None
) -> tuple[common.Examples, common.Examples, common.Examples]:
    """Load training, validation and test digits: see `read_digits` and `split`.

    Args:
        path: file of the data set; see data/README.md for what it may be.
        train_size, test_size: how many to return, the first ones; None: all.

    Raises:
        DataError: see `read_digits` and `split`.
        SettingError: more examples are asked for than there are.
    """
    train, validation, test = split(path, read_digits(path))
    train = take_first(train, train_size, "--train-size", "training images")
    test = take_first(test, test_size, "--test-size", "test images")
    say_what_is_missing(train.y, test.y)
    return train, validation, test


def load_mnist(path: Path = common.DATA_FILE) -> tuple[common.Examples, common.Examples]:
    """Load training digits, those for validation among them, and test digits, in file order."""
    *train, test = read_digits(path)
    return common.Examples(*map(np.concatenate, zip(*train, strict=True))), test


def read_digits(path: Path) -> list[common.Examples]:
    """Read the parts of a data set of digits: training, perhaps validation, and test.

    Returns:
        Images (n, T, D) of uint8, light on dark, and labels (n,) of uint8.

    Raises:
        DataError: the file cannot be read, or does not hold digit images.
    """
    return digits_of(path, data_files.load_parts(path))


def digits_of(path: Path, parts: list[data_files.Part]) -> list[common.Examples]:
    """Make digits of the parts of a data set, as `read_digits` returns them.

    Raises:
        DataError: they are not images and labels, or not all of one size or scale.
    """
    images = {f"{part.where} image": _images(part) for part in parts}
    sizes = {part.shape[1:] for part in images.values()}
    if len(sizes) > 1:
        raise common.DataError(f"{path}: images of {sorted(sizes)}; all must be of one size")
    images = pixels.light_on_dark(path, pixels.to_uint8(images))
    return [
        common.Examples(x, part.labels.astype(np.uint8))
        for x, part in zip(images, parts, strict=True)
    ]


def _images(part: data_files.Part) -> np.ndarray:
    """Make images (n, T, D) of a part, with pixels of any kind; check that each has a digit."""
    if part.labels is None:
        raise common.DataError(
            f"{part.where} labels of more than one number an image; digit sequences are for "
            f"seq_labelling.py and variable_length_seq.py"
        )
    images = data_files.to_array(f"{part.where} images", part.x)
    if images.ndim == 2 and images.size and math.isqrt(images.shape[1]) ** 2 == images.shape[1]:
        images = images.reshape(len(images), math.isqrt(images.shape[1]), -1)
    if images.ndim == 4 and images.shape[1:].count(1) == 1 and 1 in images.shape[1::2]:
        images = images[..., 0] if images.shape[3] == 1 else images[:, 0]  # one channel
    if images.ndim != 3 or 0 in images.shape:
        raise common.DataError(
            f"{part.where} images: expected the shape (n, T, D), found {images.shape}"
        )
    if len(images) != len(part.labels):
        raise common.DataError(f"{part.where}: {len(images)} images, but {len(part.labels)} labels")
    check_digits(f"{part.where} labels", part.labels)
    return images


def check_digits(where: str, labels: np.ndarray) -> None:
    """Raise DataError if a label is not one of the digits."""
    wrong = ~np.isin(labels, np.arange(DIGITS))
    if wrong.any():
        index = int(wrong.argmax())
        raise common.DataError(
            f"{where}: {labels[index]} at index {index} is not a digit from 0 to {DIGITS - 1}"
        )


def split(
    path: Path, parts: list[common.Examples]
) -> tuple[common.Examples, common.Examples, common.Examples]:
    """Split a data set into training, validation and test, the first and last in a random order.

    The order never changes; MNIST, recognized by its labels, keeps its own random order. If there
    is a third part in the middle, it is for validation; otherwise the last twelfth of training is:
    5,000 of MNIST's 60,000 training images.

    Raises:
        DataError: there are two parts, and fewer than twelve examples to train on.
    """
    train, *validation, test = parts
    if hashlib.sha256(bytes(train.y) + bytes(test.y)).hexdigest() != MNIST_LABELS:
        train, test = (shuffled(part, np.random.default_rng(0)) for part in (train, test))
    if validation:
        return train, *validation, test
    size = len(train.x) // 12
    if size == 0:
        raise common.DataError(f"{path}: {len(train.x)} training examples; at least 12 are needed")
    validation = common.Examples(*(part[-size:] for part in train))
    return common.Examples(*(part[:-size] for part in train)), validation, test


def say_what_is_missing(train: np.ndarray, test: np.ndarray) -> None:
    """Print which digits are among the test labels but not among the training labels."""
    missing = np.setdiff1d(test, train)
    if len(missing):
        print(f"no training example of {', '.join(map(str, missing))}, which the test has")


def take_first(
    examples: common.Examples, size: int | None, option: str, name: str
) -> common.Examples:
    """Return the first `size` examples, or all if it is None; SettingError if there are fewer."""
    check_size(size, len(examples.x), option, name)
    return common.Examples(*(part[:size] for part in examples))


def check_size(size: int | None, available: int, option: str, name: str) -> None:
    """Raise SettingError where more examples are asked for than there are."""
    if size is not None and size > available:
        raise common.SettingError(f"{option} {size:,}: there are {available:,} {name}")


def shuffled(examples: common.Examples, random: np.random.Generator) -> common.Examples:
    """Return the examples in a random order."""
    order = random.permutation(len(examples.x))
    return common.Examples(*(part[order] for part in examples))


def shuffled_anew(train: common.Examples) -> Compose:
    """Return a function that makes the examples of an epoch: all of them, in a new order."""
    return functools.partial(shuffled, train)


def distorted_anew(train: common.Examples, **distortion: float) -> Compose:
    """Return a function that makes the images of an epoch, distorted anew, in a new order.

    Args:
        distortion: the arguments of `distorted`.
    """
    distortion = distortion_of(train.x, **distortion)

    def compose(random: np.random.Generator) -> common.Examples:
        return shuffled(common.Examples(distorted(train.x, random, **distortion), train.y), random)

    return compose


def distortion_of(images: np.ndarray, **distortion: float) -> dict[str, float]:
    """Return a distortion as it is, but for very small images none, and print a line about that."""
    if min(images.shape[1:]) >= SMALLEST_SIDE or not any(distortion.values()):
        return distortion
    print(f"images with a side below {SMALLEST_SIDE} pixels are not distorted")
    return {}


def distorted(
    images: np.ndarray,
    random: np.random.Generator,
    *,
    distortion: float = 0.0,
    shift: float = 0.0,
    elastic: float = 0.0,
) -> np.ndarray:
    """Turn, stretch, slant, move and bend each image at random, with bilinear interpolation.

    Args:
        images: uint8, (n, height, width).
        distortion: largest angle of a turn, in radians, and largest share by which an image is
            slanted, and stretched along each axis: what is drawn at a place comes from a place
            that is up to this share further out, or further in.
        shift: largest distance by which an image moves along each axis, in pixels.
        elastic: standard deviation of the distances, in pixels along each axis, by which 4 x 4
            points of an image move, each on its own; what lies between them follows smoothly.

    Returns:
        New images, uint8, (n, height, width), or `images` themselves if nothing is to be done;
        what comes in from outside is 0.

    Source: P. Simard, D. Steinkraus and J. Platt, Best Practices for Convolutional Neural Networks
        (2003), which smooths a random field of all pixels for its elastic distortions.
    """
    if distortion == shift == elastic == 0:
        return images
    n, height, width = images.shape
    parts = [images, _random_maps(n, height, width, random, distortion, shift)]
    if elastic:
        parts.append(random.normal(0, elastic, (n, 4, 4, 2)).astype(np.float32))
    # Blocks fit into the processor's cache; several run at a time once the first is compiled.
    change = _bent if elastic else _moved
    first, *others = zip(*(np.array_split(part, n // BLOCK + 1) for part in parts), strict=True)
    with ThreadPoolExecutor() as threads:
        return np.concatenate([change(*first), *threads.map(lambda block: change(*block), others)])


def _random_maps(
    n: int, height: int, width: int, random: np.random.Generator, distortion: float, shift: float
) -> np.ndarray:
    """Draw affine maps (n, 6) of float32: for each pixel of a new image, where it comes from.

    The pixel (x, y) comes from (a x + b y + c, d x + e y + f) of the old image.
    """
    angle, slant, stretch_x, stretch_y = random.uniform(-distortion, distortion, (4, n))
    a = (1 + stretch_x) * np.cos(angle)
    b = -np.sin(angle) + slant
    d = np.sin(angle)
    e = (1 + stretch_y) * np.cos(angle)
    # The centre of the image stays, but for the shift.
    x, y = (width - 1) / 2, (height - 1) / 2
    move_x, move_y = random.uniform(-shift, shift, (2, n))
    c, f = x - a * x - b * y + move_x, y - d * x - e * y + move_y
    return np.stack([a, b, c, d, e, f], axis=1).astype(np.float32)


def _moved(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Take each image (n, height, width) through its map (n, 6)."""
    mover = _mover(*images.shape[1:])
    # Always the same number of images, because each new shape would be compiled anew.
    filled = [np.resize(part, (BLOCK, *part.shape[1:])) for part in (images, maps)]
    return np.rint(mover.predict_on_batch(filled)[: len(images)]).astype(np.uint8)


@functools.cache
def _mover(height: int, width: int) -> keras.Model:
    """Build a model that takes images through maps: Keras compiles a model, not an operation."""
    images, maps = keras.Input((height, width), dtype="uint8"), keras.Input((6,))
    ink = keras.ops.cast(images, "float32")
    transforms = keras.ops.pad(maps, ((0, 0), (0, 2)))  # no perspective
    moved = keras.ops.image.affine_transform(
        ink[..., None], transforms, data_format="channels_last"
    )
    return keras.Model([images, maps], moved[..., 0])


def _bent(images: np.ndarray, maps: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Take each image through its map, and bend it by the moves of a grid, see `_origins`."""
    height, width = images.shape[1:]
    # One tall image, all images below one another, each with a margin of 0: interpolation along two
    # axes takes half the time of that along three.
    pile = np.pad(images.astype(np.float32), ((0, 0), (1, 1), (1, 1))).reshape(-1, width + 2)
    new = keras.ops.image.map_coordinates(pile, _origins(maps, moves, height, width), order=1)
    return np.rint(keras.ops.convert_to_numpy(new)).astype(np.uint8)


def _origins(maps: np.ndarray, moves: np.ndarray, height: int, width: int) -> np.ndarray:
    """Find where each pixel comes from, as (y, x) in a pile of all images with their margins.

    Args:
        maps: (n, 6), see `_random_maps`.
        moves: how far (x, y) the points of a grid move, (n, rows, columns, 2), in pixels.

    Returns:
        (2, n, height, width), in pixels.
    """
    field = keras.ops.image.resize(
        moves, (height, width), interpolation="bicubic", data_format="channels_last"
    )
    move_x, move_y = np.moveaxis(keras.ops.convert_to_numpy(field), -1, 0)
    a, b, c, d, e, f = maps.T[..., None, None]
    y, x = np.indices((height, width), np.float32)
    from_x = np.clip(a * x + b * y + c + move_x, -1, width)
    from_y = np.clip(d * x + e * y + f + move_y, -1, height)
    first_rows = (height + 2) * np.arange(len(maps), dtype=np.float32)[:, None, None] + 1
    return np.stack([from_y + first_rows, from_x + 1])
