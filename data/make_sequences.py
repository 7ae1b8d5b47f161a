"""Make two files of digit sequences, as university labs hand them out, from MNIST.

    python data/make_sequences.py
    python data/make_sequences.py --train-size 1000 --test-size 200 --seed 1 --output mine

seqDigits.pkl holds sequences of 5 digits, seqDigitsVar.pkl sequences of 2 to 5, each a pickle of
`(x_train, y_train), (x_test, y_test)`: x is a list of arrays (T, 28) of uint8, whose timesteps are
the columns of the images side by side, and y a list of lists of digits. Training sequences hold
training digits, test sequences test digits, each image at most once in a file. The same settings
make the same bytes.
"""

import hashlib
import pickle
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import common

import numpy as np
import pydantic
from pydantic import PositiveInt

from support import command_line, ctc, data_files, digits, strips
from support.settings import Seed


class Config(pydantic.BaseModel, frozen=True):
    """What you can change."""

    digits: PositiveInt = 5  # number of digits in each sequence of seqDigits.pkl
    shortest: PositiveInt = 2  # fewest digits in a sequence of seqDigitsVar.pkl
    longest: PositiveInt = 5  # most digits in a sequence of seqDigitsVar.pkl
    train_size: PositiveInt | None = None  # number of training sequences; None: as many as possible
    test_size: PositiveInt | None = None  # number of test sequences; None: as many as possible
    seed: Seed = 0  # start of the random numbers that give the digits their order
    data: Path = common.DATA_FILE  # file of the digits, such as MNIST
    output: Path = Path(__file__).parent  # folder to write to


def to_lists(sequences: common.Examples) -> tuple[list[np.ndarray], list[list[int]]]:
    """Return sequences, see `strips.compose_strips`, as a list of arrays and a list of lists."""
    labels = [[int(label) - 1 for label in row if label > ctc.BLANK] for row in sequences.y]
    kind = np.dtype(np.uint8).newbyteorder("=")  # a new object: a pickle tells whether two are one
    return [sequence.astype(kind) for sequence in sequences.x], labels


def make(
    parts: tuple[common.Examples, common.Examples], config: Config, shortest: int, longest: int
) -> bytes:
    """Compose training and test sequences of `shortest` to `longest` digits, as a pickle.

    Raises:
        SettingError: the settings ask for more sequences than there are, or than a file may hold.
    """
    random = np.random.RandomState(config.seed)  # no later NumPy will change its numbers
    train, test = (strips.compose_strips(part, shortest, longest, random) for part in parts)
    train = digits.take_first(train, config.train_size, "--train-size", "sequences")
    test = digits.take_first(test, config.test_size, "--test-size", "sequences")
    if len(train.x) + len(test.x) > data_files.MOST_SEQUENCES:
        raise common.SettingError(
            f"{len(train.x):,} and {len(test.x):,} sequences of {shortest} digits or more, but the "
            f"scripts read {data_files.MOST_SEQUENCES:,} from a file: name fewer by --train-size"
        )
    return pickle.dumps((to_lists(train), to_lists(test)), protocol=4)


def main(config: Config) -> None:
    """Make both files, and print their SHA-256; write neither if that would change a file."""
    parts = digits.load_mnist(config.data)
    files = {
        "seqDigits.pkl": make(parts, config, config.digits, config.digits),
        "seqDigitsVar.pkl": make(parts, config, config.shortest, config.longest),
    }
    for name, content in files.items():
        path = config.output / name
        if path.exists() and path.read_bytes() != content:
            raise common.SettingError(
                f"{path} exists and holds something else: move it away, or name another --output"
            )
    config.output.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with common.written_beside(config.output / name) as unfinished:
            unfinished.write_bytes(content)
        print(f"wrote {config.output / name}; SHA-256: {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    with command_line.one_message():
        main(command_line.parse(Config, __doc__))
