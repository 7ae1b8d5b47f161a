"""support/processes.py, support/devices.py: what cannot work; who goes on alone."""

from common import SettingError

import keras
import pytest

from support import devices, processes
from support.run_folder import Run

VARIABLES = ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")


def join(folder):
    return processes.join(seed=0, output=folder, resume=None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("localhost:1", "2", None), "PROCESS_ID=None: expected"),
        ((None, "2", "0"), "JOB_ADDRESSES=None, "),
        (("localhost", "2", "0"), "expected HOST:PORT"),
        (("localhost:1,", "2", "0"), "expected HOST:PORT"),
        (("localhost:1", "two", "0"), "NUM_PROCESSES=two, "),
        (("localhost:1", "2", "2"), "PROCESS_ID=2: expected"),
        (("localhost:1", "2", "-1"), "PROCESS_ID=-1: expected"),
        (("a:1,b:1,c:1", "2", "0"), "JOB_ADDRESSES=a:1,b:1,c:1, "),
        ((None, None, "0"), r"the tensorflow backend .*: set KERAS_BACKEND=jax"),
    ],
)
def test_wrong_variables_and_the_wrong_backend_are_named(values, message, tmp_path, monkeypatch):
    backend = "tensorflow" if "tensorflow" in message else "jax"
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    for name, value in zip(VARIABLES, values, strict=True):
        if value is not None:
            monkeypatch.setenv(f"KERAS_DISTRIBUTION_{name}", value)
    with pytest.raises(SettingError, match=message), join(tmp_path):
        pass


def test_the_others_leave_where_the_first_goes_on_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(processes, "_connect", lambda seed: None)
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.save(tmp_path / "model.keras")
    network.compile(loss="mse")
    for process, reached in ("0", ["before", "after"]), ("1", ["before"]):
        monkeypatch.setenv("KERAS_DISTRIBUTION_PROCESS_ID", process)
        steps = []
        with join(tmp_path) as folders:
            print("printed by", process)
            steps.append("before")
            Run(tmp_path).best(network)
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
