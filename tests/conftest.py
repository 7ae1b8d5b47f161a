"""What several test files share."""

import pickle

import pytest

from support import digits


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """The first digits of MNIST, so that the validation is quick too."""
    path = tmp_path_factory.mktemp("data") / "small.pkl"
    train, test = digits.load_mnist()
    parts = [(part.x[:size], part.y[:size]) for part, size in ((train, 1200), (test, 200))]
    path.write_bytes(pickle.dumps(parts))
    return path
