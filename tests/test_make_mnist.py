"""data/make_mnist.py: the data file can be made again."""

import gzip
import struct
import subprocess
import sys

import common

import pytest

from support import digits


@pytest.mark.slow
def test_the_data_file_is_made_again_from_its_sources(tmp_path):
    """The four files are written from the data file and read back by the documented command."""
    (tmp_path / "make_mnist.py").write_bytes(
        (common.DATA_FILE.parent / "make_mnist.py").read_bytes()
    )
    train, test = digits.load_mnist()
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

    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(b"no archive")
    ran = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr == "t10k-labels-idx1-ubyte.gz is damaged: download it again\n"
