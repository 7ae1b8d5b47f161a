"""Digit images: load, check, split, shuffle, distort."""

import functools
import gzip
import math
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import common

import keras
import numpy as np

DIGITS = 10  # classes that a label may name; for other data, change it here
MOST_IMAGES = 1_000_000
BLOCK = 1000  # images that are distorted together, at most

# Makes the examples of an epoch from its random generator.
Compose = Callable[[np.random.Generator], common.Examples]


def load_digits(
    path: Path, *, train_size: int | None = None, test_size: int | None = None
) -> tuple[common.Examples, common.Examples, common.Examples]:
    """Load training, validation and test digits.

    Args:
        path: of a pickle, see `load_mnist`; its last twelfth of training digits is for validation.
        train_size, test_size: how many to return, the first ones; None: all.

    Raises:
        DataError: see `load_mnist`.
        SettingError: more examples are asked for than there are.
    """
    train, test = load_mnist(path)
    train, validation = split_validation(train, path)
    train = take_first(train, train_size, "--train-size", "training images")
    test = take_first(test, test_size, "--test-size", "test images")
    return train, validation, test


def load_mnist(path: Path = common.DATA_FILE) -> tuple[common.Examples, common.Examples]:
    """Load a pickle of digit images, `((x_train, y_train), (x_test, y_test))`.

    The three-way layout of older tutorials is taken too: its validation part, which comes after
    training, is joined to it. Images may be flat (n, 784) and floats from 0 to 1. If the
    project's own file is missing, MNIST is fetched by Keras and written there.

    Returns:
        Training and test examples: images (n, T, D) of uint8, labels (n,) of uint8.

    Raises:
        DataError: the file cannot be read, or does not hold digit images.
    """
    fetch_if_missing(path)
    parts = common.load_parts(path)
    return join_digits(path, parts)


def fetch_if_missing(path: Path) -> None:
    """Fetch MNIST by Keras where the project's own file is missing; DataError if that fails."""
    if path != common.DATA_FILE or path.exists():
        return
    print(f"{path} is missing; fetching MNIST")
    try:
        content = pickle.dumps(keras.datasets.mnist.load_data(), protocol=4)
        path.parent.mkdir(exist_ok=True)
        with common.written_beside(path) as unfinished:
            unfinished.write_bytes(gzip.compress(content, compresslevel=6, mtime=0))
    except Exception as error:  # of the network, the server or the disk
        raise common.DataError(
            f"MNIST could not be fetched ({common.one_line(error)}): put mnist.pkl.gz into "
            f"{path.parent}, as its README says"
        ) from None


def join_digits(
    path: Path, parts: list[tuple[str, object, object]]
) -> tuple[common.Examples, common.Examples]:
    """Make training and test digits of the parts of a data set, see `load_mnist`.

    Args:
        path: of the data set, for messages.
        parts: as `common.load_parts` gives them.

    Raises:
        DataError: they are not images and labels, or not all of one size.
    """
    *train_parts, test = [_digit_images(*part) for part in parts]
    for part in train_parts:
        if part.x.shape[1:] != test.x.shape[1:]:
            raise common.DataError(
                f"{path}: training images of {part.x.shape[1:]}, test images of "
                f"{test.x.shape[1:]}; all must be of one size"
            )
    if len(train_parts) == 1:
        return train_parts[0], test
    return common.Examples(*map(np.concatenate, zip(*train_parts, strict=True))), test


def _digit_images(where: str, x: object, y: object) -> common.Examples:
    """Check one pair of images and labels and bring it to uint8, (n, T, D) and (n,)."""
    images = common.to_array(f"{where} images", x)
    labels = common.to_array(f"{where} labels", y)
    if images.ndim == 2 and images.size and math.isqrt(images.shape[1]) ** 2 == images.shape[1]:
        images = images.reshape(len(images), math.isqrt(images.shape[1]), -1)
    if images.ndim != 3 or 0 in images.shape:
        raise common.DataError(
            f"{where} images: expected the shape (n, T, D), found {images.shape}"
        )
    if labels.shape != images.shape[:1]:
        raise common.DataError(f"{where}: {len(images)} images, but labels of shape {labels.shape}")
    if len(images) > MOST_IMAGES:
        raise common.DataError(
            f"{where}: {len(images):,} images; at most {MOST_IMAGES:,} are taken"
        )
    check_digits(f"{where} labels", labels)
    return common.Examples(to_pixels(f"{where} image", images), labels.astype(np.uint8))


def check_digits(where: str, labels: np.ndarray) -> None:
    """Raise DataError if a label is not one of the digits."""
    wrong = ~((labels >= 0) & (labels < DIGITS) & (labels % 1 == 0))
    if wrong.any():
        index = int(wrong.argmax())
        raise common.DataError(
            f"{where}: {labels[index]} at index {index} is not a digit from 0 to {DIGITS - 1}"
        )


def to_pixels(where: str, values: np.ndarray, ends: np.ndarray | None = None) -> np.ndarray:
    """Bring pixel values to uint8: those from 0 to 255 as they are, those from 0 to 1 scaled up.

    Args:
        values: (n, ...), one image after the other.
        ends: where each image ends along the first axis; None: each takes one place.

    Raises:
        DataError: a value is neither.
    """
    lowest, highest = values.min(initial=0), values.max(initial=0)
    if not (lowest >= 0 and highest <= 255):  # also where there is no number
        wrong = ~((values >= 0) & (values <= 255))
        place = int(wrong.any(axis=tuple(range(1, values.ndim))).argmax())
        index = place if ends is None else np.searchsorted(ends, place, side="right")
        low, high = values[place].min(), values[place].max()
        if not np.isfinite([low, high]).all():
            raise common.DataError(f"{where} {index}: a pixel is not a finite number")
        raise common.DataError(
            f"{where} {index}: pixels from {low} to {high}; expected 0 to 255, or 0 to 1"
        )
    if values.dtype.kind != "f":
        pixels = values.astype(np.uint8, copy=False)
        return pixels * np.uint8(255) if highest == 1 else pixels  # black and white, or grey
    # Copies of a block are small, even where all is one image; in the order of the memory, all of
    # the values need no copy.
    blocks = np.array_split(values.ravel(order="K"), values.nbytes // 2**24 + 1)
    scale = 1
    if highest <= 1:
        # Some tutorials divided by 256, others by 255: only the first gives whole multiples.
        by_256 = all(np.array_equal(block * 256, np.rint(block * 256)) for block in blocks)
        scale = 256 if by_256 else 255
    pixels = np.empty_like(values, np.uint8)
    pixel_blocks = np.array_split(pixels.ravel(order="K"), len(blocks))
    for block, pixel_block in zip(blocks, pixel_blocks, strict=True):
        pixel_block[...] = np.rint(block * scale).clip(0, 255)
    return pixels


def split_validation(train: common.Examples, path: Path) -> tuple[common.Examples, common.Examples]:
    """Split off the last twelfth for validation: 5,000 of MNIST's 60,000 training images.

    Raises:
        DataError: there are fewer than twelve.
    """
    size = len(train.x) // 12
    if size == 0:
        raise common.DataError(f"{path}: {len(train.x)} training examples; at least 12 are needed")
    return common.Examples(*(part[:-size] for part in train)), common.Examples(
        *(part[-size:] for part in train)
    )


def take_first(
    examples: common.Examples, size: int | None, option: str, name: str
) -> common.Examples:
    """Return the first `size` examples, all for None; SettingError if there are fewer."""
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
        distortion: see `distorted`.
    """

    def compose(random: np.random.Generator) -> common.Examples:
        return shuffled(common.Examples(distorted(train.x, random, **distortion), train.y), random)

    return compose


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
        distortion: largest angle in radians, and largest share by which an image is slanted, and
            stretched along each axis: what is drawn at a place comes from up to so much further
            out, or further in.
        shift: longest way that an image moves along each axis, in pixels.
        elastic: standard deviation of the ways, in pixels along each axis, that 4 x 4 points of
            an image move, each on its own; what lies between them follows smoothly.

    Returns:
        New images, uint8, (n, height, width); what comes in from outside is 0.

    Source: P. Simard, D. Steinkraus and J. Platt, Best Practices for Convolutional Neural Networks
        (2003), which smooths a random field of all pixels for its elastic distortions.
    """
    if distortion == shift == elastic == 0:
        return images
    n, height, width = images.shape
    parts = [images, _random_maps(n, height, width, random, distortion, shift)]
    if elastic:
        parts.append(random.normal(0, elastic, (n, 4, 4, 2)).astype(np.float32))
    # Blocks that fit into the processor's cache, several at a time once the first is compiled.
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
    # Always as many images, because each new shape is compiled anew.
    filled = [np.resize(part, (BLOCK, *part.shape[1:])) for part in (images, maps)]
    return np.rint(mover.predict_on_batch(filled)[: len(images)]).astype(np.uint8)


@functools.cache
def _mover(height: int, width: int) -> keras.Model:
    """Build a model that takes images through maps: Keras compiles a model, not an operation."""
    images, maps = keras.Input((height, width), dtype="uint8"), keras.Input((6,))
    pixels = keras.ops.cast(images, "float32")
    transforms = keras.ops.pad(maps, ((0, 0), (0, 2)))  # no perspective
    moved = keras.ops.image.affine_transform(
        pixels[..., None], transforms, data_format="channels_last"
    )
    return keras.Model([images, maps], moved[..., 0])


def _bent(images: np.ndarray, maps: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Take each image through its map, and bend it by the moves of a grid, see `_origins`."""
    height, width = images.shape[1:]
    # One tall image, all images below each other, each with a margin of 0: interpolation along two
    # axes takes half the time of that along three.
    pile = np.pad(images.astype(np.float32), ((0, 0), (1, 1), (1, 1))).reshape(-1, width + 2)
    new = keras.ops.image.map_coordinates(pile, _origins(maps, moves, height, width), order=1)
    return np.rint(keras.ops.convert_to_numpy(new)).astype(np.uint8)


def _origins(maps: np.ndarray, moves: np.ndarray, height: int, width: int) -> np.ndarray:
    """Find where each pixel comes from, as (y, x) in a pile of all images with their margins.

    Args:
        maps: (n, 6), see `_random_maps`.
        moves: ways (x, y) that the points of a grid move, (n, rows, columns, 2).

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
