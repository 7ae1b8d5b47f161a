"""Runs that are interrupted go on to the same end, and what they wrote is never half a file."""

import contextlib
import functools
import importlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import common
from common import DataError, SettingError

import keras
import numpy as np
import pytest
import script_runs
from lessons import options, small
from script_runs import only_run

from support import command_line, training

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
TINY = {"train_size": 72, "test_size": 20, "epochs": 3, "batch_size": 24}
MORE = {
    "classic": {"dropout": 0.2},
    "seq_labelling": {"dropout": 0.2},
    "variable_length_seq": {},
    "standardize": {"scaling": "unit"},
}


@pytest.fixture(scope="module")
def call(data):
    def call(script, **settings):
        module = importlib.import_module(script)
        return module.main(small(script, **TINY | MORE[script] | {"data": data} | settings))

    return call


@pytest.fixture(scope="module")
def finished(call, tmp_path_factory):
    """A function that gives the folder of a run of a script that nothing interrupted."""

    @functools.cache
    def finished(script):
        output = tmp_path_factory.mktemp("finished")
        call(script, output=output)
        return only_run(output)

    return finished


def assert_same_run(one, other):
    """Two runs wrote the same figures, to the last digit, and the same weights."""
    names = sorted(path.relative_to(one) for path in one.rglob("*.csv"))
    assert names
    for name in names:
        assert (one / name).read_text() == (other / name).read_text()
        metrics = [
            json.loads((run / name.parent / "metrics.json").read_text()) for run in (one, other)
        ]
        assert all(figures.pop("training_seconds") > 0 for figures in metrics)
        assert metrics[0] == metrics[1]
        for file in "model.keras", "checkpoint.keras":
            networks = [
                keras.saving.load_model(run / name.parent / file, compile=False)
                for run in (one, other)
            ]
            for weights in zip(*(network.get_weights() for network in networks), strict=True):
                np.testing.assert_array_equal(*weights)
    assert not list(other.rglob("unfinished*"))


def interrupted(call, script, monkeypatch, **settings):
    """Interrupt a run after a random number of batches; return its folder."""
    batch_end = training.StopOnInfiniteLoss.on_train_batch_end
    left = int(np.random.default_rng().integers(9))  # of three epochs of three batches
    print("interrupted after", left, "batches")

    def interrupt(self, batch, logs=None):
        nonlocal left
        if left == 0:
            signal.raise_signal(signal.SIGINT)
        left -= 1
        batch_end(self, batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(training.StopOnInfiniteLoss, "on_train_batch_end", interrupt)
        with pytest.raises(common.Interrupted) as interruption:
            call(script, **settings)
    return Path(str(interruption.value))


@pytest.mark.parametrize("script", MORE)
def test_an_interrupted_run_goes_on_to_the_same_end(script, call, finished, tmp_path, monkeypatch):
    whole = finished(script)
    folder = interrupted(call, script, monkeypatch, output=tmp_path / "parts")
    assert folder == only_run(tmp_path / "parts")
    call(script, output=tmp_path / "parts", resume=folder)
    assert_same_run(whole, folder)
    with pytest.raises(SettingError, match="that run is finished"):
        call(script, resume=folder)


@pytest.mark.parametrize("script", ["classic", "variable_length_seq"])
def test_a_second_training_goes_on_from_the_first(script, call, finished, tmp_path, monkeypatch):
    """It begins with the weights that were saved, and can itself be interrupted."""
    (saved,) = finished(script).rglob("model.keras")
    fit, began = keras.Model.fit, []

    def fit_and_remember(self, *arguments, **settings):
        began.append(self.get_weights())
        return fit(self, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "fit", fit_and_remember)
        call(script, start_from=saved, output=tmp_path / "whole")
    (began,) = began
    for weights in zip(began, keras.saving.load_model(saved).get_weights(), strict=True):
        np.testing.assert_array_equal(*weights)
    folder = interrupted(call, script, monkeypatch, start_from=saved, output=tmp_path / "parts")
    call(script, start_from=saved, output=tmp_path / "parts", resume=folder)
    assert_same_run(only_run(tmp_path / "whole"), folder)


SMALL = options("classic", train_size=1000, test_size=100, epochs=3, units=8, batch_size=16)


def start(data, output, *arguments, code="", **environment):
    return script_runs.start("classic", [*SMALL, *arguments], data, output, code, **environment)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A run in a process of its own that nothing interrupts."""
    output = tmp_path_factory.mktemp("whole")
    printed, errors = start(data, output).communicate()
    assert "wrote" in printed, errors
    return only_run(output)


def wait_for_epoch(process, number):
    for line in process.stdout:
        if line.startswith(f"Epoch {number}/"):
            break


def test_ctrl_c_ends_in_one_line_with_the_command_that_goes_on(data, whole, tmp_path):
    process = start(data, tmp_path / "runs")
    wait_for_epoch(process, 2)
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, errors = process.communicate()
    assert time.monotonic() - begin < 5
    assert process.returncode == 130
    folder = only_run(tmp_path / "runs")
    assert re.fullmatch(r"\ninterrupted; to go on: python .*\n", errors)
    keras.saving.load_model(folder / "model.keras")
    assert (folder / "history.csv").read_text().startswith("epoch,accuracy,loss,val_accuracy,")
    command = shlex.split(errors.split("to go on: ")[1])
    assert command[-2:] == ["--resume", str(folder)]
    subprocess.run([sys.executable, *command[1:]], check=True, capture_output=True, cwd=tmp_path)
    assert_same_run(whole, folder)


@pytest.mark.parametrize(("where", "epoch", "done"), [("train", 1, 1), ("test", 2, 3)])
def test_ctrl_c_that_keras_drops_ends_the_training(
    where, epoch, done, call, finished, tmp_path, monkeypatch
):
    """Keras drops every exception while it reads the figures of a batch, or of the validation."""
    event = f"on_{where}_batch_end"

    def interrupt_and_drop(self, batch, logs=None):
        if self.epoch == epoch:
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)

    finished("classic")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(common.TrainingError):  # Ctrl-C works after it too
        call("classic", output=tmp_path / "failed", learning_rate=1e38)
    monkeypatch.setattr(training.StopOnInfiniteLoss, event, interrupt_and_drop)
    with pytest.raises(common.Interrupted):
        call("classic", output=tmp_path / "parts")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert (only_run(tmp_path / "parts") / "history.csv").read_text().count("\n") == 1 + done


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


def test_kill_9_while_the_checkpoint_is_saved(data, whole, tmp_path):
    process = start(data, tmp_path / "runs", code=KILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    folder = only_run(tmp_path / "runs")
    process = start(data, tmp_path / "runs", "--resume", str(folder))
    printed, errors = process.communicate()
    assert "Epoch 2/3" in printed, errors
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


def test_a_run_folder_that_is_deleted_is_one_line(tmp_path, monkeypatch, capfd):
    def delete(epoch, logs=None):
        shutil.rmtree(only_run(tmp_path))

    monkeypatch.setattr(training.StopOnInfiniteLoss, "on_epoch_end", lambda self, *_: delete(_))
    arguments = options("classic", train_size=24, output=tmp_path)
    monkeypatch.setattr(sys, "argv", ["classic.py", *arguments])
    classic = importlib.import_module("classic")
    with pytest.raises(SystemExit, match="1"):
        command_line.run(classic.main, classic.Config, classic.__doc__)
    errors = capfd.readouterr().err
    assert errors.count("\n") == 1
    assert "can't be written" in errors


# -- what cannot be resumed -------------------------------------------------------------------


def test_other_settings_are_refused_by_name(call, finished):
    folder = finished("classic")
    for settings, message in (
        ({"units": 5}, "units 4, not 5"),
        ({"epochs": 4}, "epochs 3, not 4"),  # the learning rate falls to 0 at the end
        ({"seed": 1, "warmup": 0.0}, "seed 0, not 1, warmup 0.25, not 0.0"),
    ):
        with pytest.raises(SettingError, match=message):
            call("classic", resume=folder, **settings)
    for script in "seq_labelling", "variable_length_seq", "standardize":
        with pytest.raises(SettingError, match=rf"there is no run of {script}.py"):
            call(script, resume=folder)


def test_a_part_of_a_run_is_refused(call, finished):
    folder = finished("standardize")
    with pytest.raises(SettingError, match=rf"it is a part of the run {re.escape(str(folder))}:"):
        call("standardize", resume=folder / "unit")


def test_a_run_before_a_setting_was_added_is_refused(call, finished, tmp_path):
    config = json.loads((finished("classic") / "config.json").read_text())
    del config["elastic"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(SettingError, match=r"as it is now: only one of the two has elastic$"):
        call("classic", resume=tmp_path)


def test_a_folder_without_a_run_is_refused(call, tmp_path):
    for content in None, "{", "[]", "{}":
        if content:
            (tmp_path / "config.json").write_text(content)
        with pytest.raises(SettingError, match=r"there is no run of classic.py"):
            call("classic", resume=tmp_path)


def test_damaged_files_of_a_run_are_named(call, finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished("classic"), folder)
    (folder / "metrics.json").write_text('{"training_seconds": 1}')
    (folder / "checkpoint.keras").write_bytes(b"PK")
    with pytest.raises(DataError, match="its files are damaged"):
        call("classic", resume=folder)
    for name in "history.csv", "model.keras":
        shutil.copy(finished("classic") / "checkpoint.keras", folder)
        content = (folder / name).read_bytes()
        if name == "history.csv":
            (folder / name).write_bytes(content[: content.rstrip().rfind(b"\n") + 1])
        else:
            (folder / name).unlink()
        with pytest.raises(DataError, match=rf"its files are damaged \({name} (has 2 of|is missi)"):
            call("classic", resume=folder)
        (folder / name).write_bytes(content)
    os.remove(folder / "checkpoint.keras")
    call("classic", resume=folder)  # from the beginning
    assert_same_run(finished("classic"), folder)
