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
from small_data import TEST, TRAIN, assert_same, object_array, sequences, write

from support import data_files, digits, strips

ONE_HOT = np.eye(10, dtype=np.uint8)


def named(value):
    """The name of a case: an archive holds the time, so that it cannot be one."""
    return value if isinstance(value, str) else ""


def npz(compressed=False, **changes):
    """The content of a .npz file in the layout of keras.datasets.mnist."""
    file = io.BytesIO()
    arrays = {"x_train": TRAIN[0], "y_train": TRAIN[1], "x_test": TEST[0], "y_test": TEST[1]}
    (np.savez_compressed if compressed else np.savez)(file, **arrays | changes)
    return file.getvalue()


def zipped(names, content=b"", packing=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name in names:
            archive.writestr(name, content)
    return file.getvalue()


PLAIN = pickle.dumps((TRAIN, TEST))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("really_gzip.pkl", gzip.compress(PLAIN)),
        ("really_xz.pkl.gz", lzma.compress(PLAIN)),
        ("plain.pkl.gz", PLAIN),
        ("without_an_ending", gzip.compress(PLAIN)),
        ("arrays.npz", npz()),
        ("packed.npz", npz(compressed=True)),
        ("npz.pkl", npz(x_train=np.asfortranarray(TRAIN[0]), y_test=TEST[1].astype(">i8"))),
    ],
    ids=named,
)
def test_the_content_says_what_a_file_is(name, content, tmp_path):
    train, test = digits.read_digits(write(tmp_path / name, content))
    assert_same(train, TRAIN)
    assert_same(test, TEST)


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: (x[..., None], y),
        lambda x, y: (x[:, None], y),
        lambda x, y: (x, y[:, None]),
        lambda x, y: (x, ONE_HOT[y]),
        lambda x, y: (x, ONE_HOT[y].astype(float)),
        lambda x, y: (x, ONE_HOT[y].astype(bool)),
        lambda x, y: (list(x), y),
        lambda x, y: (tuple(x), tuple(y.tolist())),
        lambda x, y: (object_array(list(x)), y.astype(float)),
        lambda x, y: (list(x.astype(float)), y.tolist()),
        lambda x, y: (x, list(ONE_HOT[y])),
        lambda x, y: (x, ONE_HOT[y].tolist()),
        lambda x, y: (x, y[:, None].tolist()),
        lambda x, y: (x.astype(np.float32) / 255, y),
        lambda x, y: (x.astype(np.float64), y.astype(np.int32)),
        lambda x, y: (x.astype(">i4"), y.tolist()),
        lambda x, y: (np.asfortranarray(x), [np.int64(label) for label in y]),
        lambda x, y: (x.reshape(-1, 784), y.astype(np.uint8)),
    ],
)
def test_shapes_and_types_that_mean_the_same(change, tmp_path):
    train, test = digits.read_digits(write(tmp_path / "d.pkl", [change(*TRAIN), change(*TEST)]))
    assert_same(train, TRAIN)
    assert_same(test, TEST)


@pytest.mark.parametrize(
    "change",
    [
        lambda labels: tuple(labels),
        lambda labels: np.array(labels, float),
        lambda labels: ONE_HOT[labels],
        lambda labels: list(ONE_HOT[labels]),
        lambda labels: np.array(labels)[:, None],
    ],
)
def test_labels_of_sequences_that_mean_the_same(change, tmp_path):
    def load(change, name):
        parts = [(x, [change(labels) for labels in y]) for x, y in (sequences(24), sequences(6))]
        return strips.load_strips(write(tmp_path / name, parts), shortest=1, longest=1)

    for one, other in zip(
        load(list, "lists.pkl")[1:], load(change, "changed.pkl")[1:], strict=True
    ):
        np.testing.assert_array_equal(one.y, other.y)
        np.testing.assert_array_equal(np.stack(one.x), np.stack(other.x))


DARK = np.zeros((12, 28, 28), np.uint8)
ITSELF = np.empty(2, object)
ITSELF[0] = ITSELF[1] = ITSELF
MANY = gzip.compress(pickle.dumps((([np.zeros((1, 1), "u1")] * 30_001, [[1]] * 30_001), TEST)))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\n\n<!DOCTYPE html><html><body>Sign in</body></html>\n", "is a web page: log in"),
        (gzip.compress(b"<HTML>"), "is a web page: log in"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n\0\0", "is an HDF5 file: read it with h5py"),
        (struct.pack(">4B3i", 0, 0, 8, 3, 60000, 28, 28), "is one of the IDX files of MNIST"),
        (gzip.compress(struct.pack(">4Bi", 0, 0, 8, 1, 60000)), "is one of the IDX files"),
        (b"\x93NUMPY\x01\0v\0{'descr'", "is a single NumPy array: np.savez writes all four"),
        (b"\x89PNG\r\n\x1a\n", "is a picture: --predict reads pictures"),
        (b"BZh91AY&SY", "is an archive of another kind: unpack it"),
        (b"label,1x1,1x2\n5,0,0\n", "is a text file (CSV?): read it with np.loadtxt"),
        (b'{"x_train": [[0, 1]]}', "is a text file (JSON?)"),
        (b"not a pickle", "is a text file"),
        ({"x_train": TRAIN[0]}, "is not taken: it holds a dictionary; expected ((x_train, "),
        (b"\x13\x13\x13", "is not taken: it is neither a pickle nor a .npz file"),
        ({1, 2}, "is not taken: its instruction b'\\x8f' is not one of plain data"),
        (zipped(["data.pkl", "version"]), "it holds data.pkl, version; expected x_train, y_train"),
        (npz(y_train=np.array([[1], [2, 3]], object)), "y_train is not an array of numbers"),
        (npz(x_test=np.array(["a"])), "x_test is not an array of numbers"),
        (npz(x_test=np.zeros(3, "u1,u1")), "x_test is not an array of numbers"),
        (
            zipped([f"{name}.npy" for name in data_files.NPZ_NAMES]),
            "x_train is not an array",
        ),
        (
            zipped([f"{n}.npy" for n in data_files.NPZ_NAMES], bytes(9), zipfile.ZIP_LZMA),
            "it is packed in a way that NumPy does not use",
        ),
        (zipped([f"{n}.npy" for n in range(30_000)]), "the list of its files is too long"),
        (npz()[:-50], "is damaged (BadZipFile"),
        (npz().replace(TRAIN[0].tobytes()[:40], bytes(40), 1), "is damaged (BadZipFile: Bad CRC"),
        (npz().replace(b"(24, 28, 28)", b"(24, 28, 29)"), "is damaged ("),
        (b"", "is damaged"),
        ((*TRAIN, *TEST), "found a tuple of 4 (array, array, array, array)"),
        (((*TRAIN, *TEST), TRAIN), "found a tuple of 2 (tuple of 4, tuple of 2)"),
        ((TRAIN, (TEST[0], [str(y) for y in TEST[1]])), "test labels: text, such as '0'; make num"),
        ((TRAIN, ("abc", TEST[1])), "test images: text, such as 'abc'; make numbers of it"),
        (
            (TRAIN, ([TEST[0][0], TEST[0][1, :9]], [1, 2])),
            "test images: arrays of different",
        ),
        (
            (TRAIN, (TEST[0][:, None, :, :1], TEST[1])),
            "shape (n, T, D), found (12, 1, 28, 1)",
        ),
        ((TRAIN, (TEST[0], np.eye(12, dtype=int))), "test labels: 10 at index 10 is not a digit"),
        (MANY, "training labels of more than one number"),
        (((TRAIN[0], TRAIN[0]), (TEST[0], TEST[0])), "training labels of more than one number an"),
        (
            npz(x_extra=TEST[0]),
            "it holds x_train.npy, y_train.npy, x_test.npy, y_test.npy, x_",
        ),
        ((TRAIN, (TEST[0], np.array(5))), "test labels: expected an array of numbers, found array"),
        ((TRAIN, (ITSELF, TEST[1])), "test image 0: expected an array of numbers, found a"),
        ((TRAIN, (255 - DARK, TEST[1])), "training or test is dark on light, the other light on"),
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


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda x, y: ([s.T for s in x], y),
            "each has 12 features: if it is transposed",
        ),
        (lambda x, y: (x, ["".join(map(str, row)) for row in y]), "training labels: text, such as"),
        (
            lambda x, y: (x * 1300, y * 1300),
            "31,200; at most 30,000 are taken: leave",
        ),
        (lambda x, y: ([s * 100 for s in x], y), "pixels from 0 to 100; expected 0 to 255, "),
    ],
)
def test_sequences_that_are_not_taken(change, sentence, tmp_path):
    parts = [change(*sequences(24, labels=5)), change(*sequences(24, labels=5))]
    with pytest.raises(DataError) as error:
        strips.load_strips(write(tmp_path / "s.pkl", parts), shortest=1, longest=1)
    assert sentence in str(error.value)


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


def test_an_archive_that_expands_without_end_is_refused_early(tmp_path, monkeypatch):
    path = write(tmp_path / "d.npz", npz(compressed=True, x_test=np.zeros((2**12, 2**12), "u1")))
    monkeypatch.setattr(common, "LARGEST_DATA", 2**23)
    with pytest.raises(DataError, match="is not taken: it holds more than 8 MiB"):
        digits.load_digits(path)
