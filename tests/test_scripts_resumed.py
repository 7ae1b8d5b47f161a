"""Runs in a process of their own that are interrupted, killed, or can't write: nothing is lost."""

import re
import shlex
import signal
import time

import common  # noqa: F401

import keras
import pytest
import script_runs
from lessons import options, small
from script_runs import assert_same_run, only_run

import classic

pytestmark = pytest.mark.slow
SMALL = {"train_size": 1000, "test_size": 100, "epochs": 3, "batch_size": 16, "dropout": 0.2}


def start(data, output, code="", **environment):
    arguments = options("classic", **SMALL)
    return script_runs.start("classic", arguments, data, output, code, **environment)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A run that nothing interrupts, in this process."""
    output = tmp_path_factory.mktemp("whole")
    classic.main(small("classic", **SMALL, data=data, output=output))
    return only_run(output)


def test_ctrl_c_ends_in_one_line_with_the_command_that_goes_on(data, whole, tmp_path, monkeypatch):
    process = start(data, tmp_path / "runs")
    while not process.stdout.readline().startswith("Epoch 2/"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, errors = process.communicate()
    assert time.monotonic() - begin < 10  # beside other tests
    assert process.returncode == 130
    folder = only_run(tmp_path / "runs")
    assert re.fullmatch(r"\ninterrupted; to go on: python .*\n", errors)
    keras.saving.load_model(folder / "model.keras")
    assert (folder / "history.csv").read_text().startswith("epoch,accuracy,loss,val_accuracy,")
    command = shlex.split(errors.split("to go on: ")[1])
    assert command[-2:] == ["--resume", str(folder)]
    assert script_runs.run_in_process(command[1], command[2:], monkeypatch) == 0
    assert_same_run(whole, folder)


KILL = """
import os, signal
replace, left = os.replace, 2
def kill_or_replace(source, target):
    global left
    left -= str(target).endswith("checkpoint.keras")
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = kill_or_replace
"""


def test_kill_9_while_the_checkpoint_is_saved(data, whole, tmp_path, capsys):
    process = start(data, tmp_path / "runs", code=KILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    folder = only_run(tmp_path / "runs")
    classic.main(small("classic", **SMALL, data=data, output=tmp_path / "runs", resume=folder))
    printed = capsys.readouterr().out
    assert "Epoch 2/3" in printed
    assert "Epoch 1/3" not in printed
    assert_same_run(whole, folder)


FULL = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))"


def test_a_full_disk_is_one_line_and_no_half_file(data, tmp_path):
    """A limit on the size of files stands for a full disk: the network does not fit.

    Nor would what JAX compiles, which it must not keep then: other tests would read half of it.
    """
    process = start(data, tmp_path / "runs", code=FULL, JAX_ENABLE_COMPILATION_CACHE="false")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.count("\n") == 1
    assert "can't be written" in errors
    written = sorted(path.name for path in only_run(tmp_path / "runs").iterdir())
    assert written == ["config.json", "versions.json"]
