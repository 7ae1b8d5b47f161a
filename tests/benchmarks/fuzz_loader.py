"""Throw broken and hostile pickles at the loader.

    python tests/benchmarks/fuzz_loader.py 20000

Each file must load as valid data or end in the loader's own error, within 2 seconds and 1 GiB of
memory, and nothing in it may be executed. Prints how many files did what.
"""

import collections
import gzip
import io
import lzma
import pickle
import resource
import struct
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import common

import numpy as np

ROOT = Path(__file__).parent.parent.parent

SECONDS, MEMORY = 2, 2**30
# What a payload has to do to do anything: audit events of Python that loading data never raises.
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


sys.addaudithook(_watch)


class Payload:
    """Pickles to a call."""

    def __init__(self, call, *arguments):
        self.call = call, arguments

    def __reduce__(self):
        return self.call


def seeds() -> list[bytes]:
    """Sound pickles of every layout, by Python 2 and 3, NumPy before and after 2.0."""
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
    return made + [content for content in real if len(content) < 100_000]


def attacks() -> dict[str, bytes]:
    """Pickles that try to run something, or to fill the memory, by name."""
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
    depth = 200_000
    files |= {
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
        "marks": b"(" * 100_000_000 + b".",
    }
    return files


def bombs() -> dict[str, bytes]:
    """Archives of a few hundred kB that hold more than the memory, by file ending."""
    zeros = b"\x80\x04\x8e" + struct.pack("<Q", 2**31)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:
        file.write(zeros)
        for _ in range(1024):
            file.write(bytes(2**20))
    packer = lzma.LZMACompressor(preset=0)
    squeezed = packer.compress(zeros)
    for _ in range(1024):
        squeezed += packer.compress(bytes(2**20))
    return {".pkl.gz": packed.getvalue(), ".pkl.xz": squeezed + packer.flush()}


def mutated(contents: list[bytes], random: np.random.Generator) -> bytes:
    """Break a sound pickle: cut it, flip bits, splice opcodes, forge shapes and types."""
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
        Whether it was loaded or refused, and the seconds that the slower way took.
    """
    global loading
    results = []
    config = common.RunConfig(data=path)
    for loader in (
        lambda: common.load_digits(config),
        lambda: common.load_strips(config, 1, 2, 0, 0, 1),
    ):
        start = time.perf_counter()
        loading = True
        try:
            loader()
            outcome = "loaded"
        except (common.DataError, common.SettingError) as error:
            outcome = "refused" if str(error).isprintable() else "refused in more than a line"
        finally:
            loading = False
        results.append((outcome, time.perf_counter() - start))
    outcomes, seconds = zip(*results, strict=True)
    return min(outcomes), max(seconds)  # loaded, if it was either way


def fuzz(count: int) -> tuple[collections.Counter, float, int]:
    """Load `count` mutated files, and all attacks.

    Returns:
        How many files were loaded and refused, the seconds of the slowest, the bytes of memory
        that the worst added.
    """
    random = np.random.default_rng(0)
    contents = seeds()
    outcomes: collections.Counter = collections.Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for content in contents:  # sound ones first: what loads lazily is loaded then
            path = folder / "sound.pkl"
            path.write_bytes(content)
            assert load(path)[0] == "loaded", content[:100]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        files = [(mutated(contents, random), ".pkl") for _ in range(count)]
        files += [(content, ".pkl") for content in attacks().values()]
        for content, _ in files[: count // 20]:  # and some of them packed, broken or not
            packed = bytearray(gzip.compress(content))
            if random.random() < 0.5:
                packed[random.integers(len(packed))] ^= 1 << random.integers(8)
            files.append((bytes(packed), ".pkl.gz"))
        files += [(content, ending) for ending, content in bombs().items()]
        for content, ending in files:
            path = folder / f"file{ending}"
            path.write_bytes(content)
            try:
                outcome, seconds = load(path)
            except BaseException:
                Path("failed_file.pkl").write_bytes(content)
                raise
            outcomes[outcome] += 1
            slowest = max(slowest, seconds)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return outcomes, slowest, (after - before) * 1024


def main() -> None:
    """Fuzz with as many mutated files as the command line says; print the figures."""
    outcomes, slowest, memory = fuzz(int(sys.argv[1]))
    print(
        f"{outcomes.total():,} files: {outcomes['loaded']:,} loaded as valid data, "
        f"{outcomes['refused']:,} refused; payloads executed: {len(executed)}; slowest "
        f"{slowest:.2f} s; memory added {memory / 2**20:.0f} MiB"
    )
    if executed or slowest > SECONDS or memory > MEMORY:
        sys.exit(1)


if __name__ == "__main__":
    main()
