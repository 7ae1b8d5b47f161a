"""data/make_sequences.py: two files of sequences that both sequence lessons read."""

import functools
import hashlib
import pickle
import re
import subprocess
import sys
from pathlib import Path

import common

import numpy as np
import pytest
from script_runs import run_in_process

from support import data_files, digits, strips

ROOT = Path(__file__).parent.parent
FILES = "seqDigits.pkl", "seqDigitsVar.pkl"


SCRIPT = ROOT / "data" / "make_sequences.py"


@pytest.fixture
def make(monkeypatch):
    return functools.partial(run_in_process, SCRIPT, monkeypatch=monkeypatch)


def make_in_a_process_of_its_own(*options):
    command = [sys.executable, SCRIPT, *map(str, options)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sequences")
    make_in_a_process_of_its_own("--data", data, "--output", folder)
    return folder


def images_of(sequence, labels):
    """The digits of a sequence, as (pixels, label)."""
    columns = np.split(sequence, len(labels))
    return [(part.T.tobytes(), label) for part, label in zip(columns, labels, strict=True)]


@pytest.mark.parametrize("name", FILES)
def test_the_layout_is_that_of_the_labs(name, made):
    content = pickle.loads((made / name).read_bytes())
    for x, y in content:
        assert type(x) is type(y) is list
        assert {type(labels) for labels in y} == {list}
        assert {type(label) for labels in y for label in labels} == {int}
        for sequence, labels in zip(x, y, strict=True):
            assert sequence.dtype == np.uint8
            assert sequence.shape == (28 * len(labels), 28)
    lengths = {len(labels) for _, y in content for labels in y}
    assert lengths == ({5} if name == "seqDigits.pkl" else {2, 3, 4, 5})


@pytest.mark.parametrize("name", FILES)
def test_each_digit_is_used_at_most_once_and_on_its_own_side(name, made, data):
    content = pickle.loads((made / name).read_bytes())
    for (x, y), part in zip(content, digits.load_mnist(data), strict=True):
        given = {(image.tobytes(), int(label)) for image, label in zip(part.x, part.y, strict=True)}
        used = [digit for pair in zip(x, y, strict=True) for digit in images_of(*pair)]
        assert len(set(used)) == len(used) > 0.95 * len(given)
        assert set(used) <= given


@pytest.mark.parametrize("name", FILES)
def test_the_lessons_read_them(name, made):
    compose, validation, test = strips.load_strips(made / name, shortest=1, longest=1)
    (train_x, _), (test_x, test_y) = pickle.loads((made / name).read_bytes())
    train = compose(np.random.default_rng(0))
    assert len(train.x) + len(validation.x) == len(train_x)
    order = np.random.default_rng(0).permutation(len(test_x))
    np.testing.assert_array_equal(
        np.concatenate(test.x), np.concatenate([test_x[index] for index in order])
    )
    read = [[label - 1 for label in row if label] for row in test.y]
    assert read == [test_y[index] for index in order]


def test_size_seed_and_lengths_are_options(make, data, tmp_path, capsys):
    options = ["--data", data, "--output", tmp_path, "--train-size", 12, "--test-size", 3]
    options += ["--digits", 3, "--shortest", 4]
    assert make([*options, "--seed", 1]) == 0
    for name, lengths in zip(FILES, ({3}, {4, 5}), strict=True):
        (x, y), (test_x, _) = pickle.loads((tmp_path / name).read_bytes())
        assert (len(x), len(test_x)) == (12, 3)
        assert {len(labels) for labels in y} == lengths
    before = [(tmp_path / name).read_bytes() for name in FILES]
    (tmp_path / FILES[0]).unlink()
    assert make([*options, "--seed", 2]) == 2
    assert "seqDigitsVar.pkl exists and holds something else" in capsys.readouterr().err
    assert not (tmp_path / FILES[0]).exists()  # neither is written
    assert (tmp_path / FILES[1]).read_bytes() == before[1]
    assert make([*options, "--seed", 1]) == 0
    assert [(tmp_path / name).read_bytes() for name in FILES] == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train-size", "2000"], "--train-size 2,000: there are 240 sequences\n"),
        (["--digits", "300"], "sequences of 300 digits, but "),
        (
            ["--digits", "1"],
            "sequences of 1 digits or more, but the scripts read 1,000 from a file",
        ),
        (["--shortest", "6"], "--shortest 6 is more than --longest 5\n"),
        (["--digits", "0"], "greater than 0"),
        (["--seed", "-1"], "greater than or equal to 0"),
    ],
)
def test_a_bad_setting_is_one_message(options, message, make, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(data_files, "MOST_SEQUENCES", 1000)
    assert make(["--data", data, "--output", tmp_path / "new", *options]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_by_default_they_are_made_of_mnist_and_have_the_checksums_of_the_page(tmp_path):
    make_in_a_process_of_its_own("--output", tmp_path)
    page = (common.DATA_FILE.parent / "README.md").read_text()
    for name in FILES:
        (expected,) = re.findall(rf"^ +([0-9a-f]{{64}})  {re.escape(name)}$", page, re.MULTILINE)
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == expected
