"""What everything stands on: a quiet start, errors, seed, optimizer, pickles loaded safely."""

import contextlib
import faulthandler
import gc
import io
import json
import math
import os
import pickle
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, ClassVar, NamedTuple

# The libraries read these when they are first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A recurrent network's many small operations are faster side by side than each split among threads.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")
os.environ.pop("TF_USE_LEGACY_KERAS", None)  # it asks for Keras 2; TensorBoard needs Keras 3

import numpy as np
from pydantic import BaseModel


@contextlib.contextmanager
def hold_back_output() -> Iterator[None]:
    """Hold back what is written to file descriptors 1 and 2; show it only if the block fails.

    The C++ parts of TensorFlow and JAX write a few lines there at any log level. If they abort the
    process, these lines are lost, but the screen shows at which line of Python it happened.
    """
    try:
        sys.stdout.flush()
        outputs = [os.dup(descriptor) for descriptor in (1, 2)]
    except (AttributeError, OSError):  # a program without a console, such as an editor on Windows
        yield
        return
    with tempfile.TemporaryFile() as held:
        if not (says_where := faulthandler.is_enabled()):
            faulthandler.enable(outputs[1])
        for descriptor in (1, 2):
            os.dup2(held.fileno(), descriptor)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(outputs[1], held.read())
            raise
        finally:
            if not says_where:
                faulthandler.disable()
            for descriptor, output in zip((1, 2), outputs, strict=True):
                os.dup2(output, descriptor)
                os.close(output)


def one_line(error: Exception) -> str:
    """Return the first line of an error's message, made printable: files may put anything in it."""
    first = f"{str(error)[:200]} ".splitlines()[0]
    return "".join(c if c.isprintable() else "?" for c in first).strip()


class _NoTensorFlow:
    """Makes a broken TensorFlow look like a package that is not installed, to Keras too.

    An entry None in sys.modules would not: Keras only asks whether there is an entry.
    """

    def find_spec(self, name: str, *_: object) -> None:
        if name == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@hold_back_output()
def import_tensorflow() -> str:
    """Import TensorFlow, as Keras does later with any backend; hide it from Keras if it is broken.

    Returns:
        What is broken, in one line; "" if nothing is, or if it is not installed.
    """
    try:
        import tensorflow

        # Each network has functions of its own, so it is no fault that each is traced anew.
        tensorflow.get_logger().addFilter(lambda record: "retracing" not in record.getMessage())
    except Exception as error:  # a broken package may raise anything
        if getattr(error, "name", None) != "tensorflow":  # else it is not installed
            sys.modules.pop("tensorflow", None)
            sys.meta_path.insert(0, _NoTensorFlow())
            return one_line(error)
    return ""


def choose_backend(broken: str = "") -> None:
    """Set KERAS_BACKEND, unless the user has set it, to the first backend that is installed.

    First comes the one in keras.json, where Keras itself writes "tensorflow"; then TensorFlow; then
    JAX. If there is none, or not the one that the user has set, end with a message and exit code 2.

    Args:
        broken: what `import_tensorflow` has returned; if it is not empty, TensorFlow is not chosen.
    """
    chosen = os.environ.get("KERAS_BACKEND")
    try:
        folder = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
        named = str(json.loads((folder / "keras.json").read_text())["backend"])
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):  # no such file, or damaged
        named = ""
    names = [chosen] if chosen else [named, "tensorflow", "jax"]
    can_train = {"tensorflow", "jax", "torch"} - ({"tensorflow"} if broken else set())
    installed = [name for name in names if name in can_train and find_spec(name)]
    if broken and "tensorflow" in names:
        backend = f": the backend is {installed[0]}" if installed else ", see README.md"
        print(f"tensorflow cannot be imported ({broken}){backend}", file=sys.stderr)
    elif not installed:
        wanted = chosen or "tensorflow or jax"
        print(f"{wanted} is not installed, or cannot train: see README.md", file=sys.stderr)
    if not installed:
        sys.exit(2)
    os.environ["KERAS_BACKEND"] = installed[0]


# A notebook names in MPLBACKEND what shows its pictures: if that is missing, nothing can be drawn.
shown_by = os.environ.get("MPLBACKEND", "")
if shown_by.startswith("module://") and not find_spec(shown_by[9:].split(".")[0]):
    del os.environ["MPLBACKEND"]
choose_backend(import_tensorflow())
with hold_back_output():
    import keras
keras.config.set_floatx("float32")  # whatever keras.json says
keras.config.set_image_data_format("channels_last")
# From Keras 3.16 on, a recurrent layer warns that it does not pass its mask on. That does no harm:
# lesson 3 gives the mask to each layer.
MASK_WARNING = (
    r"Layer .* \(of type (Bidirectional|SimpleRNN|GRU|LSTM)\) was passed an input with a mask"
)
warnings.filterwarnings("ignore", MASK_WARNING)
LAYOUT = "((x_train, y_train), (x_test, y_test))"  # of a data file
DATA_FILE = Path(__file__).resolve().parent / "data" / "mnist.pkl.gz"
LARGEST_DATA = 448 * 2**20  # bytes of a pickle after decompression; MNIST in float64 needs 439e6
LONGEST_PROGRAM = 1_000_000  # instructions of a pickle; a sequence takes about 30
LONGEST_LINE = 2**27  # bytes of an instruction that is a line of text, as in protocol 0


class SettingError(Exception):
    """A setting that does not fit the data or the machine. The script ends with exit code 2."""


class DataError(Exception):
    """Data that cannot be used. The script ends with exit code 1."""


class RefusedContent(Exception):
    """Content of a file, sound or not, that is not accepted; the message says what it is."""


class TrainingError(Exception):
    """Training that cannot go on. The script ends with exit code 1."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in a training; the message is the run's folder. The script ends with exit code 130."""


class Examples(NamedTuple):
    """Inputs x and targets y, one of each per example."""

    x: np.ndarray
    y: np.ndarray


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Yield a path to write to; after the block, move what was written to the place of `path`.

    So a crash or a full disk leaves the old file or none, but never half a file.
    """
    unfinished = path.with_name(f"unfinished_{path.name}")
    try:
        yield unfinished
        with unfinished.open("r+b") as file:  # Windows flushes only what it may write to
            os.fsync(file.fileno())  # a power cut must not leave the name without the content
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def set_seed(seed: int) -> None:
    """Begin anew: whatever this process did before, the same seed repeats a run to the last bit."""
    distribution = keras.distribution.distribution()
    keras.utils.clear_session()  # layers are numbered from the beginning again
    keras.distribution.set_distribution(distribution)  # the devices stay
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()


def one_cycle(peak: float, *, steps: int, warmup: float) -> keras.optimizers.schedules.CosineDecay:
    """Return a learning rate that climbs linearly to its peak and falls along a cosine to 0.

    Args:
        peak: the highest learning rate; the first is a 25th of it, unless `warmup` is 0.
        steps: number of weight updates of the whole training.
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


def with_learning_rate(config: BaseModel, rates: dict[str, tuple[float, float]]) -> BaseModel:
    """Return a lesson's settings with a learning rate: their own, or else that of a table.

    Args:
        rates: for each optimizer, the highest rate for GRU and LSTM, and that for SimpleRNN. A
            constant schedule takes a quarter of it.

    Raises:
        SettingError: patience may end the training early, but the schedule has a fixed end.
    """
    if config.patience and config.schedule != "constant":
        raise SettingError(
            f"--patience {config.patience} goes with --schedule constant: one cycle ends with the "
            f"epochs that are planned"
        )
    rate = rates[config.optimizer][config.cell == "SimpleRNN"]
    rate = rate / 4 if config.schedule == "constant" else rate
    return config.model_copy(update={"learning_rate": config.learning_rate or rate})


def optimizer(config: BaseModel, *, updates: int) -> keras.optimizers.Optimizer:
    """Make the optimizer that the settings name; only AdamW decays weights.

    Muon makes the update of each weight matrix of the recurrent layers nearly orthogonal, so that
    the matrix changes about equally in all directions. A GRU's two rows of biases are such a matrix
    too. All other biases, and the layer named "logits", learn as with Adam.

    Args:
        updates: number of weight updates of the whole training.

    Source: K. Jordan, Muon (2024), https://kellerjordan.github.io/posts/muon
    """
    rate = config.learning_rate
    if config.schedule == "one-cycle":
        rate = one_cycle(rate, steps=updates, warmup=config.warmup)
    settings = {"learning_rate": rate, "global_clipnorm": config.clip_norm}
    if config.optimizer == "Muon":
        settings |= {"weight_decay": None, "adam_weight_decay": None, "exclude_layers": ["logits"]}
    return getattr(keras.optimizers, config.optimizer)(**settings)


# Pickles. A pickle is a program. This unpickler runs only the instructions that numbers, strings,
# lists and arrays need, and calls nothing of NumPy: the names that NumPy writes into a pickle lead
# to the stand-ins below, which make an array if its shape, type and bytes agree.
# Messages show only the beginning of a text, and no list: one in a file can be endless to print.


class _PickledType:
    """Stand-in for numpy.dtype."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not re.fullmatch(r"[?]|b1|[iu][1248]|f[248]|O8?", code):
            raise RefusedContent(f"an array of type {code[:20]!r} is not data")
        self.dtype = np.dtype(code)

    def set_state(self, state: tuple) -> None:
        if state[1] not in ("<", ">", "|", "=") or state[2:5] != (None, None, None):
            raise RefusedContent("an array of structures is not data")
        self.dtype = self.dtype.newbyteorder(state[1])


class PickledArray:
    """Stand-in for numpy.ndarray; `array` is None until the pickle has given shape and content."""

    array = None

    def set_state(self, state: tuple) -> None:
        self.array = _pickled_array(*state[1:])


def _pickled_array(
    shape: tuple, kind: _PickledType, by_column: bool, content: bytes | str | list
) -> np.ndarray | list:
    """Make an array, or a list if it is one of objects."""
    if len(shape) > 9 or any(
        type(length) is not int or not 0 <= length < 2**40 for length in shape
    ):
        raise RefusedContent("an array of such a shape is not data")
    if kind.dtype.hasobject:
        if shape != (len(content),):
            raise RefusedContent(
                f"an array of objects of shape {shape} is not data: make it of numbers"
            )
        return list(content)
    if isinstance(content, str):  # written by Python 2, read as latin1
        content = content.encode("latin1")
    return array_of(content, shape, kind.dtype, by_column=by_column)


def array_of(
    content: bytes, shape: tuple[int, ...], dtype: np.dtype, *, by_column: bool
) -> np.ndarray:
    """Make an array of bytes, in this machine's byte order; ValueError if their number is wrong."""
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"shape {shape}, type {dtype}, but {len(content)} bytes")
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if by_column else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


# By the names of NumPy before version 2, into which `find_class` translates the newer ones.
_STAND_INS = {
    ("numpy", "ndarray"): None,  # only ever named as an argument of _reconstruct
    ("numpy", "dtype"): _PickledType,
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: PickledArray(),
    ("numpy.core.multiarray", "scalar"): lambda kind, content: _pickled_array(
        (), kind, False, content
    ).item(),
    ("numpy.core.numeric", "_frombuffer"): lambda content, kind, shape, order: _pickled_array(
        shape, kind, order == "F", content
    ),
    ("_codecs", "encode"): None,  # see _DataUnpickler
}


class LimitedFile(io.RawIOBase):
    """A file that can be read up to LARGEST_DATA bytes, so that no archive fills the memory."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.left = LARGEST_DATA

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        content = self.file.read(min(len(buffer), 2**20))  # an archive holds it twice for a while
        self.left -= len(content)
        if self.left < 0:
            raise RefusedContent(f"it holds more than {LARGEST_DATA >> 20} MiB")
        buffer[: len(content)] = content
        return len(content)


class _LimitedLines(io.BufferedReader):
    """Refuses lines of more than `longest` bytes: decoding one takes several times its size.

    `_LimitedInstructions` sets `longest` before each instruction.
    """

    def readline(self) -> bytes:
        line = super().readline(self.longest)
        if len(line) == self.longest:
            raise RefusedContent(f"it holds a line of {self.longest:,} bytes or more")
        return line


_PLAIN_INSTRUCTIONS = """
    PROTO MARK STOP POP POP_MARK NONE NEWTRUE NEWFALSE INT LONG LONG1 BININT BININT1 BININT2 FLOAT
    BINFLOAT STRING BINSTRING SHORT_BINSTRING SHORT_BINUNICODE BINBYTES SHORT_BINBYTES BINBYTES8
    EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 PUT BINPUT LONG_BINPUT
    MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE
""".split()  # noqa: SIM905  a list of 42 lines says no more


class _LimitedInstructions(dict):
    """An instruction table that refuses a program of too many instructions: none runs for long."""

    left = LONGEST_PROGRAM

    def __getitem__(self, code: int) -> Callable:
        self.left -= 1
        if self.left < 0:
            raise RefusedContent(
                f"it has more than {LONGEST_PROGRAM:,} instructions: make one array of many numbers"
            )
        # INT, LONG, FLOAT, PUT and GET read a number: twice as many digits take four times as long.
        self.file.longest = 40 if code in b"ILFpg" else LONGEST_LINE
        return super().__getitem__(code)

    def __missing__(self, code: int) -> Callable:
        if code in (pickle.EMPTY_DICT[0], pickle.DICT[0]):
            raise RefusedContent(f"it holds a dictionary; expected {LAYOUT}")
        if self.left == LONGEST_PROGRAM - 1:
            raise RefusedContent("it is neither a pickle nor a .npz file")
        raise RefusedContent(f"its instruction {bytes([code])!r} is not one of plain data")


# The unpickler written in Python: one can choose its instructions, and its memo is a dictionary,
# whereas the one written in C allocates as many entries as the largest index that a file names.
class _DataUnpickler(pickle._Unpickler):
    def __init__(self, file: _LimitedLines) -> None:
        super().__init__(file, encoding="latin1")
        self.dispatch = _LimitedInstructions(self.data_instructions)
        self.dispatch.file = file
        self.globals_left = 1000  # NumPy's pickles write each name once, then take it from the memo
        self.encoded_left = LARGEST_DATA

    def find_class(self, module: str, name: str) -> object:
        self.globals_left -= 1
        old = module.replace("numpy._core.", "numpy.core."), name
        if old not in _STAND_INS or self.globals_left < 0:
            raise RefusedContent(f"it asks for {module:.40}.{name:.40}, which is not data")
        return self.latin1_bytes if name == "encode" else _STAND_INS[old]

    def latin1_bytes(self, text: str, encoding: str) -> bytes:
        self.encoded_left -= len(text)  # a file can name one text many times
        if encoding != "latin1" or self.encoded_left < 0:
            raise RefusedContent(f"it encodes {len(text)} characters, as no array of numbers does")
        return text.encode("latin1")

    def load_text(self) -> None:
        """Read a line of text; protocol 0 writes bytes as text too, as characters up to 255."""
        line = self.readline()[:-1]
        if re.search(rb"\\(U|u(?!00))", line):  # one wider character would widen all
            raise RefusedContent("it holds text that is not latin1")
        self.append(str(line, "raw-unicode-escape"))

    def load_utf8_text(self) -> None:
        content = self.read(int.from_bytes(self.read(4), "little"))
        if np.frombuffer(content, np.uint8).max(initial=0) > 0xC3:
            raise RefusedContent("it holds text that is not latin1")
        self.append(str(content, "utf-8"))

    data_instructions: ClassVar = {
        **{
            code: pickle._Unpickler.dispatch[code]
            for (code,) in (getattr(pickle, name) for name in _PLAIN_INSTRUCTIONS)
        },
        pickle.BUILD[0]: lambda self: self.stack[-2].set_state(self.stack.pop()),
        pickle.FRAME[0]: lambda self: self.read(8),  # how far to read ahead
        pickle.BYTEARRAY8[0]: pickle._Unpickler.dispatch[pickle.BINBYTES8[0]],
        pickle.UNICODE[0]: load_text,
        pickle.BINUNICODE[0]: load_utf8_text,
    }


def load_pickle(file: BinaryIO) -> object:
    """Read a pickle of plain data, without running any code in it.

    Returns:
        Numbers, strings, lists and tuples as they are; arrays, or stand-ins that have an `array`.

    Raises:
        RefusedContent: it holds something that is not data.
        Exception: of any kind; it is damaged.
    """
    reader = _LimitedLines(LimitedFile(file))
    gc.disable()  # the collector would search the growing lists again and again
    try:
        content = _DataUnpickler(reader).load()
    finally:
        gc.enable()
    if reader.read(1):  # an archive checks its checksum when its end is read
        raise ValueError("something follows after its end")
    return content
