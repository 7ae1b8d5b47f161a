"""data/make_sequences.py: two files of sequences that both sequence lessons read."""

import functools
import hashlib
import pickle
import re

import common

import pytest
from script_runs import ROOT, run, run_in_process

from support import data_files, digits

SCRIPT = ROOT / "data" / "make_sequences.py"
LENGTHS = {"seqDigits.pkl": {5}, "seqDigitsVar.pkl": {2, 3, 4, 5}}


@pytest.fixture
def make(monkeypatch):
    return functools.partial(run_in_process, SCRIPT, monkeypatch=monkeypatch)


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    """A folder with both files, made in a process of its own."""
    folder = tmp_path_factory.mktemp("sequences")
    assert run(folder, SCRIPT, "--data", data, "--output", folder).returncode == 0
    return folder


@pytest.mark.parametrize("name", LENGTHS)
def test_they_are_laid_out_as_in_the_labs_and_hold_a_digit_once_on_its_own_side(name, made, data):
    content = pickle.loads((made / name).read_bytes())
    for (x, y), part in zip(content, digits.load_mnist(data), strict=True):
        assert {type(part) for part in (x, y, *y)} == {list}
        assert {type(label) for labels in y for label in labels} == {int}
        assert {len(labels) for labels in y} == LENGTHS[name]
        used = []
        for sequence, labels in zip(x, y, strict=True):
            images = sequence.reshape(len(labels), 28, 28).transpose(0, 2, 1)
            used += zip(map(bytes, images), labels, strict=True)
        assert len(set(used)) == len(used) > 0.95 * len(part.x)
        assert set(used) <= set(zip(map(bytes, part.x), part.y.tolist(), strict=True))


def test_size_seed_and_lengths_are_options(make, data, tmp_path, capsys):
    options = ["--data", data, "--output", tmp_path, "--train-size", 12, "--test-size", 3]
    options += ["--digits", 3, "--shortest", 4]
    assert make([*options, "--seed", 1]) == 0
    one, other = (tmp_path / name for name in LENGTHS)
    for path, lengths in (one, {3}), (other, {4, 5}):
        (x, y), (test_x, _) = pickle.loads(path.read_bytes())
        assert (len(x), len(test_x)) == (12, 3)
        assert {len(labels) for labels in y} == lengths
    before = one.read_bytes(), other.read_bytes()
    one.unlink()
    assert make([*options, "--seed", 2]) == 2
    assert "seqDigitsVar.pkl exists and holds something else" in capsys.readouterr().err
    assert not one.exists()  # neither is written
    assert other.read_bytes() == before[1]
    assert make([*options, "--seed", 1]) == 0
    assert (one.read_bytes(), other.read_bytes()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train-size", "2000"], "--train-size 2,000: there are 240 sequences\n"),
        (["--digits", "300"], "strips of 300 digits, but there are 200 "),
        (["--digits", "1"], "sequences of 1 digits or more, but the scripts read 1,000 from a f"),
        (["--shortest", "6"], "--shortest 6 is more than --longest 5\n"),
    ],
)
def test_a_bad_setting_is_one_message(options, message, make, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(data_files, "MOST_SEQUENCES", 1000)
    assert make(["--data", data, "--output", tmp_path / "new", *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_by_default_they_are_made_of_mnist_and_have_the_checksums_of_the_page(make, tmp_path):
    assert make(["--output", tmp_path]) == 0
    page = (common.DATA_FILE.parent / "README.md").read_text()
    for name in LENGTHS:
        (expected,) = re.findall(rf"^ +([0-9a-f]{{64}})  {re.escape(name)}$", page, re.MULTILINE)
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == expected
