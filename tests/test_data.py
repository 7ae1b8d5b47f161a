"""The loader: every layout that it must take, and everything that it must refuse."""

import copyreg
import gzip
import io
import lzma
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import common
from common import DataError, SettingError

import numpy as np
import pytest

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


def test_mnist_is_whole():
    train, test = common.load_mnist()
    assert train.x.shape == (60_000, 28, 28)
    assert test.x.shape == (10_000, 28, 28)
    # How often each digit occurs, from the description of MNIST.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(train.y).tolist() == counts
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(test.y).tolist() == counts
    # The mean and standard deviation that MNIST is known by.
    assert train.x.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert train.x.std() / 255 == pytest.approx(0.3081, abs=5e-5)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("end", "compress"), [(".pkl", bytes), (".pkl.gz", gzip.compress), (".pkl.xz", lzma.compress)]
)
def test_protocols_and_archives(tmp_path, protocol, end, compress):
    path = write(tmp_path / f"digits{end}", compress(pickle.dumps((TRAIN, TEST), protocol)))
    train, test = common.load_mnist(path)
    assert_same(train, TRAIN)
    assert_same(test, TEST)


@pytest.mark.parametrize(
    "name", ["numpy1_images_protocol4", "numpy1_images_protocol5", "python2_images_protocol0"]
)
def test_files_of_older_writers(name):
    train, test = common.load_mnist(PICKLES / f"{name}.pkl.gz")
    assert_same(train, TRAIN)
    assert_same(test, TEST)


def test_three_way_layout_of_python_2_divided_by_256():
    train, test = common.load_mnist(PICKLES / "python2_three_way_protocol2.pkl.gz")
    assert_same(train, [np.concatenate(parts) for parts in zip(TRAIN, VALIDATION, strict=True)])
    assert_same(test, TEST)


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: (x.astype(np.float32) / 255, y),
        lambda x, y: (x.astype(np.float64), y.astype(np.int32)),
        lambda x, y: (x.astype(">i4"), y.tolist()),
        lambda x, y: (np.asfortranarray(x), [np.int64(label) for label in y]),
        lambda x, y: (x.reshape(-1, 784), y.astype(np.uint8)),
    ],
)
def test_number_types_and_memory_orders(tmp_path, change):
    train, test = common.load_mnist(write(tmp_path / "d.pkl", (change(*TRAIN), change(*TEST))))
    assert_same(train, TRAIN)
    assert_same(test, TEST)


def test_other_image_sizes(tmp_path):
    x = np.zeros((12, 5, 3), np.uint8)
    train, _ = common.load_mnist(write(tmp_path / "d.pkl", ((x, TEST[1]), (x, TEST[1]))))
    assert train.x.shape == (12, 5, 3)


def nan_pixel(x):
    x = x.astype(np.float32) / 255
    x[3, 2, 1] = np.nan
    return x


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged"),
        (b"not a pickle", "damaged"),
        (pickle.dumps((TRAIN, TEST))[:-1000], "damaged"),
        (pickle.dumps((TRAIN, TEST)) + b"x", "something follows"),
        (TRAIN, "expected ((x_train, y_train), (x_test, y_test))"),
        ({"train": TRAIN}, "damaged or not plain data"),
        ((TRAIN,), "found a tuple of 1 (tuple)"),
        ((TRAIN, TEST, 3), "found a tuple of 3 (tuple, tuple, int)"),
        ((TRAIN, (TEST[0], TEST[1][:-1])), "test: 12 images, but labels of shape (11,)"),
        ((TRAIN, (TEST[0], TEST[1] + 1)), "test labels: 10 at index 9 is not a digit"),
        ((TRAIN, (TEST[0], TEST[1] - 1)), "test labels: -1 at index 0 is not a digit"),
        ((TRAIN, (TEST[0], TEST[1] + 0.5)), "test labels: 0.5 at index 0 is not a digit"),
        ((TRAIN, (TEST[0], [*"0123456789ab"])), "test labels: expected an array of numbers"),
        (((nan_pixel(TRAIN[0]), TRAIN[1]), TEST), "image 3: a pixel is not a finite number"),
        (((TRAIN[0] * 2.0, TRAIN[1]), TEST), "pixels from 0.0 to 510.0"),
        (((TRAIN[0].astype(int) - 1, TRAIN[1]), TEST), "pixels from -1 to 254"),
        (((TRAIN[0][:, :, :0], TRAIN[1]), TEST), "training images: expected the shape (n, T, D)"),
        (((TRAIN[0][:, :20], TRAIN[1]), TEST), "all must be of one size"),
        (((TRAIN[0].reshape(-1, 8, 98), TRAIN[1]), TEST), "all must be of one size"),
        (((TRAIN[0].reshape(24, -1)[:, :783], TRAIN[1]), TEST), "expected the shape (n, T, D)"),
        ((([[1, [2, 3]]], [1, 2]), TEST), "expected an array of numbers"),
        (((TRAIN[0].astype(complex), TRAIN[1]), TEST), "an array of type 'c16' is not data"),
        (((np.zeros(3, "u1,u1"), TRAIN[1]), TEST), "is not data"),
    ],
)
def test_wrong_content_is_refused_in_one_line(tmp_path, content, message):
    path = write(tmp_path / "wrong.pkl", content)
    with pytest.raises(DataError) as error:
        common.load_mnist(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_too_many_images_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "MOST_IMAGES", 23)
    with pytest.raises(DataError, match="training: 24 images; at most 23 are taken"):
        common.load_mnist(write(tmp_path / "d.pkl", (TRAIN, TEST)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"I" + b"9" * 50 + b"\n.", "a number of more than 40 digits"),
        (b"F" + b"9" * 50 + b"\n.", "a number of more than 40 digits"),
        (b"Vabc\\u0394\n.", "text that is not latin1"),
        (b"\x80\x02" + pickle.dumps("\u0394", 2)[2:], "text that is not latin1"),
        (b"cnumpy\nndarray\n0" * 1001 + b"N.", "asks for numpy.ndarray"),
        (b"c_codecs\nencode\n(Vabc\nVutf-8\ntR.", "encoding 3 characters in 'utf-8'"),
    ],
)
def test_instructions_that_take_more_than_their_size_are_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        common.load_mnist(write(tmp_path / "d.pkl", content))


def test_text_of_python_3_bytes_keeps_every_byte(tmp_path):
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16).repeat(12, axis=0)
    for protocol in range(6):
        path = tmp_path / "d.pkl"
        path.write_bytes(pickle.dumps(((every, TEST[1]), (every, TEST[1])), protocol))
        train, _ = common.load_mnist(path)
        np.testing.assert_array_equal(train.x, every)


@pytest.mark.parametrize("name", ["lists_protocol2", "object_arrays_protocol1"])
def test_digit_sequences_are_sent_to_their_scripts(name):
    with pytest.raises(DataError, match=r"digit sequences are for seq_labelling\.py"):
        common.load_mnist(PICKLES / f"python2_sequences_{name}.pkl.gz")


def test_every_flipped_bit_of_an_archive_is_found(tmp_path):
    content = (PICKLES / "numpy1_images_protocol4.pkl.gz").read_bytes()
    # The header of gzip holds a time, flags and the system, which its checksum does not cover.
    for position in range(10, len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        with pytest.raises(DataError):
            common.load_mnist(write(tmp_path / "d.pkl.gz", bytes(flipped)))


def test_missing_folder_and_unknown_ending(tmp_path):
    with pytest.raises(DataError, match="does not exist: check --data"):
        common.load_mnist(tmp_path / "missing.pkl")
    (tmp_path / "folder.pkl").mkdir()
    with pytest.raises(DataError, match="can't be read"):
        common.load_mnist(tmp_path / "folder.pkl")
    with pytest.raises(DataError, match=r"expected a file that ends in \.pkl, \.pkl\.gz"):
        common.load_mnist(write(tmp_path / "digits.npz", b""))


# -- attacks ----------------------------------------------------------------------------------


class Calls:
    """Pickles to a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def call_by_name(module, name, argument):
    """A pickle, protocol 4, that calls module.name(argument)."""
    strings = [module.encode(), name.encode(), argument.encode()]
    module, name, argument = (b"\x8c" + bytes([len(s)]) + s for s in strings)
    return b"\x80\x04" + module + name + b"\x93" + argument + b"\x85R."


HUGE = pickle.dumps((10**6, 10**6, 10**6), 2)[2:-1]
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
UINT8 = (
    b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)


def attacks(mark):
    """Pickles by name that make the file `mark`, or fill the memory, if anything obeys them."""
    command = f"touch {mark}"
    return {
        "os.system": pickle.dumps(Calls(os.system, command)),
        "nested in the layout": pickle.dumps(((Calls(os.system, command), TRAIN[1]), TEST)),
        "subprocess": pickle.dumps(Calls(subprocess.check_call, ["touch", str(mark)])),
        "eval": pickle.dumps(Calls(eval, f"open({str(mark)!r}, 'w')")),
        "protocol 0": b"cposix\nsystem\n(V" + command.encode() + b"\ntR.",
        "INST": b"(V" + command.encode() + b"\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\nV" + command.encode() + b"\no.",
        "NEWOBJ": b"\x80\x02cos\nsystem\nV" + command.encode() + b"\n\x85\x81.",
        "through numpy": call_by_name("numpy", "os.system", command),
        "through numpy's attributes": call_by_name("numpy.core.multiarray", "os.system", command),
        "numpy.f2py": call_by_name("numpy.f2py.diagnose", "run_command", command),
        "numpy runstring": call_by_name("numpy.testing._private.utils", "runstring", command),
        "numpy.load": call_by_name("numpy", "load", str(mark)),
        "numpy.memmap": call_by_name("numpy", "memmap", str(mark)),
        "attribute of a stand-in": call_by_name("numpy", "dtype.__init__.__globals__", "x"),
        "common": call_by_name("common", "os.system", command),
        "extension registry": b"\x80\x02\x82\xf0V" + command.encode() + b"\n\x85R.",
        "persistent id": b"Pos.system\n.",
        "stop before anything": b".",
        "BUILD on a stand-in": b"cnumpy\ndtype\n}U\x09set_statecnumpy\ndtype\nsb.",
        "APPEND to a stand-in": b"cnumpy\ndtype\nK\x01a.",
        "huge array": b"\x80\x02cnumpy\nndarray\n" + HUGE + b"\x85R.",
        "huge _reconstruct": ARRAY.replace(b"K\x00\x85", HUGE) + b".",
        "forged shape": b"((" + ARRAY + b"(K\x01" + HUGE + UINT8 + b"\x89U\x04abcdtb]t(]]tt.",
        "huge bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"abc.",
        "huge bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"abc.",
        "huge frame": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
        "huge memo": b"\x80\x02Nr" + struct.pack("<I", 2**31) + b".",
        "contains itself": b"\x80\x02]q\x00(h\x00h\x00e.",
        "deeply nested": b"(" * 100_000 + b"t" * 100_000 + b".",
        "lists of lists of lists": b"](K\x07" + b"e]q\x00(h\x00h\x00h\x00" * 60 + b"e.",
        "labels that contain themselves": b"]q\x00(h\x00h\x00e\x86q\x01h\x01\x86.",
    }


@pytest.mark.parametrize("name", attacks("mark"))
def test_attacks_run_nothing(tmp_path, name):
    mark = tmp_path / "mark"
    path = write(tmp_path / "attack.pkl", attacks(mark)[name])
    copyreg.add_extension("os", "system", 240)
    try:
        with pytest.raises(DataError) as error:
            common.load_mnist(path)
    finally:
        copyreg.remove_extension("os", "system", 240)
    assert "\n" not in str(error.value)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["os.system", "protocol 0", "extension registry"])
def test_attacks_work_on_an_ordinary_unpickler(tmp_path, name):
    """Otherwise the test above would prove nothing."""
    mark = tmp_path / "mark"
    copyreg.add_extension("os", "system", 240)
    try:
        pickle.loads(attacks(mark)[name])
    finally:
        copyreg.remove_extension("os", "system", 240)
    assert mark.exists()


def test_an_archive_that_expands_without_end_is_refused_early(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "LARGEST_DATA", 2**20)
    for end, compress in {".gz": gzip.compress, ".xz": lzma.compress}.items():
        string = b"\x80\x04\x8e" + struct.pack("<Q", 2**24) + bytes(2**24) + b"."
        path = write(tmp_path / f"bomb.pkl{end}", compress(string))
        with pytest.raises(DataError, match="more than 1 MiB"):
            common.load_mnist(path)


# -- sizes and the missing file ---------------------------------------------------------------


def config(path, **settings):
    return common.RunConfig(data=path, **settings)


def test_sizes(tmp_path):
    path = write(tmp_path / "d.pkl", (TRAIN, TEST))
    train, validation, test = common.load_digits(config(path, train_size=5, test_size=3))
    assert_same(train, [part[:5] for part in TRAIN])
    assert_same(validation, [part[-2:] for part in TRAIN])
    assert_same(test, [part[:3] for part in TEST])
    train, _, _ = common.load_digits(config(path))
    assert len(train.x) == 22
    with pytest.raises(SettingError, match="--train-size 23: there are 22 training images"):
        common.load_digits(config(path, train_size=23))
    with pytest.raises(SettingError, match="--test-size 13: there are 12 test images"):
        common.load_digits(config(path, test_size=13))


def test_missing_mnist_is_fetched_once_and_written(tmp_path, monkeypatch):
    path = tmp_path / "data" / "mnist.pkl.gz"
    monkeypatch.setattr(common, "DATA_FILE", path)
    monkeypatch.setattr("keras.datasets.mnist.load_data", lambda: (TRAIN, TEST))
    assert_same(common.load_mnist(path)[0], TRAIN)
    monkeypatch.setattr("keras.datasets.mnist.load_data", lambda: 1 / 0)
    assert_same(common.load_mnist(path)[1], TEST)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_missing_mnist_that_cannot_be_fetched_says_what_to_do(tmp_path, monkeypatch):
    def no_network():
        raise OSError("no network\nat all")

    path = tmp_path / "mnist.pkl.gz"
    monkeypatch.setattr(common, "DATA_FILE", path)
    monkeypatch.setattr("keras.datasets.mnist.load_data", no_network)
    with pytest.raises(DataError, match=r"could not be fetched \(no network\): put mnist.pkl.gz"):
        common.load_mnist(path)
    assert not path.exists()


def test_the_data_file_is_made_again_from_its_sources(tmp_path):
    """The four files are written from the data file and read back by the documented command."""
    (tmp_path / "make_mnist.py").write_bytes(
        (common.DATA_FILE.parent / "make_mnist.py").read_bytes()
    )
    train, test = common.load_mnist()
    for name, array in {
        "train-images-idx3": train.x,
        "train-labels-idx1": train.y,
        "t10k-images-idx3": test.x,
        "t10k-labels-idx1": test.y,
    }.items():
        header = struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape)
        (tmp_path / f"{name}-ubyte").write_bytes(header + array.tobytes())
    command = [sys.executable, "make_mnist.py", "."]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    made = gzip.decompress((tmp_path / "mnist.pkl.gz").read_bytes())
    with gzip.open(common.DATA_FILE) as file:
        assert made == file.read()

    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x01\x07")
    ran = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "its SHA-256 is another" in ran.stderr


def limited(content):
    return common._LimitedLines(common._LimitedFile(io.BytesIO(content)))


def test_a_limited_file_reads_like_a_file(monkeypatch):
    monkeypatch.setattr(common, "LONGEST_LINE", 5)
    reader = limited(b"one\ntwo\nthree\n")
    buffer = bytearray(3)
    assert reader.readline() == b"one\n"
    assert reader.readinto(buffer) == 3
    assert buffer == b"two"
    assert reader.read(1) == b"\n"
    with pytest.raises(pickle.UnpicklingError, match="a line of"):
        reader.readline()
    monkeypatch.setattr(common, "LARGEST_DATA", 3 * 2**20)
    content = np.arange(3 * 2**17).astype("f8").tobytes()
    assert limited(content).read(len(content)) == content
    with pytest.raises(pickle.UnpicklingError, match="more than 3 MiB"):
        limited(content + b".").read(2**30)
