"""Bad input: every script ends with one message and an exit code, and writes nothing."""

from pathlib import Path

import pytest
from lessons import SMALL
from script_runs import ROOT, run_in_process

CASES = [  # all lessons take these paths; lesson 1 alone takes all, the others the first five
    ("--units 0", 2, "greater than 0"),
    ("--train-size 70000", 2, "--train-size 70,000: there are "),
    ("--train-size 200 --output a_file", 2, "--output a_file can't be written"),
    ("--data missing.pkl", 1, "missing.pkl does not exist: check --data"),
    ("--train-size 200 --patience 1", 2, "--patience 1 goes with --schedule constant"),
    ("--data a_file", 1, "a_file is damaged"),  # an empty one
    ("--data .", 1, ". can't be read"),
    ("--learning-rate nan", 2, "finite number"),
    ("--dropout 1", 2, "less than 1"),
    ("--seed -1", 2, "greater than or equal to 0"),
    ("--compare", 2, "--compare needs two finished runs with the same test in runs"),
    ("--compare runs/none runs/nor", 2, "none: there is no finished run"),
    ("--compare --predict x.png", 2, "--predict, --draw and --compare: one at a time"),
    ("--predict", 2, "--predict: name at least one picture"),
    ("--predict x.png", 2, "no trained network in runs/classic"),
    ("--predict x.png --model none.keras", 1, "none.keras is no file"),
    ("--predict x.png --model a_file", 1, "a_file is not a network that Keras can read"),
    ("--predict x.png --seen seen.pdf", 2, "--seen seen.pdf: the name must end in .png"),
    ("--draw", 2, "there is no trained network in runs/classic"),
    ("--draw --predict x.png", 2, "--predict, --draw and --compare: one at a time"),
    ("--draw --seen seen.png", 2, "--seen goes with --predict"),
    ("--model model.keras", 2, "--model goes with --predict or --draw"),
]


@pytest.mark.parametrize(
    ("script", "arguments", "code", "message"),
    [(script, *case) for script in SMALL for case in CASES[: 5 if script != "classic" else None]],
)
def test_bad_input_ends_with_one_message(
    script, arguments, code, message, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    Path("a_file").touch()
    assert run_in_process(ROOT / f"{script}.py", arguments.split(), monkeypatch) == code
    printed = capfd.readouterr()
    assert message in printed.err
    assert printed.err.startswith("╭") or printed.err.count("\n") == 1
    assert printed.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["a_file"]
