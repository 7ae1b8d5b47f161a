"""Make mnist.pkl.gz from the four original files of MNIST.

    python data/make_mnist.py FOLDER

FOLDER holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
t10k-labels-idx1-ubyte, plain or with .gz. Each must have the SHA-256 written below.
"""

import gzip
import hashlib
import os
import pickle
import sys
import zlib
from pathlib import Path

import numpy as np
import tyro

SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
TARGET = Path(__file__).with_name("mnist.pkl.gz")


def read_idx(folder: Path, name: str) -> np.ndarray:
    """Read one IDX file of unsigned bytes, checked against its SHA-256.

    The third byte of the file is the type (8: unsigned byte), the fourth the number of axes;
    the length of each axis follows as a big-endian 32-bit integer, then the values.
    """
    plain, packed = folder / name, folder / f"{name}.gz"
    if not (plain.exists() or packed.exists()):
        sys.exit(f"{plain} is missing (so is {packed.name}): name the folder of the four files")
    try:
        content = gzip.decompress(packed.read_bytes()) if packed.exists() else plain.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error):
        sys.exit(f"{packed} is damaged: download it again")
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        sys.exit(f"{folder / name} is not the original file: its SHA-256 is another")
    axes = content[3]
    shape = np.frombuffer(content, ">i4", count=axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def main(folder: tyro.conf.Positional[Path]) -> None:
    """Check the four files, join them and write them beside this script.

    Args:
        folder: holds the four files, plain or with .gz.
    """
    x_train, y_train, x_test, y_test = (read_idx(folder, name) for name in SHA256)
    content = pickle.dumps(((x_train, y_train), (x_test, y_test)), protocol=4)
    unfinished = TARGET.with_name(f"{TARGET.name}.part")
    unfinished.write_bytes(gzip.compress(content, compresslevel=6, mtime=0))
    os.replace(unfinished, TARGET)
    print(f"wrote {TARGET}; SHA-256 uncompressed: {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    tyro.cli(main)
