"""Data files: which kind a file is, as its content says, and the layout of the arrays in it."""

import contextlib
import functools
import gzip
import io
import lzma
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import common
from common import DataError, PickledArray, RefusedContent

import numpy as np

MOST_SEQUENCES = 30_000  # in a part of a file
MOST_IMAGES = 1_000_000
PIECE = 2**20  # bytes to read at once, and the longest list of files in an archive
NPZ_NAMES = "x_train", "y_train", "x_test", "y_test"
NPZ_NAMES_WITH_VALIDATION = "x_train", "y_train", "x_val", "y_val", "x_test", "y_test"
NPY_HEADER = re.compile(
    r"\{'descr': '([<>|=]?[biuf][1248])', 'fortran_order': (True|False), "
    r"'shape': \(([\d, ]{0,60})\), \}\s*"
)

# How other files begin, what they are, and what to do. Blanks before a web page do not count.
OTHER_FILES = {
    rb"\s*<(!doctype|html|\?xml)": (
        "a web page",
        "log in where it comes from, or take the link of the file itself",
    ),
    rb"version https://git-lfs": (
        "a pointer of Git LFS, not the file itself",
        "fetch it with git lfs pull",
    ),
    rb"\x89HDF\r\n": ("an HDF5 file", "read it with h5py and write the arrays as a pickle"),
    rb"\x93NUMPY": ("a single NumPy array", "np.savez writes all four into one file"),
    rb"\0\0[\x08-\x0e][\x01-\x04]\0": (
        "one of the IDX files of MNIST, which hold images or labels alone",
        "data/README.md shows how to make one file of all four",
    ),
    rb"MATLAB": ("a MATLAB file", "read it with scipy.io.loadmat and write the arrays as a pickle"),
    rb"\x89PNG|\xff\xd8\xff|GIF8|BM": ("a picture", "--predict reads pictures"),
    rb"BZh|7z\xbc\xaf|Rar!": ("an archive of another kind", "unpack it"),
    rb"%PDF": ("a PDF document", "write its data as a pickle"),
}
# A pickle can begin like these too, so they are tried only if no pickle could be loaded.
TEXTS = {
    rb"\s*[{\[]": ("a text file (JSON?)", "write its data as a pickle"),
    rb"[^\n]*[,;\t]": (
        "a text file (CSV?)",
        "read it with np.loadtxt, write arrays as a pickle",
    ),
    rb"": ("a text file", "write its data as a pickle"),
}


class Part(NamedTuple):
    """Inputs and targets of one part of a data set, such as training."""

    where: str  # what a message calls the part
    x: object  # as the file holds them
    y: object
    labels: np.ndarray | None  # of single images (n,); None for sequences


def load_parts(path: Path) -> list[Part]:
    """Load the parts of a data set: training, test and, if there is one, validation between them.

    A file is a pickle of `((x_train, y_train), (x_test, y_test))`, packed by gzip or xz or not, or
    a .npz file with arrays of these names, such as the file of keras.datasets.mnist.

    Raises:
        DataError: the file cannot be read, is of another kind, or has another layout.
    """
    try:
        with path.open("rb") as packed:
            unpack = {b"\x1f\x8b": gzip.open, b"\xfd7": lzma.open}.get(packed.peek(2)[:2])
            file = unpack(packed) if unpack else packed
            start = file.peek(512)[:512]
            _refuse(start, OTHER_FILES)
            content = load_npz(path) if start.startswith(b"PK\3\4") else _load_pickle(file, start)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check --data") from None
    except (IsADirectoryError, PermissionError) as error:
        raise DataError(f"{path} can't be read: {error.strerror}") from None
    except RefusedContent as error:
        raise DataError(f"{path} is not accepted: {common.one_line(error)}") from None
    except Exception as error:  # a damaged byte can lead to any error
        reason = common.one_line(error) or "it ends too early"
        raise DataError(f"{path} is damaged ({type(error).__name__}: {reason})") from None
    match content:
        case [[_, _], [_, _]]:
            names = "training", "test"
        case [[_, _], [_, _], [_, _]]:
            names = "training", "validation", "test"
        case _:
            raise DataError(
                f"{path}: expected {common.LAYOUT}, or a third pair for validation between the "
                f"two; found {_describe(content)}"
            )
    return [
        Part(f"{path}: {name}", x, y, single_labels(f"{path}: {name} labels", y))
        for name, (x, y) in zip(names, content, strict=True)
    ]


def _refuse(start: bytes, kinds: dict[bytes, tuple[str, str]]) -> None:
    for pattern, (kind, advice) in kinds.items():
        if re.match(pattern, start, re.IGNORECASE):
            raise RefusedContent(f"it is {kind}: {advice}")


def _load_pickle(file: BinaryIO, start: bytes) -> object:
    try:
        return common.load_pickle(file)
    except Exception:
        if re.fullmatch(rb"[\t\n\r -~\x80-\xff]+", start):  # no control characters
            _refuse(start, TEXTS)
        raise


class _SmallReads(io.FileIO):
    """A file that is read in small pieces only: no archive may hold a long list of files."""

    def read(self, size: int = -1) -> bytes:
        if size > PIECE:
            raise RefusedContent("the list of its files is too long")
        return super().read(PIECE if size < 0 else size)


def load_npz(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read the pairs (x, y) of a .npz file: training, perhaps validation, and test.

    Nothing in the file is unpickled.

    Raises:
        RefusedContent: the file holds something else.
        Exception: of any kind; it is damaged.
    """
    with _SmallReads(path) as file, zipfile.ZipFile(file) as archive:
        found = archive.namelist()
        names = NPZ_NAMES if len(found) <= len(NPZ_NAMES) else NPZ_NAMES_WITH_VALIDATION
        if {f"{name}.npy" for name in names} != set(found):
            raise RefusedContent(
                f"it holds {', '.join(found[:8]):.80}; expected {', '.join(NPZ_NAMES)} as .npy, "
                f"and perhaps x_val, y_val"
            )
        if sum(info.file_size for info in archive.infolist()) > common.LARGEST_DATA:
            raise RefusedContent(f"it holds more than {common.LARGEST_DATA >> 20} MiB")
        arrays = [_npz_array(archive, name) for name in names]
    return list(zip(arrays[::2], arrays[1::2], strict=True))


def _npz_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Read an array of an archive; NumPy's own reader would hand its header to Python's parser."""
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise RefusedContent("it is packed in a way that NumPy does not use")
    with archive.open(info) as member:
        file = io.BufferedReader(common.LimitedFile(member))
        magic, length = file.read(8), int.from_bytes(file.read(2), "little")
        header = NPY_HEADER.fullmatch(file.read(length).decode("latin1"))
        if magic != b"\x93NUMPY\x01\0" or not header:
            raise RefusedContent(f"{name} is not an array of numbers; sequences belong in a pickle")
        content = file.read(info.file_size)  # at its end the checksum is checked
    kind, by_column, shape = header.groups()
    sizes = tuple(map(int, re.findall(r"\d+", shape)))
    return common.array_of(content, sizes, np.dtype(kind), by_column=by_column == "True")


def to_array(where: str, value: object, *, levels: int = 2) -> np.ndarray:
    """Make an array from a stand-in, a list of numbers, or a list of either, all of one shape.

    Args:
        levels: how deep lists may be nested; a file can hold deeper ones, even a list in itself.

    Raises:
        DataError: no array can be made.
    """
    content = _content(where, value)
    if isinstance(content, np.ndarray):
        return content
    kinds = {type(item) for item in content}
    if kinds <= {int, float}:
        with contextlib.suppress(OverflowError):
            return np.asarray(content, np.float64 if float in kinds else np.int64)
    if kinds <= {PickledArray, np.ndarray, list, tuple} and levels > 1:
        make = functools.partial(to_array, levels=levels - 1)
        arrays = to_arrays(where.removesuffix("s"), content, make)
        if len({(array.shape, array.dtype) for array in arrays}) > 1:
            raise DataError(f"{where}: arrays of different shapes or types")
        return np.stack(arrays)
    raise DataError(f"{where}: expected an array of numbers, found {_describe(content)}")


def _content(where: str, value: object) -> np.ndarray | list | tuple:
    """Return what an array, a stand-in, a list or a tuple holds; DataError for anything else."""
    content = value.array if isinstance(value, PickledArray) else value
    first = content[0] if isinstance(content, list | tuple) and content else content
    if isinstance(first, str):
        raise DataError(f"{where}: text, such as {first[:20]!r}; make numbers of it, by int")
    if not isinstance(content, list | tuple | np.ndarray) or getattr(content, "shape", 1) == ():
        raise DataError(f"{where}: expected an array of numbers, found {_describe(content)}")
    return content


def single_labels(where: str, value: object) -> np.ndarray | None:
    """Make labels (n,) of single images; None if each target is the labels of a sequence.

    Raises:
        DataError: they are neither.
    """
    items = _content(where, value)
    if not (len(items) and isinstance(items[0], list | tuple | PickledArray | np.ndarray)):
        return to_labels(where, items)
    with contextlib.suppress(DataError):  # of different lengths, or refused where they are read
        labels = to_labels(where, items)
        return labels if labels.ndim == 1 else None
    return None


def to_labels(where: str, value: object) -> np.ndarray:
    """Make labels (n,) from labels (n,), a column (n, 1) or one-hot rows (n, classes).

    Other shapes stay as they are.

    Raises:
        DataError: they are no array of numbers, or too many.
    """
    labels = to_array(where, value)
    if len(labels) > MOST_IMAGES:
        raise DataError(f"{where}: {len(labels):,}; at most {MOST_IMAGES:,} are taken")
    labels = labels[:, 0] if labels.shape[1:] == (1,) else labels
    is_one_hot = (
        labels.ndim == 2
        and labels.shape[1] > 1
        and labels.min(initial=0) >= 0
        and (labels.max(axis=1) == 1).all()
        and (labels.sum(axis=1) == 1).all()
    )
    return labels.argmax(axis=1) if is_one_hot else labels


def to_arrays(
    where: str, value: object, make: Callable[[str, object], np.ndarray] = to_array
) -> list[np.ndarray]:
    """Make an array of each item of a list or an array; DataError if that is not possible."""
    items = _content(where, value)
    if len(items) > MOST_SEQUENCES:
        raise DataError(
            f"{where}s: {len(items):,}; at most {MOST_SEQUENCES:,} are taken: leave the others "
            f"out, or make one array of them"
        )
    bytes_left = common.LARGEST_DATA  # a file can name one array, or one list, many times
    arrays = []
    for index, item in enumerate(items):
        arrays.append(make(f"{where} {index}", item))
        # A list of numbers takes as much time as an array of many more.
        bytes_left -= arrays[-1].nbytes + (400 * len(item) if isinstance(item, list | tuple) else 0)
        if bytes_left < 0:
            raise DataError(f"{where}s: more than a file can hold, one of them many times")
    return arrays


def _describe(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)} ({', '.join(map(_kind, value[:4]))})"
    return _kind(value)


def _kind(value: object) -> str:
    name = "array" if isinstance(value, PickledArray | np.ndarray) else type(value).__name__
    return f"{name} of {len(value)}" if isinstance(value, list | tuple) else name
