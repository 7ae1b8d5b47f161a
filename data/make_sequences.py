"""Make two files of digit sequences, as university labs hand them out, from MNIST.

    python data/make_sequences.py
    python data/make_sequences.py --train-size 1000 --test-size 200 --seed 1 --output mine

seqDigits.pkl holds sequences of 5 digits, seqDigitsVar.pkl sequences of 2 to 5, each a pickle of
`(x_train, y_train), (x_test, y_test)`: x is a list of arrays (T, 28) of uint8, whose timesteps are
the columns of the images side by side, and y a list of lists of digits. Training sequences hold
training digits, test sequences test digits, each digit at most once in a file. The same settings
make the same bytes.
"""

import hashlib
import pickle
import sys
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parent.parent))

import common

import numpy as np
import pydantic
from pydantic import Field, PositiveInt

from support import command_line, ctc, digits, strips


class Config(pydantic.BaseModel, frozen=True):
    """What you can change."""

    digits: PositiveInt = 5  # digits in each sequence of seqDigits.pkl
    shortest: PositiveInt = 2  # fewest digits in a sequence of seqDigitsVar.pkl
    longest: PositiveInt = 5  # most digits in a sequence of seqDigitsVar.pkl
    train_size: PositiveInt | None = None  # training sequences; None: as many as there are digits
    test_size: PositiveInt | None = None  # test sequences; None: as many as there are digits for
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0  # of the order of the digits
    data: Path = common.DATA_FILE  # pickle of the digits
    output: Path = Path(__file__).parent  # folder to write to


def to_lists(sequences: common.Examples) -> tuple[list[np.ndarray], list[list[int]]]:
    """Return sequences, see `strips.compose_strips`, as a list of arrays and one of digits."""
    labels = [[int(label) - 1 for label in row if label > ctc.BLANK] for row in sequences.y]
    return list(sequences.x), labels


def make(config: Config, shortest: int, longest: int) -> bytes:
    """Compose training and test sequences of `shortest` to `longest` digits, as a pickle."""
    random = np.random.RandomState(config.seed)  # no NumPy will change its numbers
    parts = []
    for part, size, option in zip(
        digits.load_mnist(config.data),
        (config.train_size, config.test_size),
        ("--train-size", "--test-size"),
        strict=True,
    ):
        if len(part.x) < longest:
            raise common.SettingError(
                f"sequences of {longest:,} digits, but {config.data} has a part of {len(part.x):,}"
            )
        sequences = strips.compose_strips(part, shortest, longest, random)
        parts.append(to_lists(digits.take_first(sequences, size, option, "sequences")))
    return pickle.dumps(tuple(parts), protocol=4)


def write(content: bytes, path: Path) -> None:
    """Write a file that is not there yet, and print its SHA-256; SettingError if another is."""
    if path.exists() and path.read_bytes() != content:
        raise common.SettingError(
            f"{path} exists and holds something else: move it away, or name a folder with --output"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with common.written_beside(path) as unfinished:
        unfinished.write_bytes(content)
    print(f"wrote {path}; SHA-256: {hashlib.sha256(content).hexdigest()}")


def main(config: Config) -> None:
    """Make both files."""
    if config.shortest > config.longest:
        raise common.SettingError(
            f"--shortest {config.shortest} is more than --longest {config.longest}"
        )
    lengths = {
        "seqDigits.pkl": (config.digits, config.digits),
        "seqDigitsVar.pkl": (config.shortest, config.longest),
    }
    files = {name: make(config, *ends) for name, ends in lengths.items()}
    for name, content in files.items():
        write(content, config.output / name)


if __name__ == "__main__":
    with command_line.one_message():
        main(command_line.parse(Config, __doc__))
