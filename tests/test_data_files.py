"""support/data_files.py: files as people have them come out right, or in one true sentence."""

import gzip
import io
import lzma
import pickle
import struct
import tracemalloc
import zipfile

import common
from common import DataError

import numpy as np
import pytest
from small_data import PICKLES, TEST, TRAIN, assert_same, sequences, write

from support import data_files, digits, strips

ONE_HOT = np.eye(10, dtype=np.uint8)


def named(value):
    """The name of a case: an archive holds the time, so that it cannot be one."""
    return value if isinstance(value, str) else ""


def npz(save=np.savez, **changes):
    """The content of a .npz file in the layout of keras.datasets.mnist."""
    arrays = dict(zip(data_files.NPZ_NAMES, (*TRAIN, *TEST), strict=True))
    save(file := io.BytesIO(), **arrays | changes)
    return file.getvalue()


def zipped(names, content=b"", packing=zipfile.ZIP_STORED):
    with zipfile.ZipFile(file := io.BytesIO(), "w", packing) as archive:
        for name in names:
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


PLAIN = pickle.dumps((TRAIN, TEST))
X_TRAIN = zipfile.ZipFile(io.BytesIO(npz())).read("x_train.npy")
PROTOCOLS = [pickle.dumps((TRAIN, TEST), protocol) for protocol in range(6)]


def forms(x, y):
    """Shapes and types that mean the same."""
    yield x[..., None], y
    yield x[:, None], y[:, None]
    yield x.reshape(-1, 784), y.astype(np.uint8)
    yield list(x), ONE_HOT[y].astype(bool)
    yield tuple(x), tuple(y.tolist())
    yield np.fromiter(x, object), y.astype(float)
    yield list(x.astype(float)), y[:, None].tolist()
    yield x.astype(np.float32) / 255, ONE_HOT[y].astype(float)
    yield x.astype(np.float64), list(ONE_HOT[y])
    yield x.astype(">i4"), ONE_HOT[y].tolist()
    yield np.asfortranarray(x), [np.int64(label) for label in y]


@pytest.mark.parametrize(
    "content",
    [
        *PROTOCOLS,
        *map(gzip.compress, PROTOCOLS),
        *map(lzma.compress, PROTOCOLS),
        npz(),
        npz(np.savez_compressed),
        npz(x_train=np.asfortranarray(TRAIN[0]), y_test=TEST[1].astype(">i8")),
        *(path.read_bytes() for path in PICKLES.glob("*_images_*")),
        *zip(forms(*TRAIN), forms(*TEST), strict=True),
    ],
    ids=named,
)
def test_a_file_is_read_as_its_content_says_whatever_its_name(content, tmp_path):
    train, test = digits.read_digits(write(tmp_path / "d.pkl.gz", content))
    assert_same(train, TRAIN)
    assert_same(test, TEST)


def with_x(change):
    """A data set whose training images are others."""
    return (change(TRAIN[0]), TRAIN[1]), TEST


def with_y(change):
    """A data set whose test labels are others."""
    return TRAIN, (TEST[0], change(TEST[1]))


ITSELF = np.empty(2, object)
ITSELF[0] = ITSELF[1] = ITSELF
MANY = gzip.compress(pickle.dumps((([np.zeros((1, 1), "u1")] * 30_001, [[1]] * 30_001), TEST)))
SEQUENCES = "training labels of more than one number an image; digit sequences are for seq_labelli"
PYTHON_2 = [path.read_bytes() for path in PICKLES.glob("python2_sequences_*")]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\n\n<!DOCTYPE html><html><body>Sign in</body></html>\n", "is a web page: log in"),
        (gzip.compress(b"<HTML>"), "is a web page: log in"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n\0\0", "is an HDF5 file: read it with h5py"),
        (struct.pack(">4B3i", 0, 0, 8, 3, 60000, 28, 28), "is one of the IDX files of MNIST"),
        (b"\x93NUMPY\x01\0v\0{'descr'", "is a single NumPy array: np.savez writes all four"),
        (b"\x89PNG\r\n\x1a\n", "is a picture: --predict reads pictures"),
        (b"BZh91AY&SY", "is an archive of another kind: unpack it"),
        (b"label,1x1,1x2\n5,0,0\n", "is a text file (CSV?): read it with np.loadtxt"),
        (b'{"x_train": [[0, 1]]}', "is a text file (JSON?)"),
        (b"not a pickle", "is a text file"),
        ({"x_train": TRAIN[0]}, "is not accepted: it holds a dictionary; expected ((x_train, "),
        (b"\x13\x13\x13", "is not accepted: it is neither a pickle nor a .npz file"),
        ({1, 2}, "is not accepted: its instruction b'\\x8f' is not one of plain data"),
        (b"", "is damaged"),
        (PLAIN[:-1000], "is damaged"),
        (PLAIN + b"x", "something follows"),
        # .npz files
        (zipped(["data", "version"]), "it holds data.npy, version.npy; expected x_train, y_train"),
        (npz(x_extra=TEST[0]), "it holds x_train.npy, y_train.npy, x_test.npy, y_test.npy, x_"),
        (npz(y_train=np.array([[1], [2, 3]], object)), "y_train is not an array of numbers"),
        (npz(x_test=np.array(["a"])), "x_test is not an array of numbers"),
        (zipped(data_files.NPZ_NAMES), "x_train is not an array"),
        (zipped(data_files.NPZ_NAMES, b"9", zipfile.ZIP_LZMA), "in a way that NumPy does not use"),
        (zipped(range(30_000)), "the list of its files is too long"),
        (npz()[:-50], "is damaged (BadZipFile"),
        (npz().replace(TRAIN[0].tobytes()[:40], bytes(40), 1), "is damaged (BadZipFile: Bad CRC"),
        (
            zipped(data_files.NPZ_NAMES, X_TRAIN.replace(b"(24, 28, 28)", b"(24, 28, 29)")),
            "is damaged (ValueError: shape (24, 28, 29), type uint8, but 18816 bytes",
        ),
        # other layouts
        (TRAIN, "expected ((x_train, y_train), (x_test, y_test))"),
        ((TRAIN, TEST, 3), "found a tuple of 3 (tuple of 2, tuple of 2, int)"),
        ((*TRAIN, *TEST), "found a tuple of 4 (array, array, array, array)"),
        (MANY, SEQUENCES),
        ((TRAIN[::-1], TEST), SEQUENCES),
        *((content, SEQUENCES) for content in PYTHON_2),
        # labels
        (with_y(lambda y: y[:-1]), "test: 12 images, but 11 labels"),
        (with_y(lambda y: y + 0.5), "test labels: 0.5 at index 0 is not a digit"),
        (with_y(lambda y: np.eye(12, dtype=int)), "test labels: 10 at index 10 is not a digit"),
        (
            with_y(lambda y: [*map(str, y)]),
            "labels: text, such as '0'; make numbers of it, by int",
        ),
        (with_y(lambda y: y[5, ...]), "test labels: expected an array of numbers, found array"),
        # images
        (with_x(lambda x: x[:, :, :0]), "training images: expected the shape (n, T, D)"),
        (with_x(lambda x: x.reshape(24, -1)[:, 1:]), "expected the shape (n, T, D), found (24, 7"),
        (with_x(lambda x: x[:, None, :, :1]), "expected the shape (n, T, D), found (24, 1, 28, 1"),
        (with_x(lambda x: x[:, :20]), "all must be of one size"),
        (with_x(lambda x: [[1, [2, 3]]]), "expected an array of numbers"),
        (with_x(lambda x: ITSELF), "training image 0: expected an array of numbers, found a"),
        (with_x(lambda x: [x[0], x[1, :9]]), "training images: arrays of different"),
        (with_x(lambda x: x.astype(complex)), "an array of type 'c16' is not data"),
        (with_x(lambda x: np.zeros(3, "u1,u1")), "is not data"),
        (with_x(lambda x: x * 2.0), "training images: pixels from 0 to 510"),
        (with_x(lambda x: 255 - 0 * x), "training or test is dark on light, the other light on"),
    ],
    ids=named,
)
def test_any_other_file_is_one_true_sentence(content, sentence, tmp_path):
    path = write(tmp_path / "file.pkl", content)
    with pytest.raises(DataError) as error:
        digits.load_digits(path)
    assert sentence in str(error.value)
    assert str(error.value).startswith(str(path))
    assert str(error.value).isprintable()


def test_an_archive_may_hold_validation(tmp_path):
    path = write(tmp_path / "d.npz", npz(x_val=TEST[0][:6], y_val=TEST[1][:6]))
    train, validation, test = digits.load_digits(path)
    assert_same(validation, [part[:6] for part in TEST])
    assert (len(train.x), len(test.x)) == (24, 12)


@pytest.mark.parametrize("size", [2**31, 2**40])
def test_a_forged_header_of_an_archive_takes_no_memory(size, tmp_path):
    forged = npz(x_test=np.zeros((11, 784), np.uint8)).replace(b"(11, 784)", b"(%d,)" % size)
    path = write(tmp_path / "d.npz", forged)
    tracemalloc.start()
    with pytest.raises(DataError):
        digits.load_digits(path)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


LONG = b"\x80\x04\x8e" + struct.pack("<Q", 2**24) + bytes(2**24) + b"."
ZEROS = npz(np.savez_compressed, x_test=np.zeros((2**12, 2**12), np.uint8))
ONE_TEXT = b"(c_codecs\nencode\nq\x00V" + b"a" * 1000 + b"\nq\x01Vlatin1\nq\x020"
MANY_TIMES = b"h\x00h\x01h\x02\x86R" * 1100
FEW = sequences(24)
ONE_LIST = FEW[0], [[*range(10)] * 100] * 24
ONE_ARRAY = FEW[0], [np.zeros(20_000, ">i8")] * 24


@pytest.mark.parametrize(
    ("limit", "value", "content", "message"),
    [
        ("LARGEST_DATA", 2**20, gzip.compress(LONG), "it holds more than 1 MiB"),
        ("LARGEST_DATA", 2**20, lzma.compress(LONG), "it holds more than 1 MiB"),
        ("LARGEST_DATA", 2**20, ZEROS, "it holds more than 1 MiB"),
        ("LARGEST_DATA", 2**20, ONE_TEXT + MANY_TIMES + b"l.", "it encodes 1000 characters"),
        ("LARGEST_DATA", 2**20, (ONE_LIST, FEW), "labels of sequences: more than a file can hold"),
        ("LARGEST_DATA", 2**20, (ONE_ARRAY, FEW), "labels of sequences: more than a file can hold"),
        ("LONGEST_LINE", 2**20, b"\x80\x02V" + b"a" * 2**20 + b"\n.", "a line of 1,048,576 bytes"),
        ("MOST_IMAGES", 23, (TRAIN, TEST), "training labels: 24; at most 23 are taken"),
        ("MOST_SEQUENCES", 23, (FEW, FEW), "training sequences: 24; at most 23 are taken"),
    ],
    ids=range(9),
)
def test_what_is_too_large_or_unfolds_without_end_is_refused_early(
    limit, value, content, message, tmp_path, monkeypatch
):
    monkeypatch.setattr(common if hasattr(common, limit) else data_files, limit, value)
    with pytest.raises(DataError, match=message):
        strips.load_strips(write(tmp_path / "d.pkl", content), shortest=2, longest=5)


def test_a_file_as_large_as_is_taken_is_read(monkeypatch):
    monkeypatch.setattr(common, "LARGEST_DATA", len(LONG))
    assert common.load_pickle(io.BytesIO(LONG)) == bytes(2**24)
