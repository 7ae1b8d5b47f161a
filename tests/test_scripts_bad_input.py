"""Bad input: every script ends with one message and an exit code, and writes nothing."""

import re
import subprocess
import sys
from pathlib import Path

import common  # noqa: F401

import pytest
from lessons import options
from script_runs import run_in_process

ROOT = Path(__file__).parent.parent
SCRIPTS = "classic", "seq_labelling", "variable_length_seq", "standardize"


# -- bad input --------------------------------------------------------------------------------


CASES = [  # all lessons take these paths; lesson 1 alone takes them all, the others the first three
    (["--units", "0"], "greater than 0"),
    (["--train-size", "70000"], "--train-size 70,000: there are "),
    (["--train-size", "200", "--output", ROOT / "README.md"], "can't be written"),
    (["--units", "many"], "--units"),
    (["--learning-rate", "nan"], "finite number"),
    (["--learning-rate", "-1"], "greater than 0"),
    (["--dropout", "1"], "less than 1"),
    (["--cell", "Foo"], "invalid choice 'Foo'"),
    (["--unit", "3"], "--units INT"),
    (["--seed", "-1"], "greater than or equal to 0"),
    (["--test-size", "10001"], "--test-size 10,001: there are "),
    (["--train-size", "200", "--output", ROOT / "README.md" / "runs"], "can't be written"),
    (["--compare"], "--compare: 0 finished runs with the same test in runs"),
    (["--compare", "runs/none", "runs/nor"], "none: there is no finished run"),
    (["--compare", "--predict", "photo.jpg"], "--predict, --draw and --compare: one at a time"),
    (["--compare", "--model", "model.keras"], "--model goes with --predict or --draw"),
]


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        (script, *case)
        for script in SCRIPTS
        for case in (CASES if script == "classic" else CASES[:3])
    ],
)
def test_bad_settings_end_with_one_message_and_exit_code_2(
    script, arguments, message, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    assert run_in_process(ROOT / f"{script}.py", arguments, monkeypatch) == 2
    printed = capfd.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert not list(tmp_path.iterdir())


EDITS = [
    (r"units: PositiveInt = \d+", "unit: PositiveInt = 3", "no setting 'units'"),
    (r"units: PositiveInt = \d+", "units: PositiveInt = 0", "greater than 0"),
    (r"(learning_rate: .*) = \S+", r"\1 = float('nan')", "finite number"),
    (r"dropout: BelowOne = \S+", "dropout: BelowOne = 1", "less than 1"),
    (r'(cell: Literal.*) = "\w+"', r'\1 = "Foo"', "'SimpleRNN', 'GRU' or 'LSTM'"),
]


@pytest.mark.parametrize(
    ("script", "old", "new", "message"),
    [
        (script, *edit)
        for script in SCRIPTS
        for edit in (EDITS if script == "classic" else EDITS[:1])
    ],
)
def test_bad_settings_written_into_the_file(
    script, old, new, message, tmp_path, monkeypatch, capfd
):
    source, count = re.subn(old, new, (ROOT / f"{script}.py").read_text())
    assert count == 1
    (tmp_path / "edited.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    assert run_in_process(tmp_path / "edited.py", ["--train-size", "200"], monkeypatch) == 2
    printed = capfd.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("script", SCRIPTS)
def test_bad_data_ends_with_one_line_and_exit_code_1(script, tmp_path, monkeypatch, capfd):
    (tmp_path / "empty.pkl").touch()
    for name in "empty.pkl", "missing.pkl":
        arguments = ["--data", tmp_path / name]
        assert run_in_process(ROOT / f"{script}.py", arguments, monkeypatch) == 1
        printed = capfd.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert name in printed.err


@pytest.mark.slow
def test_bad_input_in_a_process_of_its_own(tmp_path):
    command = [sys.executable, ROOT / "classic.py", "--data", "missing.pkl"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "missing.pkl does not exist: check --data\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_training(tmp_path, monkeypatch, capfd):
    """That every lesson watches for it: test_scripts_settings.py."""
    settings = {"learning_rate": 1e38, "train_size": 512, "test_size": 100, "output": tmp_path}
    arguments = options("classic", **settings)
    assert run_in_process(ROOT / "classic.py", arguments, monkeypatch) == 1
    # After networks of other tests in the same process, TensorFlow may add a line of its own.
    lines = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("loc(")]
    message = r"the loss became (nan|inf) in batch \d of this epoch: lower --learning-rate"
    assert len(lines) == 1
    assert re.fullmatch(message, lines[0])
