"""support/processes.py, support/devices.py: what cannot work; who goes on alone."""

from common import SettingError, TrainingError

import keras
import pytest

from support import devices, processes

VARIABLES = ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")


def join(folder):
    return processes.join(seed=0, output=folder, resume=None)


@pytest.mark.parametrize("error", [RuntimeError, ValueError])
def test_what_jax_raises_when_a_process_is_lost_is_one_line(error, monkeypatch):
    with pytest.raises(error), processes.guarded():  # alone, it is an error of ours
        raise error
    monkeypatch.setenv("KERAS_DISTRIBUTION_JOB_ADDRESSES", "localhost:1")
    with pytest.raises(TrainingError, match=r"\(Gloo .*\): start all again"), processes.guarded():
        raise error("Gloo has failed\nat length")


@pytest.mark.parametrize(
    ("backend", "values", "message"),
    [
        ("tensorflow", ("a:1", "2", "0"), "the tensorflow backend .*: set KERAS_BACKEND=jax"),
        ("jax", ("a:1", "2", None), "PROCESS_ID is not set"),
        ("jax", (None, "2", "0"), "JOB_ADDRESSES is not set"),
        ("jax", ("a", "2", "0"), "expected HOST:PORT"),
        ("jax", ("a:1,", "2", "0"), "expected HOST:PORT"),
        ("jax", ("a:1", "two", "0"), "NUM_PROCESSES is two"),
        ("jax", ("a:1", "2", "2"), "PROCESS_ID=2: expected"),
        ("jax", ("a:1", "2", "-1"), "PROCESS_ID is -1"),
        ("jax", ("a:1,b:1,c:1", "2", "0"), "NUM_PROCESSES=2, .*_ID=0: expected the address"),
    ],
)
def test_variables_that_cannot_work_are_named(backend, values, message, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    for name, value in zip(VARIABLES, values, strict=True):
        if value is not None:
            monkeypatch.setenv(f"KERAS_DISTRIBUTION_{name}", value)
    with pytest.raises(SettingError, match=message), join(tmp_path):
        pass


def test_the_others_leave_where_the_first_goes_on_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(processes, "_connect", lambda seed: None)
    for process, reached in ("0", ["before", "after"]), ("1", ["before"]):
        monkeypatch.setenv("KERAS_DISTRIBUTION_PROCESS_ID", process)
        steps = []
        with join(tmp_path) as folders:
            print("printed by", process)
            steps.append("before")
            devices.go_on_alone()
            steps.append("after")
        assert steps == reached
        assert (folders["output"] == tmp_path) == (process == "0")
        assert folders["output"].exists() == (process == "0")
    assert capsys.readouterr().out == "printed by 0\n"


def test_a_batch_that_the_devices_cannot_divide_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0", "gpu:1", "gpu:2"])
    with pytest.raises(SettingError, match=r"--batch-size 128: 3 devices .* a multiple of 3"):
        devices.distribute(128)
    assert devices.count() == 1
