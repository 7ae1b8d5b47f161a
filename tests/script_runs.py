"""Runs of a script in a process of its own, for several test files."""

import json
import os
import runpy
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np

ROOT = Path(__file__).parent.parent
TENSORFLOW = find_spec("tensorflow") is not None  # else standardize.py writes no logs

# Ctrl-C works in what is started here, also where the tests themselves ignore it, as under nohup.
signal.signal(signal.SIGINT, signal.default_int_handler)


def start(script, arguments, data, output, code="", **environment):
    """Start a script as a user does, or after some code in the same process."""
    command = [str(ROOT / f"{script}.py"), *map(str, arguments)]
    command += ["--data", str(data), "--output", str(output)]
    if code:
        code = (
            f"import runpy, sys\nsys.argv, sys.path[0] = {command!r}, {str(ROOT)!r}\n{code}\n"
            f"runpy.run_path(sys.argv[0], run_name='__main__')\n"
        )
        command = ["-c", code]
    return subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=output.parent,
        env=os.environ | environment,
    )


def run(folder, *command, **environment):
    """Run Python in a folder to its end, with `command` as its arguments."""
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def run_in_process(script, arguments, monkeypatch):
    """Run a script as `python script arguments` does; return its exit code."""
    monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as exit:
        return exit.code
    return 0


def read_history(folder):
    return np.loadtxt(folder / "history.csv", delimiter=",", skiprows=1, ndmin=2)


def only_run(output):
    (folder,) = output.glob("*/*/")
    return folder


def assert_same_run(one, other):
    """Two runs wrote the same figures, to the last digit, and the same weights."""
    parts = sorted(path.parent.relative_to(one) for path in one.rglob("history.csv"))
    assert parts
    for part in parts:
        folders = one / part, other / part
        for name in "history.csv", "answers.csv":
            first, second = ((folder / name).read_text() for folder in folders)
            assert first == second
        first, second = (json.loads((folder / "metrics.json").read_text()) for folder in folders)
        assert first.pop("training_seconds") > 0 < second.pop("training_seconds")
        assert first == second
        for name in "model.keras", "checkpoint.keras":
            networks = (keras.saving.load_model(folder / name, compile=False) for folder in folders)
            for weights in zip(*(network.get_weights() for network in networks), strict=True):
                np.testing.assert_array_equal(*weights)
    assert not list(other.rglob("unfinished*"))
