"""What the four scripts share: settings, data, training, evaluation and pictures."""

import contextlib
import csv
import functools
import gc
import gzip
import io
import json
import lzma
import math
import os
import pickle
import re
import shlex
import shutil
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, BinaryIO, ClassVar, NamedTuple, NoReturn

# All are read when the libraries are first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A recurrent network is many small operations: they run side by side sooner than in shares.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")

import numpy as np
import pydantic
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageFilter, ImageOps
from pydantic import Field, PositiveInt


@contextlib.contextmanager
def hold_back_output() -> Iterator[None]:
    """Hold back what is written to file descriptors 1 and 2; show it only if the block fails.

    The C++ side of TensorFlow and of JAX writes a few lines there whatever any log level says.
    """
    sys.stdout.flush()
    with tempfile.TemporaryFile() as held:
        outputs = [os.dup(descriptor) for descriptor in (1, 2)]
        for descriptor in (1, 2):
            os.dup2(held.fileno(), descriptor)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(outputs[1], held.read())
            raise
        finally:
            for descriptor, output in zip((1, 2), outputs, strict=True):
                os.dup2(output, descriptor)
                os.close(output)


with hold_back_output():
    import keras
    import tensorflow  # noqa: F401  Keras and TensorBoard import it later, with any backend

DATA_FILE = Path(__file__).resolve().parent / "data" / "mnist.pkl.gz"
DIGITS = 10
LARGEST_DATA = 448 * 2**20  # bytes of a pickle after decompression; MNIST in float64 needs 439e6
LONGEST_PROGRAM = 1_000_000  # instructions of a pickle; a sequence takes about 30
LONGEST_LINE = 2**27  # bytes of an instruction written as a line of text, as protocol 0 does
MOST_IMAGES = 1_000_000
MOST_SEQUENCES = 100_000


class SettingError(Exception):
    """A setting that does not fit the data or the machine. The script ends with exit code 2."""


class DataError(Exception):
    """Data that cannot be used. The script ends with exit code 1."""


class TrainingError(Exception):
    """Training that cannot go on. The script ends with exit code 1."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during the training, which can be resumed. The script ends with exit code 130."""


# ---------------------------------------------------------------------------------------------
# Settings
# ---------------------------------------------------------------------------------------------

Share = Annotated[float, Field(ge=0, lt=1)]
Pixels = Annotated[float, Field(ge=0, le=1000)]


class RunConfig(
    pydantic.BaseModel, frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
):
    """Settings of a run, the same in all four scripts."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0  # the same seed repeats a run exactly
    train_size: PositiveInt | None = None  # training examples to use, the first ones; None: all
    test_size: PositiveInt | None = None  # test examples to use, the first ones; None: all
    data: Path = DATA_FILE  # pickle of ((x_train, y_train), (x_test, y_test))
    output: Path = Path("runs")  # the run writes to OUTPUT/SCRIPT/TIME
    resume: Path | None = None  # folder of a run that was interrupted; it goes on there
    predict: tuple[Path, ...] = ()  # pictures to read with a trained network, in place of training
    model: Path | None = None  # the network that --predict uses; None: that of the newest run
    seen: Path | None = None  # with --predict: write what the network saw to this picture

    def of_the_run(self, **options: bool) -> dict:
        """Return the settings that make a run what it is, not those that say what to do with it."""
        return self.model_dump(
            mode="json", exclude={"resume", "predict", "model", "seen"}, **options
        )


def run(main: Callable, config_class: type[RunConfig]) -> None:
    """Run a script: read its settings from the command line, call `main(config)`, exit.

    Any error that the user can mend becomes one message on stderr: exit code 2 for a setting,
    1 for data or training, 130 for Ctrl-C.
    """
    with warnings.catch_warnings():
        # tyro warns of a default of the wrong type; validation then says it better.
        warnings.filterwarnings("ignore", category=UserWarning, module="tyro")
        config = tyro.cli(
            config_class, prog=Path(sys.argv[0]).name, description=main.__globals__["__doc__"]
        )
    try:
        if config.predict:
            print_predictions(config, sys.argv[0])
        elif config.model or config.seen:
            raise SettingError(f"--{'model' if config.model else 'seen'} goes with --predict")
        else:
            with join_processes(config) as config:
                main(config)
    except AttributeError as error:
        if not isinstance(error.obj, RunConfig):
            raise
        leave(f"class Config has no setting {error.name!r}: is it misspelt?", 2)
    except SettingError as error:
        leave(str(error), 2)
    except (DataError, TrainingError) as error:
        leave(str(error), 1)
    except OSError as error:  # a full disk, a folder that is gone
        name = error.filename or "a file"
        leave(f"{name} can't be written or read: {error.strerror or error}", 1)
    except Interrupted as interruption:
        arguments = sys.argv if config.resume else [*sys.argv, "--resume", str(interruption)]
        leave(f"\ninterrupted; to go on: {shlex.join(['python', *arguments])}", 130)
    except KeyboardInterrupt:
        leave("\ninterrupted", 130)


def leave(message: str, code: int) -> NoReturn:
    """Print a message on stderr and exit."""
    print(message, file=sys.stderr)
    if _PROCESS in os.environ:
        # At a usual exit JAX would wait for the other processes, which wait for this one.
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def set_seed(seed: int) -> None:
    """Begin anew: whatever this process did before, the same seed repeats a run to the last bit."""
    keras.utils.clear_session()  # names of layers begin from 1 again
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()


# ---------------------------------------------------------------------------------------------
# Pickles
#
# A pickle is a program. This unpickler runs only the instructions that numbers, strings, lists
# and arrays need, and calls nothing of NumPy: the names that NumPy writes into a pickle lead to
# the stand-ins below, which take notes. An array is made when its shape, type and bytes agree.
# ---------------------------------------------------------------------------------------------


class _PickledType:
    """Stand-in for numpy.dtype."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"[?]|b1|[iu][1248]|f[248]|O8?", code):
            raise pickle.UnpicklingError(f"an array of type {code!r:.40} is not data")
        self.code = code
        self.byte_order = "="

    def set_state(self, state: tuple) -> None:
        _, byte_order, subarray, names, fields, *_ = state
        if byte_order not in ("<", ">", "|", "=") or (subarray, names, fields) != (None,) * 3:
            raise pickle.UnpicklingError("an array of structures is not data")
        self.byte_order = byte_order

    def to_dtype(self) -> np.dtype:
        return np.dtype(self.code).newbyteorder(self.byte_order)


class _PickledArray:
    """Stand-in for numpy.ndarray."""

    def __init__(self, state: tuple | None = None) -> None:
        self.state = state

    def set_state(self, state: tuple) -> None:
        self.state = state

    def to_array(self) -> np.ndarray | list:
        """Make the array; an array of objects becomes a list."""
        _, shape, pickled_type, fortran_order, content = self.state
        dtype = pickled_type.to_dtype()
        if any(type(length) is not int or length < 0 for length in shape):
            raise ValueError(f"shape {shape!r:.60}")
        if dtype.hasobject:
            if len(shape) != 1 or len(content) != shape[0]:
                raise ValueError(f"shape {shape!r:.60} for {len(content)} objects")
            return list(content)
        if isinstance(content, str):  # written by Python 2, read as latin1
            content = content.encode("latin1")
        if len(content) != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"shape {shape!r:.60}, type {dtype}, but {len(content)} bytes")
        array = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran_order else "C")
        return array.astype(dtype.newbyteorder("="), copy=False)


def _pickled_scalar(pickled_type: _PickledType, content: bytes | str) -> int | float:
    return _PickledArray((1, (), pickled_type, False, content)).to_array().item()


def _pickled_buffer(
    content: bytes, pickled_type: _PickledType, shape: tuple, order: str
) -> _PickledArray:
    return _PickledArray((1, shape, pickled_type, order == "F", content))


_STAND_INS = {
    ("numpy", "ndarray"): None,  # only ever named as an argument of _reconstruct
    ("numpy", "dtype"): _PickledType,
    ("_codecs", "encode"): None,  # see _DataUnpickler
}
for _core in "numpy.core", "numpy._core":  # before and since NumPy 2
    _STAND_INS[f"{_core}.multiarray", "_reconstruct"] = lambda *_: _PickledArray()
    _STAND_INS[f"{_core}.multiarray", "scalar"] = _pickled_scalar
    _STAND_INS[f"{_core}.numeric", "_frombuffer"] = _pickled_buffer

_DATA_OPCODES = (
    *(pickle.PROTO, pickle.FRAME, pickle.MARK, pickle.STOP, pickle.POP, pickle.POP_MARK),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.INT, pickle.LONG, pickle.LONG1),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.FLOAT, pickle.BINFLOAT),
    *(pickle.STRING, pickle.BINSTRING, pickle.SHORT_BINSTRING, pickle.UNICODE),
    *(pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINBYTES, pickle.SHORT_BINBYTES),
    *(pickle.BINBYTES8, pickle.BYTEARRAY8, pickle.EMPTY_LIST, pickle.LIST, pickle.APPEND),
    *(pickle.APPENDS, pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2),
    *(pickle.TUPLE3, pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE),
    *(pickle.GET, pickle.BINGET, pickle.LONG_BINGET, pickle.GLOBAL, pickle.STACK_GLOBAL),
    *(pickle.REDUCE, pickle.BUILD),
)


class _LimitedInstructions(dict):
    """An instruction table that ends a program which is too long, so that none runs for long."""

    left = LONGEST_PROGRAM

    def __getitem__(self, code: int) -> Callable:
        self.left -= 1
        if self.left < 0:
            raise pickle.UnpicklingError(f"it has more than {LONGEST_PROGRAM:,} instructions")
        return super().__getitem__(code)


# The unpickler written in Python: one can choose its instructions, and its memo is a dictionary,
# where the one written in C allocates as many entries as the largest index that a file names.
class _DataUnpickler(pickle._Unpickler):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="latin1")
        self.dispatch = _LimitedInstructions(self.data_instructions)
        self.globals_left = 1000  # each is written once, then taken from the memo
        self.encoded_left = LARGEST_DATA

    def find_class(self, module: str, name: str) -> object:
        self.globals_left -= 1
        if (module, name) not in _STAND_INS or self.globals_left < 0:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not data")
        if name == "encode":
            return self.latin1_bytes
        return _STAND_INS[module, name]

    def latin1_bytes(self, text: str, encoding: str) -> bytes:
        self.encoded_left -= len(text)  # a file can name one text many times
        if encoding != "latin1" or self.encoded_left < 0:
            raise pickle.UnpicklingError(f"encoding {len(text)} characters in {encoding!r:.20}")
        return text.encode("latin1")

    def load_build(self) -> None:
        state = self.stack.pop()
        self.stack[-1].set_state(state)

    def load_frame(self) -> None:
        size = int.from_bytes(self.read(8), "little")
        if size > LONGEST_LINE:
            raise pickle.UnpicklingError(f"it holds a frame of {size} bytes")
        self._unframer.load_frame(size)

    def load_bytearray(self) -> None:
        self.append(self.read(int.from_bytes(self.read(8), "little")))

    def read_number(self) -> bytes:
        line = self.readline()
        if len(line) > 40:  # reading a number takes time with the square of its digits
            raise pickle.UnpicklingError("it holds a number of more than 40 digits")
        return line.rstrip(b"L\n")

    def load_whole_number(self) -> None:
        self.append(int(self.read_number()))

    def load_fraction(self) -> None:
        self.append(float(self.read_number()))

    def load_text(self) -> None:
        """Read a line of text; bytes, in protocol 0, are characters up to 255."""
        line = self.readline()[:-1]
        if re.search(rb"\\(U|u(?!00))", line):  # one other would widen all characters in memory
            raise pickle.UnpicklingError("it holds text that is not latin1")
        self.append(str(line, "raw-unicode-escape"))

    def load_utf8_text(self) -> None:
        content = self.read(int.from_bytes(self.read(4), "little"))
        if content and np.frombuffer(content, np.uint8).max() > 0xC3:
            raise pickle.UnpicklingError("it holds text that is not latin1")
        self.append(str(content, "utf-8"))

    data_instructions: ClassVar = {
        code[0]: pickle._Unpickler.dispatch[code[0]] for code in _DATA_OPCODES
    }
    data_instructions[pickle.BUILD[0]] = load_build
    data_instructions[pickle.FRAME[0]] = load_frame
    data_instructions[pickle.INT[0]] = data_instructions[pickle.LONG[0]] = load_whole_number
    data_instructions[pickle.FLOAT[0]] = load_fraction
    data_instructions[pickle.BYTEARRAY8[0]] = load_bytearray
    data_instructions[pickle.UNICODE[0]] = load_text
    data_instructions[pickle.BINUNICODE[0]] = load_utf8_text


class _LimitedFile(io.RawIOBase):
    """A file that can be read up to a number of bytes, so that no archive fills the memory."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.left = LARGEST_DATA

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        content = self.file.read(min(len(buffer), 2**20))  # an archive holds it twice for a while
        self.left -= len(content)
        if self.left < 0:
            raise pickle.UnpicklingError(f"it holds more than {LARGEST_DATA >> 20} MiB")
        buffer[: len(content)] = content
        return len(content)


class _LimitedLines(io.BufferedReader):
    """Reads lines up to a length, because decoding one takes several times its size."""

    def readline(self) -> bytes:
        line = super().readline(LONGEST_LINE)
        if len(line) == LONGEST_LINE:
            raise pickle.UnpicklingError(f"it holds a line of {LONGEST_LINE >> 20} MiB")
        return line


def load_pickle(path: Path) -> object:
    """Read a pickle of plain data (.pkl, .pkl.gz or .pkl.xz) without running any code in it.

    Returns:
        Numbers, strings, lists and tuples as they are; arrays as stand-ins with `to_array()`.

    Raises:
        DataError: the file is missing, damaged, or holds something that is not data.
    """
    openers = {".pkl": open, ".pkl.gz": gzip.open, ".pkl.xz": lzma.open}
    opener = next((openers[end] for end in openers if path.name.endswith(end)), None)
    if opener is None:
        raise DataError(f"{path}: expected a file that ends in {', '.join(openers)}")
    gc.disable()  # it would search the growing lists again and again
    try:
        with opener(path, "rb") as file:
            reader = _LimitedLines(_LimitedFile(file))
            content = _DataUnpickler(reader).load()
            if reader.read(1):  # at its end an archive checks its checksum
                raise pickle.UnpicklingError("something follows after its end")
            return content
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check --data") from None
    except (IsADirectoryError, PermissionError) as error:
        raise DataError(f"{path} can't be read: {error.strerror}") from None
    except pickle.UnpicklingError as error:
        raise DataError(f"{path} is damaged or not plain data: {_one_line(error)}") from None
    except Exception as error:  # whatever the first damaged instruction happens to lead to
        reason = f"{type(error).__name__}: {_one_line(error)}"
        raise DataError(f"{path} is damaged or not plain data ({reason})") from None
    finally:
        gc.enable()


def _one_line(error: Exception) -> str:
    """The beginning of an error's message, in which a broken file may put anything."""
    first = f"{error} ".splitlines()[0]
    return "".join(c if c.isprintable() else "?" for c in first)[:200].strip()


# ---------------------------------------------------------------------------------------------
# Digits
# ---------------------------------------------------------------------------------------------


class Examples(NamedTuple):
    """Inputs x and targets y, one of each per example."""

    x: np.ndarray
    y: np.ndarray


def load_mnist(path: Path = DATA_FILE) -> tuple[Examples, Examples]:
    """Load a pickle of digit images, `((x_train, y_train), (x_test, y_test))`.

    The three-way layout of older tutorials is taken too: its validation part, which comes after
    training, is joined to it. Images may be flat (n, 784) and floats from 0 to 1. If the
    project's own file is missing, MNIST is fetched by Keras and written there.

    Returns:
        Training and test examples: images (n, T, D) of uint8, labels (n,) of uint8.

    Raises:
        DataError: the file cannot be read, or does not hold digit images.
    """
    return _join_digits(path, _load_parts(path))


def _join_digits(path: Path, parts: list[tuple]) -> tuple[Examples, Examples]:
    *train_parts, test = [_digit_images(*part) for part in parts]
    for part in train_parts:
        if part.x.shape[1:] != test.x.shape[1:]:
            raise DataError(
                f"{path}: training images of {part.x.shape[1:]}, test images of "
                f"{test.x.shape[1:]}; all must be of one size"
            )
    if len(train_parts) == 1:
        return train_parts[0], test
    return Examples(*map(np.concatenate, zip(*train_parts, strict=True))), test


def _load_parts(path: Path) -> list[tuple[str, object, object]]:
    """Load the parts of a data set: what to call it in a message, its inputs, its targets."""
    if path == DATA_FILE and not path.exists():
        _fetch_mnist(path)
    parts = load_pickle(path)
    is_pair = isinstance(parts, list | tuple) and len(parts) in (2, 3)
    if not is_pair or any(not isinstance(p, list | tuple) or len(p) != 2 for p in parts):
        raise DataError(
            f"{path}: expected ((x_train, y_train), (x_test, y_test)), or a third pair for "
            f"validation between the two; found {_describe(parts)}"
        )
    names = ("training", "validation", "test") if len(parts) == 3 else ("training", "test")
    return [(f"{path}: {name}", *part) for name, part in zip(names, parts, strict=True)]


def _fetch_mnist(path: Path) -> None:
    print(f"{path} is missing; fetching MNIST")
    try:
        content = pickle.dumps(keras.datasets.mnist.load_data(), protocol=4)
        path.parent.mkdir(exist_ok=True)
        with written_beside(path) as unfinished:
            unfinished.write_bytes(gzip.compress(content, compresslevel=6, mtime=0))
    except Exception as error:  # of the network, the server or the disk
        raise DataError(
            f"MNIST could not be fetched ({_one_line(error)}): put mnist.pkl.gz into "
            f"{path.parent}, as its README says"
        ) from None


def _describe(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)} ({', '.join(map(_kind, value[:3]))})"
    return _kind(value)


def _kind(value: object) -> str:
    return "array" if isinstance(value, _PickledArray) else type(value).__name__


def _to_array(where: str, value: object) -> np.ndarray:
    """Make an array from a stand-in or a list of numbers; DataError if that is not possible."""
    try:
        content = value.to_array() if isinstance(value, _PickledArray) else value
    except Exception as error:  # a shape, a type and bytes that disagree
        raise DataError(f"{where}: not an array ({_one_line(error)})") from None
    # NumPy would follow a list into lists of lists, however deep.
    is_list = isinstance(content, list) and all(type(item) in (int, float) for item in content)
    if not is_list and not isinstance(content, np.ndarray):
        raise DataError(
            f"{where}: expected an array of numbers, found {_describe(content)} (digit sequences "
            f"are for seq_labelling.py and variable_length_seq.py)"
        )
    return np.asarray(content)


def _digit_images(where: str, x: object, y: object) -> Examples:
    """Check one pair of images and labels and bring it to uint8, (n, T, D) and (n,)."""
    images = _to_array(f"{where} images", x)
    labels = _to_array(f"{where} labels", y)
    if images.ndim == 2 and images.size and math.isqrt(images.shape[1]) ** 2 == images.shape[1]:
        images = images.reshape(len(images), math.isqrt(images.shape[1]), -1)
    if images.ndim != 3 or 0 in images.shape:
        raise DataError(f"{where} images: expected the shape (n, T, D), found {images.shape}")
    if labels.shape != images.shape[:1]:
        raise DataError(f"{where}: {len(images)} images, but labels of shape {labels.shape}")
    if len(images) > MOST_IMAGES:
        raise DataError(f"{where}: {len(images):,} images; at most {MOST_IMAGES:,} are taken")
    _check_digits(f"{where} labels", labels)
    return Examples(_to_pixels(f"{where} image", images), labels.astype(np.uint8))


def _check_digits(where: str, labels: np.ndarray) -> None:
    wrong = ~((labels >= 0) & (labels < DIGITS) & (labels % 1 == 0))
    if wrong.any():
        index = int(wrong.argmax())
        raise DataError(f"{where}: {labels[index]} at index {index} is not a digit from 0 to 9")


def _to_pixels(where: str, values: np.ndarray, ends: np.ndarray | None = None) -> np.ndarray:
    """Bring pixel values to uint8: whole numbers from 0 to 255 as they are, 0 to 1 scaled up.

    Args:
        values: (n, ...), one image after the other.
        ends: where each image ends along the first axis; None: each takes one place.
    """
    if values.dtype == np.uint8:
        return values
    lowest, highest = values.min(initial=0), values.max(initial=0)
    if not (lowest >= 0 and highest <= 255):  # also where there is no number
        wrong = ~((values >= 0) & (values <= 255))
        place = int(wrong.any(axis=tuple(range(1, values.ndim))).argmax())
        index = place if ends is None else np.searchsorted(ends, place, side="right")
        low, high = values[place].min(), values[place].max()
        if not np.isfinite([low, high]).all():
            raise DataError(f"{where} {index}: a pixel is not a finite number")
        raise DataError(
            f"{where} {index}: pixels from {low} to {high}; expected 0 to 255, or 0 to 1"
        )
    if values.dtype.kind != "f":
        return values.astype(np.uint8)
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


def _to_arrays(where: str, value: object) -> list[np.ndarray]:
    """Make arrays of the items of a list or an array; DataError if that is not possible."""
    items = value
    if not isinstance(value, list):
        try:
            items = value.to_array()
        except Exception:  # no stand-in of an array, or one that disagrees with itself
            raise DataError(f"{where}s: expected a list, found {_describe(value)}") from None
    if len(items) > MOST_SEQUENCES:
        raise DataError(f"{where}s: {len(items):,}; at most {MOST_SEQUENCES:,} are taken")
    # A file can name one array, or one list, many times.
    bytes_left, items_left = LARGEST_DATA, LONGEST_PROGRAM
    arrays = []
    for index, item in enumerate(items):
        arrays.append(_to_array(f"{where} {index}", item))
        bytes_left -= arrays[-1].nbytes
        items_left -= len(item) if isinstance(item, list) else 0
        if min(bytes_left, items_left) < 0:
            raise DataError(f"{where}s: more than a file can hold, one of them many times")
    return arrays


def _holds_sequences(part: tuple[str, object, object]) -> bool:
    """Tell sequences, whose targets are lists, from single images, whose targets are numbers."""
    _, _, y = part
    with contextlib.suppress(Exception):  # what is neither is refused where it is read
        y = y.to_array() if isinstance(y, _PickledArray) else y
        return isinstance(y[0], list | _PickledArray | np.ndarray)
    return False


def _digit_sequences(where: str, x: object, y: object) -> Examples:
    """Check sequences and their labels.

    Returns:
        Sequences, an object array (n,) of arrays (T_i, D) of uint8; labels, digit + 1, padded
        with 0, (n, longest).
    """
    sequences = _to_arrays(f"{where} sequence", x)
    labels = _to_arrays(f"{where} labels of sequence", y)
    if len(sequences) != len(labels) or not sequences:
        raise DataError(f"{where}: {len(sequences)} sequences, {len(labels)} lists of labels")
    D = sequences[0].shape[-1] if sequences[0].ndim else 0
    longest = max(part.size for part in labels)
    if longest * len(labels) > LARGEST_DATA // 8:  # one long list would pad all others
        raise DataError(f"{where}: {len(labels):,} label lists of up to {longest:,} are too many")
    padded = np.zeros((len(labels), longest), np.uint8)
    for index, (sequence, part) in enumerate(zip(sequences, labels, strict=True)):
        if sequence.ndim != 2 or sequence.shape[1] != D or not sequence.size:
            raise DataError(
                f"{where} sequence {index}: expected the shape (T, {D}), T at least 1, found "
                f"{sequence.shape}"
            )
        if sequence.dtype != sequences[0].dtype:
            raise DataError(
                f"{where} sequence {index}: its type is {sequence.dtype}, that of sequence 0 "
                f"{sequences[0].dtype}; all must be of one type"
            )
        if part.ndim != 1 or not part.size:
            raise DataError(f"{where} labels of sequence {index}: found the shape {part.shape}")
        _check_digits(f"{where} labels of sequence {index}", part)
        padded[index, : len(part)] = part + 1
    ragged = np.empty(len(sequences), object)
    if sequences[0].dtype != np.uint8:
        ends = np.cumsum([len(sequence) for sequence in sequences])
        pixels = _to_pixels(f"{where} sequence", np.concatenate(sequences), ends)
        sequences = np.split(pixels, ends[:-1])
    ragged[:] = sequences
    return Examples(ragged, padded)


def load_digits(config: RunConfig) -> tuple[Examples, Examples, Examples]:
    """Load training, validation and test digits in the sizes that the settings ask for.

    Raises:
        DataError: see `load_mnist`.
        SettingError: more examples are asked for than there are.
    """
    train, test = load_mnist(config.data)
    train, validation = split_validation(train, config.data)
    train = take_first(train, config.train_size, "--train-size", "training images")
    test = take_first(test, config.test_size, "--test-size", "test images")
    return train, validation, test


def split_validation(train: Examples, path: Path) -> tuple[Examples, Examples]:
    """Split off the last twelfth for validation: 5,000 of MNIST's 60,000 training images."""
    size = len(train.x) // 12
    if size == 0:
        raise DataError(f"{path}: {len(train.x)} training examples; at least 12 are needed")
    return Examples(*(part[:-size] for part in train)), Examples(*(part[-size:] for part in train))


def take_first(
    examples: Examples, size: int | None, option: str, name: str, digits: int = 1
) -> Examples:
    """Return the first `size` examples, all for None; SettingError if there are fewer.

    Args:
        digits: how many items of `examples` make one example.
    """
    available = len(examples.x) // digits
    if size is not None and size > available:
        raise SettingError(f"{option} {size:,}: there are {available:,} {name}")
    return Examples(*(part[: (size or available) * digits] for part in examples))


# ---------------------------------------------------------------------------------------------
# Sequences of labels
#
# Labels of a sequence are digit + 1, because Connectionist Temporal Classification (CTC) in Keras
# takes 0 for its blank, and for the padding after the last label too.
#
# Sequences of different lengths are an object array of arrays (T_i, D) until they are padded.
# ---------------------------------------------------------------------------------------------

BLANK = 0


def compose_strips(
    digits: Examples, shortest: int, longest: int, random: np.random.Generator
) -> Examples:
    """Put digits side by side in a random order, each at most once.

    Args:
        digits: images (n, height, width) and labels (n,).
        shortest, longest: digits on a strip; the lengths between are equally frequent.

    Returns:
        Strips whose columns are the timesteps, an object array of arrays (digits * width, height),
        and their labels, digit + 1, padded with 0, (strips, longest).
    """
    order = random.permutation(len(digits.x))
    # Equally many of each length, so that every epoch has the same number of strips.
    lengths = np.resize(np.arange(shortest, longest + 1), len(order) // shortest)
    lengths = random.permutation(lengths[lengths.cumsum() <= len(order)])
    ends = lengths.cumsum()
    columns, digit_labels = digits.x[order].transpose(0, 2, 1), digits.y[order] + 1
    strips = np.empty(len(ends), object)
    labels = np.zeros((len(ends), longest), np.uint8)
    for strip, (length, end) in enumerate(zip(lengths, ends, strict=True)):
        strips[strip] = columns[end - length : end].reshape(-1, columns.shape[2])
        labels[strip, :length] = digit_labels[end - length : end]
    return Examples(strips, labels)


def distorted(
    images: np.ndarray,
    random: np.random.Generator,
    distortion: float,
    shift: float = 0.0,
    elastic: float = 0.0,
) -> np.ndarray:
    """Turn, stretch, slant, move and bend each image at random, with bilinear interpolation.

    Args:
        images: uint8, (n, height, width).
        distortion: largest angle in radians, and largest share by which an image is stretched
            along each axis and slanted.
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
    angle, slant, stretch_x, stretch_y = random.uniform(-distortion, distortion, (4, n))
    # For each pixel (x, y) of the new image, where in the old one it comes from:
    # (a x + b y + c, d x + e y + f). The centre of the image stays, but for the shift.
    a = (1 + stretch_x) * np.cos(angle)
    b = -np.sin(angle) + slant
    d = np.sin(angle)
    e = (1 + stretch_y) * np.cos(angle)
    x, y = (width - 1) / 2, (height - 1) / 2
    move_x, move_y = random.uniform(-shift, shift, (2, n))
    c, f = x - a * x - b * y + move_x, y - d * x - e * y + move_y
    parts = [images, np.stack([a, b, c, d, e, f], axis=1).astype(np.float32)]
    if elastic:
        parts.append(random.normal(0, elastic, (n, 4, 4, 2)).astype(np.float32))

    def transformed(images: np.ndarray, maps: np.ndarray, *moves: np.ndarray) -> np.ndarray:
        pixels = images.astype(np.float32)
        if moves:
            # One tall image, all images below each other, each with a margin of 0: interpolation
            # along two axes takes half the time of that along three.
            pixels = np.pad(pixels, ((0, 0), (1, 1), (1, 1)))
            new = keras.ops.image.map_coordinates(
                pixels.reshape(-1, width + 2), _origins(maps, *moves, height, width), order=1
            )
        else:
            maps = np.pad(maps, ((0, 0), (0, 2)))  # no perspective
            new = keras.ops.image.affine_transform(
                pixels[..., None], maps, data_format="channels_last"
            )[..., 0]
        return np.rint(keras.ops.convert_to_numpy(new)).astype(np.uint8)

    # Blocks that fit into the processor's cache, several at a time.
    blocks = n // 1000 + 1
    with ThreadPoolExecutor() as threads:
        return np.concatenate(
            [*threads.map(transformed, *(np.array_split(part, blocks) for part in parts))]
        )


def _origins(maps: np.ndarray, moves: np.ndarray, height: int, width: int) -> np.ndarray:
    """Find where each pixel comes from, as (y, x) in a pile of all images with their margins.

    Args:
        maps: (n, 6), of `distorted`.
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


def load_strips(
    config: RunConfig,
    shortest: int,
    longest: int,
    columns: int = 1,
    distortion: float = 0.0,
    shift: float = 0.0,
    elastic: float = 0.0,
) -> tuple[Callable[[np.random.Generator], Examples], Examples, Examples]:
    """Load strips, composed of digits or, from a pickle of sequences, as they are.

    From digits: training strips hold training digits only and are composed anew from a random
    generator, each digit at most once and distorted (see `distorted`). Validation strips hold
    validation digits only, test strips test digits only, at most 2,000 of them, composed once,
    in an order that no other setting changes.

    From sequences, `((x_train, y_train), (x_test, y_test))`, each x a list of arrays (T_i, D) and
    each y a list of label lists: a fixed list, only shuffled.

    Returns:
        A function that composes an epoch's training strips; validation strips; test strips. See
        `compose_strips` for their form.

    Args:
        columns: timesteps that make one step of the network's output.
        distortion, shift, elastic: of the training digits, see `distorted`.

    Raises:
        DataError: the file cannot be read, holds neither digits nor sequences, or a sequence has
            too few steps for its labels.
        SettingError: more strips are asked for than there are, or the columns are too many.
    """
    parts = _load_parts(config.data)
    if any(_holds_sequences(part) for part in parts):
        *train_parts, test = [_digit_sequences(*part) for part in parts]
        for (where, *_), part in zip(parts, (*train_parts, test), strict=True):
            steps = np.array([math.ceil(len(sequence) / columns) for sequence in part.x])
            check_labels_fit(part.y, steps, where)
        widths = {part.x[0].shape[1] for part in (*train_parts, test)}
        if len(widths) > 1:
            raise DataError(f"{config.data}: sequences of {sorted(widths)} features a timestep")
        train = _join(train_parts)
        train, validation = split_validation(train, config.data)
        train = take_first(train, config.train_size, "--train-size", "training sequences")
        test = take_first(test, config.test_size, "--test-size", "test sequences")
        return functools.partial(shuffled, train), validation, test

    train, test = _join_digits(config.data, parts)
    train, validation = split_validation(train, config.data)
    fewest = min(len(validation.x), len(test.x))
    if fewest < longest:
        raise SettingError(
            f"strips of {longest:,} digits, but {config.data} has {fewest:,} to validate or test"
        )
    steps = longest * train.x.shape[2] // columns
    if steps < 2 * longest - 1:
        raise SettingError(
            f"--columns {columns} leaves {steps} steps to a strip of {longest} digits, which may "
            f"need {2 * longest - 1}"
        )
    # As many digits as the strips need that are asked for, however long these turn out.
    train = take_first(train, config.train_size, "--train-size", "training strips", longest)
    validation = compose_strips(validation, shortest, longest, np.random.default_rng(1))
    test = compose_strips(test, shortest, longest, np.random.default_rng(2))
    test = take_first(
        Examples(*(part[:2000] for part in test)), config.test_size, "--test-size", "test strips"
    )

    def compose(random: np.random.Generator) -> Examples:
        moved = Examples(distorted(train.x, random, distortion, shift, elastic), train.y)
        strips = compose_strips(moved, shortest, longest, random)
        return Examples(*(part[: config.train_size] for part in strips))

    return compose, validation, test


def _join(parts: list[Examples]) -> Examples:
    """Join sequences whose labels are padded to different lengths."""
    longest = max(part.y.shape[1] for part in parts)
    labels = [np.pad(part.y, ((0, 0), (0, longest - part.y.shape[1]))) for part in parts]
    return Examples(np.concatenate([part.x for part in parts]), np.concatenate(labels))


def stack_equal(strips: Examples, name: str) -> Examples:
    """Make one array (n, T, D) of sequences; DataError if their lengths differ."""
    lengths = [len(strip) for strip in strips.x]
    labels = (strips.y != BLANK).sum(axis=1)
    if min(lengths) < max(lengths) or min(labels) < max(labels):
        raise DataError(
            f"{name} sequences of {min(lengths)} to {max(lengths)} timesteps and of {min(labels)} "
            f"to {max(labels)} labels: different lengths are for variable_length_seq.py"
        )
    return Examples(np.stack(list(strips.x)), strips.y[:, : max(labels)])


PADDING = -1  # no pixel has this value; 0 would be the background


def pad(strips: Sequence[np.ndarray], columns: int = 1) -> np.ndarray:
    """Pad strips (T_i, D) on the right with -1 to the longest, (n, T, D) of int16.

    Args:
        columns: T is a multiple of it. A strip whose length is none is first filled up with
            background, so that every step of so many columns is all strip or all padding.
    """
    filled = [
        np.pad(strip, ((0, -len(strip) % columns), (0, 0))) if len(strip) % columns else strip
        for strip in strips
    ]
    return keras.utils.pad_sequences(filled, dtype="int16", padding="post", value=PADDING)


def bucketed(examples: Examples, batch_size: int, random: np.random.Generator) -> Examples:
    """Order sequences so that those of one batch are of similar length, the batches at random.

    Sequences of equal length come in random order. What fills no batch comes last.
    """
    lengths = [len(sequence) for sequence in examples.x]
    order = np.lexsort((random.random(len(lengths)), lengths))
    # Leave out of the whole batches some sequences anywhere in the order, not just the longest.
    rest = random.choice(len(order), len(order) % batch_size, replace=False)
    batches = np.delete(order, rest).reshape(-1, batch_size)
    order = np.concatenate([random.permutation(batches).ravel(), order[rest]])
    return Examples(*(part[order] for part in examples))


def check_labels_fit(labels: np.ndarray, steps: np.ndarray, where: str) -> None:
    """Raise DataError if a sequence has too few steps for its labels, which CTC cannot align.

    Equal labels in a row need a blank between them: n labels with r such repeats take n + r steps.

    Args:
        labels: digit + 1, padded with 0, (n, length).
        steps: of the network's output for each sequence, (n,).
        where: the sequences come from, for the message.
    """
    repeats = (labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] != BLANK)
    needed = (labels != BLANK).sum(axis=1) + repeats.sum(axis=1)
    if (needed > steps).any():
        index = int((needed > steps).argmax())
        raise DataError(
            f"{where} sequence {index}: {(labels[index] != BLANK).sum()} labels, "
            f"{repeats[index].sum()} of them repeated, take {needed[index]} steps, but there are "
            f"{steps[index]}; a smaller --columns makes more"
        )


def read_labels(logits: np.ndarray, beam_width: int | None = None) -> np.ndarray:
    """Decode logits (n, steps, classes) to labels, padded with 0, (n, longest).

    Args:
        beam_width: None takes the best class at every step (best path); a number searches for
            the most probable labelling with so many candidates (beam search).

    Source: A. Graves et al., Connectionist Temporal Classification (2006), sections 3.2; beam
    search: A. Graves and N. Jaitly, Towards End-to-End Speech Recognition (2014).
    """
    steps = np.full(len(logits), logits.shape[1], np.int32)
    search = {"strategy": "greedy"}
    if beam_width is not None:
        search = {"strategy": "beam_search", "beam_width": beam_width}
    paths, _ = keras.ops.ctc_decode(logits, steps, mask_index=BLANK, **search)
    labels = np.maximum(keras.ops.convert_to_numpy(paths)[0], BLANK)  # -1 after the last label
    return labels[:, : (labels != BLANK).sum(axis=1).max(initial=0)]


def confidences(reading: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return the probability of each reading: the sum over all alignments that say it, (n,)."""
    nothing_read = np.zeros((len(reading), 1), reading.dtype)
    surprise = keras.losses.ctc(np.concatenate([reading, nothing_read], axis=1), logits)
    return np.exp(-keras.ops.convert_to_numpy(surprise))


def edit_distances(truth: np.ndarray, reading: np.ndarray) -> np.ndarray:
    """Count the insertions, deletions and substitutions that turn each reading into the truth.

    Args:
        truth, reading: labels, padded with 0 at the end, (n, length) of any two lengths.

    Returns:
        The Levenshtein distance of each pair, (n,).

    Source: R. A. Wagner and M. J. Fischer, The String-to-String Correction Problem (1974).
    """
    n, rows, columns = len(truth), truth.shape[1] + 1, reading.shape[1] + 1
    # distance[:, i, j] is that of the first i labels of the truth and the first j of the reading.
    distance = np.zeros((n, rows, columns), int)
    distance[:, :, 0] = np.arange(rows)
    distance[:, 0, :] = np.arange(columns)
    for i in range(1, rows):
        for j in range(1, columns):
            change = distance[:, i - 1, j - 1] + (truth[:, i - 1] != reading[:, j - 1])
            gap = 1 + np.minimum(distance[:, i - 1, j], distance[:, i, j - 1])
            distance[:, i, j] = np.minimum(change, gap)
    truth_lengths, reading_lengths = ((part != BLANK).sum(axis=1) for part in (truth, reading))
    return distance[np.arange(n), truth_lengths, reading_lengths]


def error_rates(truth: np.ndarray, reading: np.ndarray) -> dict[str, float]:
    """Compare readings with the truth, both padded with 0, (n, length).

    Returns:
        label_error_rate: edit distances over the number of true labels.
        sequence_error_rate: share of the sequences with any error.
    """
    distances = edit_distances(truth, reading)
    return {
        "label_error_rate": float(distances.sum() / (truth != BLANK).sum()),
        "sequence_error_rate": float((distances > 0).mean()),
    }


# ---------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------


class EpochBatches(keras.utils.PyDataset):
    """Batches of examples that depend on the seed and the number of the epoch, nothing else.

    Args:
        compose: takes the epoch's random generator, returns the epoch's examples in their order.
        batch_size: examples in a batch; the last batch holds what is left.
        seed: of the random generators.
        collate: makes one array of the inputs of a batch, where they are not one already.
    """

    def __init__(
        self,
        compose: Callable[[np.random.Generator], Examples],
        batch_size: int,
        seed: int,
        collate: Callable[[np.ndarray], np.ndarray] = np.asarray,
    ) -> None:
        # More than one worker makes Keras switch off the tuner of tf.data, a thread that sleeps
        # ever longer and for which the end of an epoch would wait, at times longer than it trained.
        # Without tf.data, the batches that workers had ready when Keras looked at the first one
        # would come before it.
        super().__init__(workers=2 if keras.backend.backend() == "tensorflow" else 1)
        self.compose = compose
        self.collate = collate
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = None
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Compose the batches of an epoch, counted from 0."""
        self.begun = True
        if epoch == self.epoch:
            return
        self.epoch = epoch
        self.examples = self.compose(np.random.default_rng([self.seed, epoch]))

    def __len__(self) -> int:
        return math.ceil(len(self.examples.x) / self.batch_size)

    def __getitem__(self, index: int) -> Examples:
        batch = slice(index * self.batch_size, (index + 1) * self.batch_size)
        x, y = (part[batch] for part in self.examples)
        if not self.begun and index == 1 and x.dtype == object:
            # Before the first epoch Keras looks at two batches and takes for fixed what is equal
            # in both. The second must show it that lengths differ.
            x = x.copy()
            x[0] = np.tile(max(self.examples.x, key=len), (2, 1))
        return Examples(self.collate(x), y)


def in_batches(examples: Examples, batch_size: int = 500) -> EpochBatches:
    """Return batches of the same examples in the same order in every epoch, to validate or test."""
    return EpochBatches(lambda random: examples, batch_size, seed=0)


def padding_share(batches: EpochBatches) -> float:
    """Return the share of padding in the timesteps of the current epoch's batches."""
    timesteps = sum(math.prod(batches[index].x.shape[:2]) for index in range(len(batches)))
    return 1 - sum(map(len, batches.examples.x)) / timesteps


def shuffled(examples: Examples, random: np.random.Generator) -> Examples:
    """Return the examples in a random order."""
    order = random.permutation(len(examples.x))
    return Examples(*(part[order] for part in examples))


def one_cycle(peak: float, steps: int, warmup: float) -> keras.optimizers.schedules.CosineDecay:
    """Learning rate that climbs to its peak in a straight line and falls to 0 along a cosine.

    Args:
        peak: the highest learning rate.
        steps: weight updates of the whole training.
        warmup: share of the steps in which the learning rate climbs.

    Source: L. N. Smith and N. Topin, Super-Convergence (2018), https://arxiv.org/abs/1708.07120
    """
    warmup_steps = round(warmup * steps)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=peak / 25,
        warmup_target=peak,
        warmup_steps=warmup_steps,
        decay_steps=max(1, steps - warmup_steps),
    )


def muon(
    learning_rate: keras.optimizers.schedules.LearningRateSchedule, clip_norm: float
) -> keras.optimizers.Muon:
    """Make the optimizer of all scripts: Muon, without weight decay, with clipped gradients.

    Muon makes the update of each weight matrix of the recurrent layers orthogonal, so that it
    learns in all directions alike; of a GRU's two rows of biases too, because they are a matrix.
    All other biases and the layer named "logits" learn as with Adam.

    Source: K. Jordan, Muon (2024), https://kellerjordan.github.io/posts/muon
    """
    return keras.optimizers.Muon(
        learning_rate,
        weight_decay=None,
        adam_weight_decay=None,
        exclude_layers=["logits"],
        global_clipnorm=clip_norm,
    )


class StartEpoch(keras.callbacks.Callback):
    """Make the batches and the dropout of an epoch depend on the seed and its number alone."""

    def __init__(self, batches: EpochBatches) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.batches.start_epoch(epoch)
        for variable in self.model.non_trainable_variables:
            if variable.path.endswith("seed_generator_state"):  # Keras does not save it
                seed, _ = keras.ops.convert_to_numpy(variable.value)
                variable.assign([seed, epoch * 2**20])


class StopOnInfiniteLoss(keras.callbacks.Callback):
    """Raise TrainingError at the first batch whose loss is not a finite number."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if not math.isfinite(logs["loss"]):
            raise TrainingError(
                f"the loss became {logs['loss']} in epoch {self.epoch + 1}, batch {batch + 1}: "
                f"lower --learning-rate"
            )


def run_folder(script: str, config: RunConfig) -> Path:
    """Make the folder OUTPUT/SCRIPT/TIME, which nobody else has, and write config.json into it.

    To resume a run, return its folder, if it was made with the same settings.

    Raises:
        SettingError: the folder cannot be made or written to, or there is no run to resume.
    """
    if config.resume:
        return _folder_to_resume(script, config)
    parent = config.output / Path(script).stem
    name = time.strftime("%Y-%m-%d_%H-%M-%S")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 1000):
            folder = parent / (name if attempt == 1 else f"{name}_{attempt}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                break
        save_config(config, folder)
    except OSError as error:
        raise SettingError(f"--output {config.output} can't be written: {error}") from None
    return folder


def save_config(config: RunConfig, folder: Path) -> None:
    """Write the settings of a run to config.json in its folder, which is made if it is missing."""
    folder.mkdir(exist_ok=True)
    write_json(config.of_the_run(), folder / "config.json")


def _folder_to_resume(script: str, config: RunConfig) -> Path:
    folder, now = config.resume, config.of_the_run()
    try:
        before = json.loads((folder / "config.json").read_text())
        others = before.keys() ^ now.keys()  # of another script, or of this one as it was
    except (OSError, ValueError, AttributeError):  # no file, no JSON, no dictionary
        raise SettingError(f"--resume {folder}: there is no run of {Path(script).name}") from None
    if others:
        raise SettingError(
            f"--resume {folder}: there is no run of {Path(script).name} as it is now: only one of "
            f"the two has {', '.join(sorted(others))}"
        )
    different = [name for name in now if name != "output" and now[name] != before[name]]
    if different:
        differences = ", ".join(f"{name} {before[name]}, not {now[name]}" for name in different)
        raise SettingError(f"--resume {folder}: that run began with {differences}")
    if is_finished(folder):
        raise SettingError(f"--resume {folder}: that run is finished")
    return folder


def is_finished(folder: Path) -> bool:
    """Tell whether the run in this folder has been tested."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return bool(json.loads((folder / "metrics.json").read_text()).keys() - {_SECONDS})
    return False


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Give a path to write to; when that is done, move what was written to its place.

    So a crash or a full disk leaves the old file, or none, but never half a file.
    """
    unfinished = path.with_name(f"unfinished_{path.name}")
    try:
        yield unfinished
        with unfinished.open("r+b") as file:  # Windows wants to write what it flushes
            os.fsync(file.fileno())  # the content before the name, also in a power cut
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


class Progress(keras.callbacks.Callback):
    """Save a training after every epoch, so that it can go on from there to the same end.

    Writes to the run's folder: history.csv; model.keras, the network of the best epoch; the
    seconds so far in metrics.json; and last checkpoint.keras, the network as it is, with the
    optimizer's state, whose count of weight updates tells how many epochs are done.

    Args:
        folder: of the run; if it holds a checkpoint, `load` goes on from there.
        best: the figure by which an epoch is the best, see `train`.
    """

    def __init__(self, folder: Path, best: str) -> None:
        super().__init__()
        self.folder = folder
        self.best = best
        self.epochs: list[dict[str, float]] = []
        self.seconds = 0.0

    def load(self, network: keras.Model, batches: int) -> None:
        """Bring a network with its optimizer to where the run's checkpoint left it, if any."""
        checkpoint = self.folder / "checkpoint.keras"
        if not checkpoint.exists():
            return
        try:
            network.load_weights(checkpoint)
            done = int(keras.ops.convert_to_numpy(network.optimizer.iterations.value)) // batches
            with (self.folder / "history.csv").open(newline="") as file:
                rows = list(csv.DictReader(file))[:done]
            self.seconds = json.loads((self.folder / "metrics.json").read_text())[_SECONDS]
            self.epochs = [
                {name: float(row[name]) for name in row if name != "epoch"} for row in rows
            ]
        except Exception as error:  # of Keras, HDF5, zip, CSV or JSON
            reason = _one_line(error)
            raise DataError(f"--resume {self.folder}: its files are damaged ({reason})") from None

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.start = time.perf_counter() - self.seconds

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.epochs.append({name: float(value) for name, value in logs.items()})
        figures = [figures[self.best] for figures in self.epochs]
        better = max if self.best.endswith("accuracy") else min
        if better(figures) not in figures[:-1]:
            self._save("model.keras")
        with (
            written_beside(self.folder / "history.csv") as path,
            path.open("w", newline="") as file,
        ):
            writer = csv.DictWriter(file, ["epoch", *sorted(logs)])
            writer.writeheader()
            writer.writerows({"epoch": i, **row} for i, row in enumerate(self.epochs))
        self.seconds = time.perf_counter() - self.start
        write_json({_SECONDS: round(self.seconds, 1)}, self.folder / "metrics.json")
        self._save("checkpoint.keras")

    def _save(self, name: str) -> None:
        with written_beside(self.folder / name) as path:
            self.model.save(path)


_SECONDS = "training_seconds"


def write_json(content: dict, path: Path) -> None:
    """Write a dictionary as JSON."""
    with written_beside(path) as file:
        file.write_text(json.dumps(content, indent=2) + "\n")


def train(
    network: keras.Model,
    batches: EpochBatches,
    validation: Examples | None,
    epochs: int,
    folder: Path,
    best: str,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> tuple[dict[str, list[float]], float]:
    """Train a compiled network; leave it with the weights of its best epoch.

    Goes on where the checkpoint of the run's folder ends, if there is one. What it writes there:
    see `Progress`.

    Args:
        best: the validation figure by which an epoch is the best, the lowest of a loss or an
            error rate, the highest of an accuracy.
        callbacks: more of Keras's callbacks; they may add figures to those of an epoch.

    Returns:
        The figures of every epoch by name, and the seconds that training took.

    Raises:
        DataError: the files of a run to be resumed are damaged.
        TrainingError: the loss became infinite or not a number.
        Interrupted: by Ctrl-C.
    """
    # Else TensorFlow would trace the first step twice, once to find that variables are made in it.
    network.optimizer.build(network.trainable_variables)
    progress = Progress(folder, best)
    progress.load(network, len(batches))
    batches.begun = False  # fit begins the first epoch, but looks at its batches before
    fit = fit_on_all_devices if count_devices() > 1 else keras.Model.fit
    try:
        if len(progress.epochs) < epochs:
            fit(
                network,
                batches,
                shuffle=False,  # the batches are shuffled already
                initial_epoch=len(progress.epochs),
                epochs=epochs,
                validation_data=None if validation is None else in_batches(validation),
                callbacks=[
                    StartEpoch(batches),
                    StopOnInfiniteLoss(),
                    *callbacks,
                    progress,
                ],
                verbose=1 if sys.stdout.isatty() else 2,
            )
        if process_id() > 0:  # the figures, the files and the test are those of the first
            return {}, 0.0
        network.load_weights(folder / "model.keras")
    except KeyboardInterrupt:
        raise Interrupted(str(folder)) from None
    history = {name: [row[name] for row in progress.epochs] for name in progress.epochs[0]}
    return history, progress.seconds


# ---------------------------------------------------------------------------------------------
# Several processes or devices
#
# The network of a script, with all that tests it and writes files, belongs to one process and one
# device. Training goes on with a copy of it that Keras spreads over all devices of all processes.
# ---------------------------------------------------------------------------------------------

_ADDRESSES = "KERAS_DISTRIBUTION_JOB_ADDRESSES"
_PROCESSES = "KERAS_DISTRIBUTION_NUM_PROCESSES"
_PROCESS = "KERAS_DISTRIBUTION_PROCESS_ID"


@contextlib.contextmanager
def join_processes(config: RunConfig) -> Iterator[RunConfig]:
    """Join the processes that Keras's variables name, and give the settings for this one.

    KERAS_DISTRIBUTION_JOB_ADDRESSES, _NUM_PROCESSES and _PROCESS_ID are those of
    `keras.distribution.initialize`. Without them there is one process. The first of several is
    the one that a user sees: the others print nothing and write to a folder that is removed.

    Raises:
        SettingError: the variables are incomplete, or the backend is not JAX.
        TrainingError: the first process cannot be reached within a minute.
    """
    addresses, number, index = map(os.environ.get, (_ADDRESSES, _PROCESSES, _PROCESS))
    if addresses is number is index is None:
        yield config
        return
    _check_process_variables(addresses, number, index)
    set_seed(config.seed)  # the same in all, without asking each other
    if process_id() == 0:
        print(f"waiting for the other processes, {number} in all", flush=True)
    else:
        _wait_for_the_first(addresses.split(",")[0])
    keras.distribution.initialize()
    with hold_back_output(), keras.distribution.DataParallel().scope():
        keras.Variable(0.0)  # first exchange: JAX connects the processes, and reports it
    if process_id() == 0:
        yield config
        return
    with (
        tempfile.TemporaryDirectory() as output,
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        changes = {"output": Path(output)}
        if config.resume:
            changes["resume"] = Path(output, "resumed")
            with contextlib.suppress(FileNotFoundError):  # which the run itself reports
                shutil.copytree(config.resume, changes["resume"])
        yield config.model_copy(update=changes)


def _check_process_variables(addresses: str | None, number: str | None, index: str | None) -> None:
    if keras.backend.backend() != "jax":
        raise SettingError(
            f"{_ADDRESSES} and its like are set, but the {keras.backend.backend()} "
            f"backend trains in one process: set KERAS_BACKEND=jax, or unset them"
        )
    for name, value in (_ADDRESSES, addresses), (_PROCESSES, number), (_PROCESS, index):
        if value is None:
            raise SettingError(f"{name} is not set, but other KERAS_DISTRIBUTION_ variables are")
    if not re.fullmatch(r"[^,]+:\d+(,[^,]+:\d+)*", addresses):
        raise SettingError(f"{_ADDRESSES}={addresses}: expected HOST:PORT[,HOST:PORT]")
    if not (number.isdecimal() and index.isdecimal() and int(index) < int(number)):
        raise SettingError(
            f"{_PROCESSES}={number}, {_PROCESS}={index}: expected a number "
            f"of processes and one below it, counted from 0"
        )
    if addresses.count(",") and addresses.count(",") + 1 != int(number):
        raise SettingError(
            f"{_ADDRESSES} names {addresses.count(',') + 1} processes, "
            f"{_PROCESSES} is {number}: name the first, or all"
        )


def _wait_for_the_first(address: str, seconds: float = 60) -> None:
    host, port = address.rsplit(":", 1)
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except (OSError, OverflowError) as error:
            if time.monotonic() > end:
                raise TrainingError(
                    f"the first process can't be reached at {address} ({error})"
                ) from None
            time.sleep(0.2)


def process_id() -> int:
    """Return the number of this process among those that train together, counted from 0."""
    return int(os.environ.get(_PROCESS, 0))


def leave_the_test_to_the_first_process() -> None:
    """End every process but the first, after the training."""
    if process_id() > 0:
        sys.exit()


def count_devices() -> int:
    """Count the devices of all processes that a training is spread over: one, but with JAX."""
    return len(keras.distribution.list_devices()) if keras.backend.backend() == "jax" else 1


def fit_on_all_devices(
    network: keras.Model,
    batches: keras.utils.PyDataset,
    validation_data: keras.utils.PyDataset | None,
    callbacks: list[keras.callbacks.Callback],
    **settings: object,
) -> None:
    """Do what `network.fit` does, on all devices of all processes, each with its share of a batch.

    Every process composes the same batches and takes its part of them. Validation and callbacks
    see `network`, on one device, as it is after every epoch.
    """
    if process_id() > 0:
        validation_data = None
        callbacks = [callback for callback in callbacks if isinstance(callback, StartEpoch)]
    with keras.distribution.DataParallel(auto_shard_dataset=False).scope():
        spread = keras.models.clone_model(network)
        spread.compile_from_config(network.get_compile_config())
        spread.optimizer.build(spread.trainable_variables)
        for ours, copy in zip(network.layers, spread.layers, strict=True):
            if isinstance(ours, keras.layers.Normalization):  # what it uses is not what it saves
                copy.mean, copy.variance = map(
                    keras.ops.convert_to_numpy, (ours.mean, ours.variance)
                )
        try:
            spread.fit(
                _ShareOfBatches(batches),
                callbacks=[_OnOneDevice(network, validation_data, callbacks)],
                **settings,
            )
        except RuntimeError as error:  # of JAX
            if _ADDRESSES not in os.environ:
                raise
            raise TrainingError(
                f"another process has ended or can't be reached ({_one_line(error)}): start all "
                f"again, with --resume and the folder of the run"
            ) from None


class _ShareOfBatches(keras.utils.PyDataset):
    """The part of every batch that the devices of this process train on."""

    def __init__(self, batches: keras.utils.PyDataset) -> None:
        super().__init__()
        self.batches = batches
        self.devices = count_devices()
        self.processes = int(os.environ.get(_PROCESSES, 1))
        self.process = process_id()

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Examples:
        batch = self.batches[index]
        # Every device gets equally many, so that a batch that can't be divided begins again.
        size = math.ceil(len(batch.x) / self.devices) * self.devices
        share = np.split(np.arange(size) % len(batch.x), self.processes)[self.process]
        return Examples(*(part[share] for part in batch))


class _OnOneDevice(keras.callbacks.Callback):
    """Calls back for a network on one device, which begins and ends each epoch as a copy.

    Args:
        network: the one that is handed to the callbacks.
        validation: batches to evaluate it on after each epoch, if any.
    """

    def __init__(
        self,
        network: keras.Model,
        validation: keras.utils.PyDataset | None,
        callbacks: list[keras.callbacks.Callback],
    ) -> None:
        super().__init__()
        self.network = network
        self.validation = validation
        self.callbacks = callbacks
        for callback in callbacks:
            callback.set_model(network)

    @contextlib.contextmanager
    def _one_device(self) -> Iterator[None]:
        """Suspend the distribution, which holds for whatever Keras computes."""
        distribution = keras.distribution.distribution()
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(distribution)

    def _variables(self) -> Iterator[tuple[keras.Variable, keras.Variable]]:
        yield from zip(self.network.variables, self.model.variables, strict=True)
        yield from zip(
            self.network.optimizer.variables, self.model.optimizer.variables, strict=True
        )

    def _call_back(self, hook: str, *arguments: object) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(*arguments)

    def on_train_begin(self, logs: dict | None = None) -> None:
        with self._one_device():
            self._call_back("on_train_begin", logs)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        with self._one_device():
            self._call_back("on_epoch_begin", epoch, logs)
        for ours, spread in self._variables():
            spread.assign(keras.ops.convert_to_numpy(ours.value))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        with self._one_device():
            self.network.optimizer.iterations.assign_add(1)  # it tells the learning rate
            self._call_back("on_train_batch_end", batch, logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        with self._one_device():
            for ours, spread in self._variables():
                ours.assign(keras.ops.convert_to_numpy(spread.value))
            if self.validation is not None:
                figures = self.network.evaluate(self.validation, verbose=0, return_dict=True)
                logs.update({f"val_{name}": value for name, value in figures.items()})
            self._call_back("on_epoch_end", epoch, logs)

    def on_train_end(self, logs: dict | None = None) -> None:
        with self._one_device():
            self._call_back("on_train_end", logs)


def test_classifier(network: keras.Model, test: Examples, folder: Path) -> dict[str, float]:
    """Test a classifier and print its figures with ten answers beside the truth.

    Writes to the run's folder: confusion_matrix.png and misread.png, the most confident mistakes.

    Args:
        network: gives logits (n, classes).

    Returns:
        Loss (mean cross-entropy, in nats), accuracy (0 to 1), count of right answers and of all.
    """
    leave_the_test_to_the_first_process()
    logits = network.predict(in_batches(test), verbose=0)
    losses = keras.losses.sparse_categorical_crossentropy(test.y, logits, from_logits=True)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    right = int((answers == test.y).sum())
    metrics = {
        "test_loss": float(keras.ops.mean(losses)),
        "test_accuracy": right / len(test.y),
        "test_right": right,
        "test_size": len(test.y),
    }
    print(f"\ntest loss {metrics['test_loss']:.4f}")
    print(f"test accuracy {metrics['test_accuracy']:.2%} ({right:,} of {len(test.y):,})")
    print("\ntruth  answer  probability")
    for truth, answer, probability in zip(test.y[:10], answers, confidence, strict=False):
        print(f"{truth:5}  {answer:6}  {probability:11.2%}")

    plot_confusion_matrix(test.y, answers, folder / "confusion_matrix.png")
    wrong = np.flatnonzero(answers != test.y)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:24]
    captions = [f"{test.y[i]} read as {answers[i]}\n{confidence[i]:.1%}" for i in worst]
    plot_images(test.x[worst], captions, folder / "misread.png")
    return metrics


class SequenceValidation(keras.callbacks.Callback):
    """Add the loss and the error rates on validation sequences to the figures of an epoch."""

    def __init__(self, validation: Examples) -> None:
        super().__init__()
        self.validation = validation

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logits = self.model.predict(in_batches(self.validation), verbose=0)
        losses = keras.ops.convert_to_numpy(keras.losses.ctc(self.validation.y, logits))
        rates = error_rates(self.validation.y, read_labels(logits))
        figures = {"loss": float(losses.mean()), **rates}
        logs.update({f"val_{name}": value for name, value in figures.items()})


def test_labeller(
    network: keras.Model, test: Examples, beam_width: int, folder: Path
) -> dict[str, float]:
    """Test a sequence labeller and print its figures with ten readings beside the truth.

    Writes to the run's folder: alignment.png, the probability of every class over the steps, and
    misread.png, the most confident mistakes.

    Args:
        network: gives logits (n, steps, classes), class 0 the blank.
        beam_width: candidates of the beam search.

    Returns:
        Loss (mean over the strips, in nats), label and sequence error rates (0 to 1) of greedy
        decoding and of beam search, count of strips.
    """
    leave_the_test_to_the_first_process()
    logits = network.predict(in_batches(test), verbose=0)
    losses = keras.ops.convert_to_numpy(keras.losses.ctc(test.y, logits))
    reading = read_labels(logits)
    greedy = error_rates(test.y, reading)
    beam = error_rates(test.y, read_labels(logits, beam_width))
    metrics = {
        "test_loss": float(losses.mean()),
        **{f"test_{name}": rate for name, rate in greedy.items()},
        **{f"test_beam_{name}": rate for name, rate in beam.items()},
        "test_size": len(test.x),
    }
    print(f"\ntest loss {metrics['test_loss']:.4f}")
    for name, rates in ("greedy decoding", greedy), (f"beam search, width {beam_width}", beam):
        print(
            f"{name}: label error rate {rates['label_error_rate']:.2%}, sequence error rate "
            f"{rates['sequence_error_rate']:.2%} "
            f"({round(rates['sequence_error_rate'] * len(test.x)):,} of {len(test.x):,})"
        )
    lengths = (test.y != BLANK).sum(axis=1)
    if lengths.min() < lengths.max():
        for length in np.unique(lengths):
            rates = error_rates(test.y[lengths == length], reading[lengths == length])
            metrics |= {f"test_{name}_{length}": rate for name, rate in rates.items()}
            print(
                f"{length} labels: label error rate {rates['label_error_rate']:.2%}, sequence "
                f"error rate {rates['sequence_error_rate']:.2%} of {(lengths == length).sum():,}"
            )
    confidence = confidences(reading, logits)
    rows = [
        (_spell(truth), _spell(answer), f"{probability:.2%}")
        for truth, answer, probability in zip(test.y[:10], reading, confidence, strict=False)
    ]
    widths = [max(7, *(len(row[column]) for row in rows)) for column in range(3)]
    print()
    for row in [("truth", "reading", "probability"), *rows]:
        print("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)))

    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits[:3]))
    plot_alignment(test.x[:3], probabilities, folder / "alignment.png")
    wrong = np.flatnonzero(edit_distances(test.y, reading))
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:24]
    captions = [
        f"{_spell(test.y[i])} read as {_spell(reading[i]) or 'nothing'}\n{confidence[i]:.1%}"
        for i in worst
    ]
    plot_images(test.x[worst].transpose(0, 2, 1), captions, folder / "misread.png", columns=3)
    return metrics


def _spell(labels: np.ndarray) -> str:
    return " ".join(str(label - 1) for label in labels if label != BLANK)


def finish(
    folder: Path, history: dict[str, list[float]], metrics: dict[str, float], seconds: float
) -> dict[str, float]:
    """Write learning_curves.png and metrics.json, say where they are, return the metrics."""
    plot_learning_curves(history, folder / "learning_curves.png")
    metrics = metrics | {_SECONDS: round(seconds, 1)}
    write_json(metrics, folder / "metrics.json")
    print(f"\ntrained in {seconds:.1f} s")
    print(f"wrote {folder}")
    return metrics


class LogBatches(keras.callbacks.Callback):
    """Write the figures of every tenth batch, and its learning rate, for TensorBoard.

    keras.callbacks.TensorBoard(update_freq=10) would then leave out the figures of an epoch whose
    last batch is not a tenth one.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_train_begin(self, logs: dict | None = None) -> None:
        from tensorflow import summary

        self.summary = summary
        self.writer = summary.create_file_writer(str(self.folder / "batches"))

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations.value))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.step += 1  # to look at the model takes long with JAX
        if self.step % 10 == 0:
            with self.writer.as_default(self.step):
                for name, value in logs.items():
                    self.summary.scalar(f"batch_{name}", value)
                rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
                self.summary.scalar("batch_learning_rate", rate)

    def on_train_end(self, logs: dict | None = None) -> None:
        self.writer.close()


def log_result(folder: Path, metrics: dict[str, float]) -> None:
    """Add the figures of the test and the pictures of a run to its TensorBoard log."""
    from tensorflow import io, summary

    with summary.create_file_writer(str(folder)).as_default(step=0):
        for name, value in metrics.items():
            if value is not None:
                summary.scalar(name, value)
        for picture in sorted(folder.glob("*.png")):
            summary.image(picture.stem, io.decode_png(picture.read_bytes(), channels=3)[None])


# ---------------------------------------------------------------------------------------------
# Prediction: pictures that a user has, brought to the form of MNIST
# ---------------------------------------------------------------------------------------------

INK_SHARE = 20 / 28  # MNIST's digits fill a box of 20 x 20 in an image of 28 x 28


def print_predictions(config: RunConfig, script: str) -> None:
    """Print what a trained network reads in each picture of the settings, with its probability.

    Raises:
        SettingError: there is no trained network, or a file of this name can't be a picture.
        DataError: the network or a picture cannot be read.
    """
    formats = Figure().canvas.get_supported_filetypes()
    if config.seen and config.seen.suffix[1:].lower() not in formats:
        raise SettingError(
            f"--seen {config.seen}: the name must end in .png or in another of the formats "
            f"{', '.join(sorted(formats))}"
        )
    path = config.model or newest_model(config.output / Path(script).stem)
    try:
        network = keras.saving.load_model(path, compile=False)
    except Exception as error:  # of Keras, HDF5, zip or JSON
        reason = _one_line(error)
        raise DataError(f"{path} is not a network that Keras can read ({reason})") from None
    size, names = network.input_shape[-1], [layer.name for layer in network.layers]
    if "logits" not in names:
        raise DataError(f"{path} is not a network of these scripts")
    if "steps" in names:
        network = for_any_length(network)
    elif network.input_shape[1] != size:
        shape = f"{network.input_shape[1]} x {size}"
        raise DataError(f"{path} reads images of {shape}, but pictures are brought to a square")
    failed, seen = False, []
    for picture in config.predict:
        try:
            ink = find_ink(picture)
        except DataError as error:
            print(error, file=sys.stderr)
            failed = True
            continue
        if "steps" in names:
            image = to_strip(ink, size)
            answer, probability = predict_labels(network, image)
        else:
            image = to_digit(ink, size)
            answer, probability = predict_digit(network, image)
        print(f"{picture}: {answer} ({probability:.1%})", flush=True)
        seen.append((image, f"{picture.name}: {answer}\n{probability:.1%}"))
    if config.seen and seen:
        width = max(image.shape[1] for image, _ in seen)
        images = [np.pad(image, ((0, 0), (0, width - image.shape[1]))) for image, _ in seen]
        plot_images(np.stack(images), [caption for _, caption in seen], config.seen, columns=3)
        print(f"wrote {config.seen}")
    if failed:
        sys.exit(1)


def newest_model(folder: Path) -> Path:
    """Find the newest model.keras in the runs of a script."""
    models = [*folder.glob("*/model.keras"), *folder.glob("*/*/model.keras")]
    if not models:
        raise SettingError(f"--predict: no trained network in {folder}: train one, or give --model")
    return max(models, key=lambda path: path.stat().st_mtime)


def predict_digit(network: keras.Model, image: np.ndarray) -> tuple[str, float]:
    """Read one digit from an image (height, width); return it with its probability."""
    logits = network.predict_on_batch(image[None])
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))[0]
    return str(probabilities.argmax()), float(probabilities.max())


def for_any_length(network: keras.Model) -> keras.Model:
    """Return a labeller with the same weights that reads strips of any length."""
    if network.input_shape[1] is None:
        return network
    pixels = keras.Input((None, network.input_shape[2]), dtype=network.inputs[0].dtype)
    copy = keras.models.clone_model(network, input_tensors=pixels)
    copy.set_weights(network.get_weights())
    return copy


def predict_labels(network: keras.Model, image: np.ndarray) -> tuple[str, float]:
    """Read the labels of a strip (height, width); return them with their probability."""
    columns = network.get_layer("steps").output.shape[-1] // image.shape[0]
    strip = np.pad(image.T, ((0, -image.shape[1] % columns), (0, 0)))
    logits = network.predict_on_batch(strip[None])
    reading = read_labels(logits)
    return _spell(reading[0]) or "nothing", float(confidences(reading, logits)[0])


def find_ink(path: Path) -> np.ndarray:
    """Find what is written in a picture, dark on light or light on dark, grey or in colour.

    Returns:
        How much ink there is at each pixel, 0 to 1, cut to where there is any, (height, width).

    Raises:
        DataError: the file is no picture, or there is nothing on it.
    """
    try:
        with Image.open(path) as picture:
            picture = ImageOps.exif_transpose(picture)
            if picture.mode.startswith("I"):  # 16 bits a pixel, of which Pillow would cut off
                picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
            picture = picture.convert("RGBA")
            picture.thumbnail((2000, 2000))  # more of a photo only takes time
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or "not a picture that Pillow can read"
        raise DataError(f"{path}: {reason}") from None
    paper = Image.new("RGBA", picture.size, "white")
    grey = Image.alpha_composite(paper, picture).convert("L")
    if min(grey.size) > 60:
        grey = grey.filter(ImageFilter.MedianFilter(3))  # single specks
    brightness = np.asarray(grey, float)
    ink = np.abs(brightness - _paper(brightness))
    darkest = np.partition(ink, -10, axis=None)[-10] if ink.size > 10 else 0
    if darkest < 32:
        raise DataError(f"{path}: an empty page, there is nothing to read")
    ink = (ink / darkest).clip(0, 1)
    ink[ink < 0.2] = 0
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _paper(brightness: np.ndarray) -> np.ndarray:
    """The brightness of the paper, a plane through the picture's edge: light falls unevenly."""
    height, width = brightness.shape
    y, x = np.mgrid[:height, :width]
    plane = np.stack([np.ones_like(x), x / width, y / height], axis=-1)
    edge = np.ones((height, width), bool)
    edge[1:-1, 1:-1] = False
    # Writing that touches the edge does not move the paper: the middle half of the edge counts.
    low, high = np.quantile(brightness[edge], (0.25, 0.75))
    edge &= (brightness >= low) & (brightness <= high)
    coefficients, *_ = np.linalg.lstsq(plane[edge], brightness[edge], rcond=None)
    return plane @ coefficients


def _scaled(ink: np.ndarray, scale: float) -> np.ndarray:
    """Ink at another size, with its darkest pixel 255, uint8."""
    height, width = (max(1, round(length * scale)) for length in ink.shape)
    small = Image.fromarray(ink.astype(np.float32)).resize((width, height), Image.Resampling.BOX)
    pixels = np.asarray(small)
    return np.rint(255 * pixels / pixels.max()).astype(np.uint8)


def to_digit(ink: np.ndarray, size: int = 28) -> np.ndarray:
    """Bring the ink of one digit to the form of MNIST.

    Returns:
        An image (size, size) of uint8; the digit fills a box of 20 x 20, its centre of mass is in
        the middle.

    Source: Y. LeCun, C. Cortes and C. Burges, The MNIST database of handwritten digits.
    """
    digit = _scaled(ink, round(size * INK_SHARE) / max(ink.shape))
    image = np.zeros((size, size), np.uint8)
    top, left = (
        int(np.clip(round(size / 2 - centre), 0, size - length))
        for centre, length in zip(_centre_of_mass(digit), digit.shape, strict=True)
    )
    image[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return image


def to_strip(ink: np.ndarray, size: int = 28) -> np.ndarray:
    """Bring the ink of a line of digits to the form of a strip, uint8, (size, any width)."""
    # Each digit was centred alone, so that a line of them is a little higher than one.
    line = _scaled(ink, round(size * INK_SHARE * 1.1) / ink.shape[0])
    top = int(np.clip(round(size / 2 - _centre_of_mass(line)[0]), 0, size - line.shape[0]))
    margin = round(size * (1 - INK_SHARE) / 2)
    return np.pad(line, ((top, size - line.shape[0] - top), (margin, margin)))


def _centre_of_mass(image: np.ndarray) -> tuple[float, float]:
    y, x = np.indices(image.shape)
    return float((y * image).sum() / image.sum()), float((x * image).sum() / image.sum())


# ---------------------------------------------------------------------------------------------
# Pictures
# ---------------------------------------------------------------------------------------------


def _finish_epoch_axes(axes: Axes, figure_name: str) -> None:
    axes.set(xlabel="epoch", ylabel=figure_name.replace("_", " "))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend()


def plot_learning_curves(history: dict[str, list[float]], path: Path) -> None:
    """Draw every figure of the history over the epochs, training beside validation."""
    names = list(dict.fromkeys(name.removeprefix("val_") for name in history))
    figure = Figure(figsize=(4.5 * len(names), 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for key, style, label in (name, "o-C0", "training"), (f"val_{name}", "s-C1", "validation"):
            if key in history:
                axes.plot(range(1, len(history[key]) + 1), history[key], style, label=label)
        _finish_epoch_axes(axes, name)
    figure.savefig(path, dpi=120)


def plot_comparison(histories: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Draw every figure of several trainings over the epochs, training and validation apart."""
    names = list(next(iter(histories.values())))
    figure = Figure(figsize=(4.5 * len(names), 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for label, history in histories.items():
            axes.plot(range(1, len(history[name]) + 1), history[name], "o-", label=label)
        kind = "validation" if name.startswith("val_") else "training"
        _finish_epoch_axes(axes, f"{kind} {name.removeprefix('val_')}")
    figure.savefig(path, dpi=120)


def plot_alignment(strips: np.ndarray, probabilities: np.ndarray, path: Path) -> None:
    """Draw each strip and under it the probability of every class over the timesteps.

    Args:
        strips: (n, T, D), columns as timesteps.
        probabilities: (n, steps, classes), class 0 the blank; steps divides T.
    """
    n, T, D = strips.shape
    timesteps_a_step = T / probabilities.shape[1]
    centres = (np.arange(probabilities.shape[1]) + 0.5) * timesteps_a_step - 0.5
    figure = Figure(figsize=(10, 3.2 * n + 0.5), layout="constrained")
    axes = figure.subplots(2 * n, 1, sharex=True, height_ratios=[D / T * 7, 1.4] * n)
    for strip, curves, above, below in zip(
        strips, probabilities, axes[::2], axes[1::2], strict=True
    ):
        above.imshow(strip.T, cmap="gray_r", vmin=0, vmax=255, aspect="auto")
        above.set_yticks([])
        below.plot(centres, curves[:, BLANK], "k:", label="blank")
        for digit in range(curves.shape[1] - 1):
            below.plot(centres, curves[:, digit + 1], color=f"C{digit}", label=str(digit))
        below.set(ylabel="probability", ylim=(-0.05, 1.05))
        below.grid(alpha=0.3)
    axes[-1].set_xlabel("timestep (column of the strip)")
    handles, labels = axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=9)
    figure.savefig(path, dpi=120)


def plot_confusion_matrix(truth: np.ndarray, answers: np.ndarray, path: Path) -> None:
    """Draw how often each digit, a row, was read as each digit, a column.

    Args:
        truth, answers: digits, (n,).
    """
    counts = np.bincount(DIGITS * truth.astype(int) + answers, minlength=DIGITS**2)
    counts = counts.reshape(DIGITS, DIGITS)
    mistakes = counts * (1 - np.eye(DIGITS, dtype=int))
    figure = Figure(figsize=(6.5, 6), layout="constrained")
    axes = figure.subplots()
    # Mistakes set the colours: the right answers outnumber them a hundred times.
    image = axes.imshow(mistakes, cmap="Reds", vmin=0, vmax=max(1, mistakes.max()))
    for row, column in np.ndindex(counts.shape):
        axes.text(
            column,
            row,
            counts[row, column] or "",
            ha="center",
            va="center",
            color="white" if mistakes[row, column] > 0.6 * image.norm.vmax else "black",
            fontweight="bold" if row == column else "normal",
        )
    axes.set(xlabel="answer", ylabel="truth", xticks=range(DIGITS), yticks=range(DIGITS))
    axes.set_title(f"{mistakes.sum():,} of {len(truth):,} wrong")
    figure.savefig(path, dpi=120)


def plot_images(images: np.ndarray, captions: list[str], path: Path, columns: int = 6) -> None:
    """Draw images (n, height, width) in a grid, each under its caption."""
    rows = max(1, math.ceil(len(images) / columns))
    height, width = images.shape[1:]
    row_height = 10 / columns * height / width + 0.5  # inches, with room for the caption
    figure = Figure(figsize=(10, row_height * rows), layout="constrained")
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, image, caption in zip(figure.axes, images, captions, strict=False):
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=255)
        axes.set_title(caption, fontsize=9)
    figure.savefig(path, dpi=120)
