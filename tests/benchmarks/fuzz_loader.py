"""Throw broken and hostile pickles and .npz files at the loader.

    python tests/benchmarks/fuzz_loader.py 20000

Each file must load as valid data or end in the loader's own error, within 2 seconds and 1 GiB of
memory, and nothing in it may be executed. Prints a Markdown table of how many files did what.
"""

import codecs
import collections
import contextlib
import gc
import gzip
import io
import lzma
import pickle
import re
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import common

import numpy as np
from machine import machine

from support import data_files, digits, strips

ROOT = Path(__file__).parent.parent.parent

SECONDS, MEMORY = 2, 2**30
# Audit events of Python: a payload must raise one to do anything, and loading data raises none.
EXECUTION = (
    *("exec", "compile", "import", "code.__new__", "os.system", "os.exec", "os.fork"),
    *("os.posix_spawn", "os.spawn", "subprocess.Popen", "os.remove", "os.mkdir", "os.rename"),
    *("socket.__new__", "shutil.rmtree", "ctypes.dlopen", "webbrowser.open", "builtins.input"),
)

executed: list[str] = []
loading = False


def _watch(event: str, arguments: tuple) -> None:
    if loading and event in EXECUTION:
        executed.append(event)


for codec in "raw_unicode_escape", "cp437":  # or Python would import them while a file is loaded
    codecs.lookup(codec)
sys.addaudithook(_watch)


class Payload:
    """An object whose pickle calls something."""

    def __init__(self, call, *arguments):
        self.call = call, arguments

    def __reduce__(self):
        return self.call


def seeds() -> list[bytes]:
    """Return sound files of every layout, by Python 2 and 3, and by NumPy before and after 2.0."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (24, 6, 6), np.uint8)
    labels = (np.arange(24) % 10).astype(np.uint8)
    flat = (images.reshape(24, 36) / 256).astype(np.float32)
    sequences = [images[0, : 2 + i % 4] for i in range(24)]
    ragged = np.empty(24, object)
    ragged[:] = sequences
    label_lists = [[i % 10, (i + 1) % 10] for i in range(24)]
    layouts = [
        ((images, labels), (images, labels)),
        ((flat, labels), (flat, labels), (flat, labels)),
        ((sequences, label_lists), (sequences, label_lists)),
        ((ragged, label_lists), (ragged, label_lists)),
        ((np.asfortranarray(images), labels.astype(">i8")), (images.astype("f8"), labels.tolist())),
    ]
    made = [pickle.dumps(layout, protocol) for layout in layouts for protocol in range(6)]
    real = [gzip.decompress(path.read_bytes()) for path in (ROOT / "tests/pickles").glob("*.gz")]
    arrays = dict(zip(data_files.NPZ_NAMES, (images, labels) * 2, strict=True))
    for save in np.savez, np.savez_compressed:
        save(file := io.BytesIO(), **arrays)
        made += [file.getvalue()] * 5  # as many as there are of a pickle's layout
    return made + [content for content in real if len(content) < 100_000]


def attacks() -> dict[str, bytes]:
    """Return, by name, pickles that try to run something, or to fill the memory."""
    import builtins
    import os
    import shutil
    import subprocess

    calls = {
        "os.system": Payload(os.system, "true"),
        "eval": Payload(builtins.eval, "__import__('os').system('true')"),
        "exec": Payload(builtins.exec, "import os; os.system('true')"),
        "open": Payload(builtins.open, "stolen", "w"),
        "subprocess": Payload(subprocess.Popen, ["true"]),
        "rmtree": Payload(shutil.rmtree, "/nowhere"),
        "getattr": Payload(builtins.getattr, "", "__class__"),
        "numpy.load": Payload(np.load, "x.npy"),
        "numpy.fromfile": Payload(np.fromfile, "/etc/hostname", "u1"),
        "numpy.memmap": Payload(np.memmap, "/etc/hostname"),
        "huge array": Payload(np.ndarray, (2**40,), "u1"),
        "bytearray": Payload(builtins.bytearray, 2**36),
        "range": Payload(list, range(2**40)),
    }
    files = {
        f"{name}, protocol {protocol}": pickle.dumps(((payload, 0), (0, 0)), protocol)
        for name, payload in calls.items()
        for protocol in range(6)
    }
    nothing = np.zeros((2**31 - 1, 0), np.uint8)
    files["rows of nothing"] = pickle.dumps(((nothing, [[1]]), (nothing, [[1]])))
    # Lists in lists, each of which names the one before twice: no message may show them.
    endless = b"".join(b"(h%ch%clq%c0" % (index, index, index + 1) for index in range(24))
    endless = b"]q\x000" + endless + b"h\x18"
    array = b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01%scnumpy\ndtype\n(U\x02u1tR\x89U\x01atb"
    layout = b"((%s](K\x01et(]]tt."
    depth = 200_000
    files |= {
        "type of endless lists": b"cnumpy\ndtype\n" + endless + b"\x85R.",
        "encoding of endless lists": b"c_codecs\nencode\nU\x01a" + endless + b"\x86R.",
        "shape of endless lists": layout % (array % (b"(" + endless + b"t")),
        "shape of many numbers": layout % (array % (b"(" + b"J\xff\xff\xff\x7f" * 500_000 + b"t")),
        "deep list": b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b".",
        "deep tuple": b"\x80\x02)" + b"\x85" * depth + b".",
        "list in itself": b"\x80\x02]q\x00h\x00ah\x00a.",
        "references that double": b"\x80\x02]" + b"2a" * 10_000 + b".",
        "memo of 2**31": b"\x80\x02]r\xff\xff\xff\x7f.",
        "string of 2**62": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".",
        "frame of 2**62": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b".",
        "number of 2**31 bytes": b"\x80\x02\x8b\xff\xff\xff\x7f.",
        "number of a million digits": b"I" + b"9" * 1_000_000 + b"\n.",
        "persistent id": b"\x80\x02U\x01aQ.",
        "extension": b"\x80\x02\x82\x01.",
        "instance": b"(ios\nsystem\n.",
        "object": b"(cos\nsystem\nU\x04trueo.",
        "newobj": b"\x80\x02cos\nsystem\n)\x81.",
        "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.",
        "nothing": b"",
        "only stop": b".",
        "marks": b"(" * 10_000_000 + b".",
    }
    return files


def large_attacks() -> Iterator[tuple[str, bytes]]:
    """Make small archives that become large, each with the name of a file."""
    limit = common.LARGEST_DATA

    def packed(*pieces: object) -> bytes:
        """Compress pieces: bytes, a count of zeros, or one of these repeated, (bytes, count)."""
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as file:
            for piece in pieces:
                content, count = piece if isinstance(piece, tuple) else (piece, 1)
                if isinstance(content, int):
                    content, count = bytes(2**20), content >> 20
                for _ in range(count):
                    file.write(content)
        return buffer.getvalue()

    def data(x: object, y: object) -> bytes:
        return gzip.compress(pickle.dumps(((x, y), (x, y)), 4), 1)

    zeros = b"\x80\x04\x8e" + struct.pack("<Q", 2**31)
    yield "endless bytes.pkl.gz", packed(zeros, 2**31)
    packer = lzma.LZMACompressor(preset=0)
    squeezed = packer.compress(zeros)
    for _ in range(1024):
        squeezed += packer.compress(bytes(2**20))
    yield "endless bytes.pkl.xz", squeezed + packer.flush()
    most = limit - 2**20
    for name, opcode, size in (
        *(("bytes", b"\x8e", 8), ("bytearray", b"\x96", 8), ("frame", b"\x95", 8)),
        *(("text", b"X", 4), ("old string", b"T", 4)),
    ):
        start = b"\x80\x05" + opcode + most.to_bytes(size, "little")
        yield f"as much {name} as is taken.pkl.gz", packed(start, most, b".")
    smile = "\N{GRINNING FACE}".encode()
    start = b"\x80\x02X" + struct.pack("<I", most + len(smile))
    yield (
        "text with a wide character.pkl.gz",
        packed(start, (b" " * 2**20, most >> 20), smile, b"."),
    )
    yield (
        "text encoded again and again.pkl.gz",
        packed(
            b"\x80\x02(c_codecs\nencode\nq\x00X",
            struct.pack("<I", 2**26),
            2**26,
            b"q\x01U\x06latin1q\x020",
            (b"h\x00h\x01h\x02\x86R", 1000),
            b"l.",
        ),
    )
    for name, line in ("string", b"S'"), ("text", b"V"):
        many = (b"\\" * 2**20, most >> 20)
        yield f"line of {name}.pkl.gz", packed(line, many, b"'\n.")
    yield "text with a wide escape.pkl.gz", packed(b"V", (b" " * 2**20, 100), b"\\U0001F600\n.")
    nines = b"9" * 4000
    for name, line in ("numbers", b"I%s\n"), ("old numbers", b"L%sL\n"), ("fractions", b"F%s\n"):
        yield f"long {name}.pkl.gz", packed((line % nines, 110_000), b".")
    million = 1_000_000
    yield "globals.pkl.gz", packed((b"cnumpy\nndarray\n", million), b".")
    yield "nested lists.pkl.gz", packed((b"]", million - 2), b".")
    yield "marks.pkl.gz", packed((b"(", million - 2), b".")
    yield (
        "types.pkl.gz",
        packed(b"cnumpy\ndtype\nq\x00", (b"h\x00U\x02u1\x85R0", million // 6), b"."),
    )

    one = np.zeros((most, 1, 1), np.uint8)
    np.savez_compressed(
        file := io.BytesIO(), **dict.fromkeys(data_files.NPZ_NAMES, one[: most // 4])
    )
    yield "four large arrays.npz", file.getvalue()
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        for name in range(100_000):
            archive.writestr(f"{name}.npy", b"")
    yield "many arrays.npz", file.getvalue()
    few = np.zeros(24, np.uint8)
    yield "images of a pixel.pkl.gz", data(one[: most // 4], few)
    yield "labels without end.pkl.gz", data(one[: most // 8], one[: most // 8, 0, 0])
    yield "timesteps of a pixel.pkl.gz", data(one[: most // 4], [[1]])
    yield "an image of fractions.pkl.gz", data(np.zeros((1, 2**13, 3000)), few[:1])
    by_column = np.zeros((2, 2**12, 6000), order="F")
    yield "two images by columns.pkl.gz", data(by_column, few[:2])
    by_column[1, -1, -1] = np.nan
    yield "two images by columns and no number.pkl.gz", data(by_column, few[:2])
    big_endian = np.zeros((1000, 100), ">f8")
    yield "an array many times.pkl.gz", data([big_endian] * 90_000, [[1]] * 90_000)
    labels = [1] * 400_000
    yield "a list many times.pkl.gz", data([big_endian] * 500, [labels] * 500)
    yield "text for labels.pkl.gz", data([[1]], "\0" * most)
    yield (
        "one-hot labels without end.pkl.gz",
        data([[1]], np.eye(2, dtype="u1").repeat(most // 4, 0)),
    )
    yield "black and white.pkl.gz", data(one.reshape(-1, 2**10, 2**9) + np.uint8(1), few)
    lengths = [np.zeros((100_000, 1), np.uint8)] + [np.zeros((9, 1), np.uint8)] * 20_000
    yield "a long label list.pkl.gz", data(lengths, [np.zeros(100_000, np.uint8)] + [[1]] * 20_000)
    kinds = [np.zeros((1, 1), np.float64), one[: most // 3, 0]]
    yield "sequences of two types.pkl.gz", data(kinds, [[1], [1]])
    signed = [np.zeros((10_000, 100), np.int8)] * 100
    yield "a valid archive of 190 MiB.pkl.gz", data(signed, [[1]] * 100)


def mutated(contents: list[bytes], random: np.random.Generator) -> bytes:
    """Break one of some sound files: cut it, flip bits, splice opcodes, forge shapes and types."""
    content = bytearray(contents[random.integers(len(contents))])

    def somewhere() -> int:
        return int(random.integers(len(content)))

    for _ in range(random.integers(1, 4)):
        kind = random.integers(6)
        if kind == 0:
            del content[somewhere() + 1 :]
        elif kind == 1:
            for _ in range(random.integers(1, 9)):
                content[somewhere()] ^= 1 << random.integers(8)
        elif kind == 2:  # opcodes, any of them
            at = somewhere()
            content[at : at + random.integers(2)] = bytes(random.choice(OPCODES, 3).tolist())
        elif kind == 3:  # a piece of another file
            other = contents[random.integers(len(contents))]
            start = random.integers(len(other))
            at = somewhere()
            content[at : at + random.integers(40)] = other[start : start + random.integers(1, 60)]
        elif kind == 4:  # a shape or a length: BININT1, BININT2 and BININT of other values
            at = max(content.find(b"K", somewhere()), 0)
            number = int(random.choice([0, 1, 255, 2**15, 2**31 - 1, -1, 2**30]))
            content[at : at + 2] = b"J" + struct.pack("<i", number)
        else:  # a type
            for old in b"u1", b"f4", b"i8", b"O8", b"f8":
                if old in content:
                    new = random.choice([b"O8", b"f8", b"V9", b"U9", b"M8", b"c8", b"S0", b"i1"])
                    content = content.replace(old, bytes(new), 1)
                    break
        if not content:
            break
    return bytes(content)


OPCODES = sorted(pickle._Unpickler.dispatch)


def load(path: Path) -> tuple[str, float]:
    """Load a file as classic.py does and as the sequence scripts do.

    Returns:
        "loaded", in either way, "refused" or "refused in more than a line"; and the seconds of the
        slower way.
    """
    global loading
    results = []
    for loader in (
        lambda: digits.load_digits(path),
        lambda: strips.load_strips(path, shortest=1, longest=2),
    ):
        gc.collect()  # an error keeps alive what was loaded before it
        start = time.perf_counter()
        loading = True
        try:
            with contextlib.redirect_stdout(None):
                loader()
            outcome = "loaded"
        except (common.DataError, common.SettingError) as error:
            outcome = "refused" if str(error).isprintable() else "refused in more than a line"
        finally:
            loading = False
        results.append((outcome, time.perf_counter() - start))
    outcomes, seconds = zip(*results, strict=True)
    return min(outcomes), max(seconds)  # "loaded" comes first in the alphabet


def files(count: int, large: bool, random: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Make the files to load, each with its name: `count` mutations and all attacks."""
    contents = seeds()
    for index in range(count):
        content = mutated(contents, random)
        yield f"mutation {index}.pkl", content
        if index % 20 == 0:  # some of them packed, broken or not
            packed = bytearray(gzip.compress(content))
            if random.random() < 0.5:
                packed[random.integers(len(packed))] ^= 1 << random.integers(8)
            yield f"packed mutation {index}.pkl.gz", bytes(packed)
    for name, content in attacks().items():
        yield f"{name}.pkl", content
    if large:
        yield from large_attacks()


class Peak:
    """The most memory that this process has taken since `start`, in bytes.

    Linux forgets the peak on demand; elsewhere it is that of the whole life of the process.
    """

    def start(self) -> None:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self.before = self.read()

    def read(self) -> int:
        with contextlib.suppress(OSError):
            status = Path("/proc/self/status").read_text()
            return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024
        if sys.platform == "win32":
            return 0  # not watched there
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Worst(NamedTuple):
    """The largest figure of all files, and which file it was."""

    figure: float
    name: str


def fuzz(count: int, large: bool = True) -> tuple[collections.Counter, Worst, Worst]:
    """Load `count` mutated files, and all attacks.

    Args:
        large: load the large attacks too, which takes minutes.

    Returns:
        How many files were loaded and refused; the seconds of the slowest; the most bytes of memory
        that a file took in addition to what the process held before.
    """
    outcomes: collections.Counter = collections.Counter()
    slowest = largest = Worst(0, "")
    peak = Peak()
    gc.freeze()  # garbage collection then skips what the libraries hold
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "sound.pkl"
        for content in seeds():  # sound ones first: what loads lazily is loaded then
            path.write_bytes(content)
            assert load(path)[0] == "loaded", content[:100]
        for name, content in files(count, large, np.random.default_rng(0)):
            path = path.with_name("file" + "".join(Path(name).suffixes))
            path.write_bytes(content)
            peak.start()
            try:
                outcome, seconds = load(path)
                if seconds > SECONDS:  # once, it may be the machine that was slow
                    seconds = min(seconds, load(path)[1])
            except BaseException:
                Path("failed_file.pkl").write_bytes(content)
                raise
            outcomes[outcome] += 1
            slowest = max(slowest, Worst(seconds, name))
            largest = max(largest, Worst(peak.read() - peak.before, name))
    return outcomes, slowest, largest


def main() -> None:
    """Fuzz with as many mutated files as the command line says; print the figures."""
    print(machine("keras", "tensorflow"))
    outcomes, slowest, largest = fuzz(int(sys.argv[1]))
    heads = "files", "loaded as valid data", "refused", "executed", "slowest", "most memory"
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    print(
        f"| {outcomes.total():,} | {outcomes['loaded']:,} | {outcomes['refused']:,} | "
        f"{len(executed)} | {slowest.figure:.2f} s ({slowest.name}) | "
        f"{largest.figure / 2**20:.0f} MiB ({largest.name}) |"
    )
    if executed or slowest.figure > SECONDS or largest.figure > MEMORY:
        sys.exit(1)


if __name__ == "__main__":
    main()
