"""How one's own pictures are brought to the form of MNIST, and read."""

import glob
import pickle
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import common

import keras
import numpy as np
from PIL import Image, ImageFilter, ImageOps

from support import ctc, plots, saved

INK_SHARE = 20 / 28  # MNIST's digits fill a box of 20 x 20 in an image of 28 x 28
# Heights of a line, in heights of a digit. On a strip each digit is centred on its own, so a line
# is higher than its digits; nobody knows by how much.
LINE_HEIGHTS = 1.0, 1.1, 1.2

FEWEST_PICTURES = 15  # of which 12 are to train on
MOST_SEEN = 120  # pictures that --seen shows; it would take minutes to lay out many more


class Reader:
    """A trained network of the lessons, to read one digit or a line of them.

    Attributes:
        columns: how many of a line of digits make one step; None: it reads one digit, row by row.
    """

    columns = None

    def __init__(self, path: Path) -> None:
        """Load the network.

        Raises:
            DataError: the file is not such a network.
        """
        network = saved.load(path)
        names = [layer.name for layer in network.layers]
        if "logits" not in names or len(network.input_shape) != 3:
            raise common.DataError(f"{path} is not a network of these scripts")
        height, self.size = network.input_shape[1:]
        if "steps" in names:
            self.columns = network.get_layer("steps").output.shape[-1] // self.size
            self.network = for_any_length(network)
        elif height == self.size:
            self.network = for_every_row(network)
        else:
            raise common.DataError(
                f"{path} reads images of {height} x {self.size}, but pictures are brought to a "
                f"square"
            )

    def read(self, ink: np.ndarray) -> tuple[np.ndarray, str, float, np.ndarray]:
        """Read ink, see `find_ink`; return the image that the network saw, and its answer.

        A line is read several times, a little smaller and larger too; the surest answer counts.

        The answer: the digit, or the labels of a line; its probability; the probabilities of all
        classes: (steps, classes) of a line; (height, classes) of a digit, after every row, or
        (1, classes), if the network does not say them.
        """
        if not self.columns:
            return self.read_digit(to_digit(ink, self.size))
        strips = (to_strip(ink, self.size, height) for height in LINE_HEIGHTS)
        return max(map(self.read_line, strips), key=lambda answer: answer[2])

    def read_digit(self, image: np.ndarray) -> tuple[np.ndarray, str, float, np.ndarray]:
        """Read an image (height, width) of one digit; return it and the answer, see `read`."""
        logits = self.network.predict_on_batch(image[None])
        probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
        probabilities = probabilities.reshape(-1, probabilities.shape[-1])
        last = probabilities[-1]
        return image, str(last.argmax()), float(last.max()), probabilities

    def read_line(self, strip: np.ndarray) -> tuple[np.ndarray, str, float, np.ndarray]:
        """Read a strip (height, width); return the surest of several answers, see `read`.

        In training all digits begin at a whole step, but not on a strip of one's own. What the
        network reads depends on which columns make a step, so it reads the strip behind 0, 1, ...,
        columns - 1 empty columns.
        """
        room = self.columns - 1
        after = room + -(strip.shape[1] + room) % self.columns
        images = np.stack([np.pad(strip, ((0, 0), (n, after - n))) for n in range(self.columns)])
        logits = self.network.predict_on_batch(images.transpose(0, 2, 1))
        readings = keras.ops.convert_to_numpy(ctc.read_labels(logits))
        confidences = ctc.confidences(readings, logits)
        surest = confidences.argmax()
        labels = ctc.spell(readings[surest]) or "nothing"
        probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits[surest]))
        return images[surest], labels, float(confidences[surest]), probabilities


def for_any_length(network: keras.Model) -> keras.Model:
    """Return a labeller that reads strips of any length; both share their layers."""
    if network.input_shape[1] is None:
        return network
    pixels = keras.Input((None, network.input_shape[2]), dtype=network.inputs[0].dtype)
    return keras.models.clone_model(
        network,
        input_tensors=keras.tree.map_structure(lambda _: pixels, network.input),
        clone_function=lambda layer: layer,
    )


def for_every_row(network: keras.Model) -> keras.Model:
    """Return a classifier that answers after every row, where it can: it reads in one direction.

    Args:
        network: must not be used afterwards, because both share their layers.
    """
    alike = (
        keras.layers.InputLayer,
        keras.layers.Rescaling,
        keras.layers.Normalization,
        keras.layers.RNN,
        keras.layers.Dropout,
        keras.layers.Dense,
    )
    if not all(isinstance(layer, alike) for layer in network.layers):
        return network  # another layer may combine all rows
    for layer in network.layers:
        if isinstance(layer, keras.layers.RNN):
            layer.return_sequences = True
    return keras.models.clone_model(network, clone_function=lambda layer: layer)


def print_predictions(
    pictures: Sequence[Path], *, model: Path | None, runs: Path, seen: Path | None
) -> bool:
    """Print what a trained network reads in each picture, with its probability.

    Args:
        model: file of the network; None: the newest one in `runs`.
        runs: folder of the runs of a script.
        seen: file for a picture of what the network saw.

    Returns:
        Whether all pictures could be read; those that could not are named on stderr.

    Raises:
        SettingError: no picture is named, there is no trained network, or the name `seen` does not
            end in .png.
        DataError: the network cannot be read.
    """
    if not pictures:
        raise common.SettingError("--predict: name at least one picture")
    if seen and seen.suffix.lower() != ".png":
        raise common.SettingError(f"--seen {seen}: the name must end in .png")
    reader = Reader(model or newest_model(runs))
    read = []
    pictures = [path for name in pictures for path in _expanded(name)]
    for picture in pictures:
        try:
            image, answer, probability, _ = reader.read(find_ink(picture))
        except common.DataError as error:
            print(error, file=sys.stderr)
            continue
        print(f"{picture}: {answer} ({probability:.1%})", flush=True)
        read.append((image.T, f"{picture.name}: {answer}\n{probability:.1%}"))
    if seen and read:
        columns, captions = zip(*read[:MOST_SEEN], strict=True)
        padded = keras.utils.pad_sequences(columns, dtype="uint8", padding="post")
        plots.images(padded.transpose(0, 2, 1), captions, seen, columns=3)
        print(f"wrote {seen}, which shows {len(columns)} of {len(read)} pictures")
    return len(read) == len(pictures)


def _expanded(name: Path) -> list[Path]:
    """Return the pictures that a name with * stands for: on Windows, no shell expands it."""
    found = [] if name.exists() or "*" not in str(name) else sorted(glob.glob(str(name)))
    return [Path(path) for path in found] or [name]


def newest_model(folder: Path) -> Path:
    """Find the newest model.keras in the runs of a script; SettingError if there is none."""
    models = [*folder.glob("*/model.keras"), *folder.glob("*/*/model.keras")]
    if not models:
        raise common.SettingError(
            f"there is no trained network in {folder}: train one, or give --model"
        )
    return max(models, key=lambda path: path.stat().st_mtime)


def collect_digits(folder: str | Path, path: str | Path) -> None:
    """Make a data set of pictures of single digits, as `digits.load_mnist` takes it.

    A fifth of the pictures, chosen at random, is for the test; the others are for training.

    Args:
        folder: FOLDER/7/photo.jpg is a picture of a 7.
        path: the pickle to write.

    Raises:
        DataError: a picture cannot be read, or there are too few.
    """
    pictures = sorted(Path(folder).glob("[0-9]/[!.]*"))
    if len(pictures) < FEWEST_PICTURES:
        raise common.DataError(
            f"{folder}: {len(pictures)} pictures in the folders 0 to 9; at least {FEWEST_PICTURES} "
            f"are needed, to train and to test"
        )
    images = np.stack([to_digit(find_ink(picture)) for picture in pictures])
    labels = np.array([int(picture.parent.name) for picture in pictures])
    order = np.random.default_rng(0).permutation(len(pictures))
    test, train = np.split(order, [len(order) // 5])
    content = (images[train], labels[train]), (images[test], labels[test])
    with common.written_beside(Path(path)) as unfinished:
        unfinished.write_bytes(pickle.dumps(content, protocol=4))
    print(f"wrote {path}: {len(train)} pictures to train on, {len(test)} to test on")


def find_ink(path: Path) -> np.ndarray:
    """Find what is written in a picture, dark on light or light on dark, grey or in colour.

    Returns:
        How much ink there is at each pixel, 0 to 1, cut to where there is any, (height, width).

    Raises:
        DataError: the file is no picture, or there is nothing on it.
    """
    try:
        with Image.open(path) as picture:
            picture = _in_8_bits(ImageOps.exif_transpose(picture))
            picture.thumbnail((2000, 2000))  # a larger photo only takes more time
    except Exception as error:  # each of Pillow's many formats raises its own
        reason = getattr(error, "strerror", None) or "not a picture that Pillow can read"
        raise common.DataError(f"{path}: {reason}") from None
    return ink_in(picture, str(path))


def ink_in(picture: Image.Image, name: str) -> np.ndarray:
    """Find what is written in an open picture, in RGBA: see `find_ink`.

    Args:
        name: what the message of a DataError calls the picture.
    """
    for grey in _in_grey(picture):
        ink = _distance_from_paper(grey)
        darkest = np.partition(ink, -10, axis=None)[-10] if ink.size > 10 else 0
        if darkest >= 32:
            break
    else:
        raise common.DataError(f"{name}: an empty page, there is nothing to read")
    ink = (ink / darkest).clip(0, 1)
    ink[ink < 0.2] = 0
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _in_8_bits(picture: Image.Image) -> Image.Image:
    """Bring a picture to red, green, blue and opacity, whatever the range of its pixels."""
    if picture.mode[0] in "IF":  # numbers of 16 bits and more, which Pillow would cut off
        values = np.asarray(picture, float)
        if not np.isfinite(values).all():
            raise ValueError("a pixel is not a finite number")
        contrast = max(np.ptp(values), np.abs(values).max() / 8, 1e-9)  # with less, it is empty
        picture = Image.fromarray(np.uint8(255 * (values - values.min()) / contrast))
    return picture.convert("RGBA")


def _in_grey(picture: Image.Image) -> Iterator[Image.Image]:
    """Yield a picture in grey, in all ways that may show its ink, the likeliest way first."""
    for paper in "white", "black":  # seen where the picture is transparent
        picture_on_paper = Image.alpha_composite(Image.new("RGBA", picture.size, paper), picture)
        yield picture_on_paper.convert("L")
    yield from picture_on_paper.split()[:3]  # for ink as bright as the paper, in another colour


def _distance_from_paper(grey: Image.Image) -> np.ndarray:
    """Return how far the brightness of each pixel is from the paper's, without single specks."""
    plain = np.asarray(grey, float)
    if min(grey.size) <= 60:
        return np.abs(plain - _paper(plain))
    filtered = np.asarray(grey.filter(ImageFilter.MedianFilter(3)), float)
    paper = _paper(filtered)
    plain, filtered = np.abs(plain - paper), np.abs(filtered - paper)
    if 2 * (filtered >= 32).sum() >= (plain >= 32).sum():
        return filtered
    # Most of the ink is gone: its lines are one pixel wide. Keep a pixel that is one of three dark
    # ones in its neighbourhood of 3 x 3, as those of a line are.
    third = ImageFilter.RankFilter(3, 6)
    return np.minimum(plain, np.asarray(Image.fromarray(np.uint8(plain)).filter(third), float))


def _paper(brightness: np.ndarray) -> np.ndarray:
    """Return the brightness of the paper at each pixel, (height, width).

    It is a plane that fits the edge of the picture, because light falls unevenly.
    """
    height, width = brightness.shape
    y, x = np.mgrid[:height, :width]
    plane = np.stack([np.ones_like(x), x / width, y / height], axis=-1)
    edge = np.ones((height, width), bool)
    edge[1:-1, 1:-1] = False
    # Only the middle half of the brightnesses counts, so writing that touches the edge does not.
    low, high = np.quantile(brightness[edge], (0.25, 0.75))
    edge &= (brightness >= low) & (brightness <= high)
    coefficients, *_ = np.linalg.lstsq(plane[edge], brightness[edge], rcond=None)
    return plane @ coefficients


def _scaled(ink: np.ndarray, scale: float) -> np.ndarray:
    """Return ink at another size, as uint8, with 255 for the darkest pixel."""
    size = [max(1, round(length * scale)) for length in reversed(ink.shape)]  # width, height
    pixels = np.asarray(Image.fromarray(ink.astype(np.float32)).resize(size, Image.Resampling.BOX))
    return np.rint(255 * pixels / pixels.max()).astype(np.uint8)


def to_digit(ink: np.ndarray, size: int = 28) -> np.ndarray:
    """Bring the ink of one digit to the form of MNIST.

    Returns:
        An image (size, size) of uint8, ink 255. If the size is 28, the digit fills a box of 20 x
        20; its centre of mass is in the middle.

    Source: Y. LeCun, C. Cortes and C. Burges, The MNIST database of handwritten digits.
    """
    digit = _scaled(ink, round(size * INK_SHARE) / max(ink.shape))
    return np.pad(digit, [_margins(digit.sum(axis=axis), size) for axis in (1, 0)])


def to_strip(ink: np.ndarray, size: int, height: float) -> np.ndarray:
    """Bring the ink of a line of digits to the form of a strip, uint8, (size, any width).

    Args:
        height: of the line, counted in heights of a digit.
    """
    line = _scaled(ink, round(size * INK_SHARE * height) / ink.shape[0])
    margin = round(size * (1 - INK_SHARE) / 2)
    return np.pad(line, [_margins(line.sum(axis=1), size), (margin, margin)])


def _margins(mass: np.ndarray, size: int) -> tuple[int, int]:
    """What to add before and after a mass (length,) to bring its centre to the middle of `size`."""
    centre = np.average(np.arange(len(mass)), weights=mass)
    before = int(np.clip(round(size / 2 - centre), 0, size - len(mass)))
    return before, size - len(mass) - before
