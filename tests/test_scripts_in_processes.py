"""Several processes or devices that train together, and what happens when one of them dies.

Keras can do that with JAX alone, and so these tests run where JAX is the backend.
"""

import json
import os
import re
import signal
import socket

import keras
import numpy as np
import pytest
import script_runs
from lessons import options
from script_runs import TENSORFLOW, only_run, read_history

pytestmark = [
    pytest.mark.slow,
    pytest.mark.smoke,
    pytest.mark.skipif(keras.backend.backend() != "jax", reason="run with KERAS_BACKEND=jax"),
]
SCRIPT = "variable_length_seq"  # batches of different lengths need most care to be shared
SMALL = {
    **{"train_size": 96, "test_size": 40, "batch_size": 16, "epochs": 3, "longest": 3},
    **{"dropout": 0.1, "learning_rate": 0.02},
    **{"distortion": 0.0, "shift": 0.0, "buckets": False, "beam_width": 1},  # to compile less
}
# Before the script: say in the end which weights this process has.
SHOW_WEIGHTS = """
import hashlib, sys
from support import training
end = training.Checkpoint.on_epoch_end
def show_weights(self, epoch, logs=None):
    end(self, epoch, logs)
    if epoch + 1 == self.params["epochs"]:
        weights = b"".join(weights.tobytes() for weights in self.model.get_weights())
        print("weights", hashlib.sha256(weights).hexdigest(), file=sys.stderr)
training.Checkpoint.on_epoch_end = show_weights
"""
# Before the script: die like a machine that loses its power, in the second epoch.
DIE_IN_AN_EPOCH = """
import os, signal
from support import training
share, left = training.EpochBatches.__getitem__, 10
def share_or_die(self, index):
    global left
    left -= self.batch_size == 16  # of the training, not of the validation
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return share(self, index)
training.EpochBatches.__getitem__ = share_or_die
"""
# Before the script: die after the first epoch, before its checkpoint is written. JAX in the other
# process then raises another error.
DIE_BETWEEN_EPOCHS = """
import os, signal
from support.run_folder import Run
Run.save = lambda self, network: os.kill(os.getpid(), signal.SIGKILL)
"""


def start(output, data, *, variables=(), code="", arguments=()):
    names = "JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID"
    values = zip(names, variables, strict=False)
    environment = {f"KERAS_DISTRIBUTION_{name}": value for name, value in values}
    arguments = [*options(SCRIPT, **SMALL), *arguments]
    return script_runs.start(SCRIPT, arguments, data, output, code, **environment)


def free_address():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"localhost:{free.getsockname()[1]}"


def start_two(output, data, *arguments, codes=(SHOW_WEIGHTS, SHOW_WEIGHTS)):
    address = free_address()
    return [
        start(output, data, variables=(address, "2", index), code=code, arguments=arguments)
        for index, code in zip("01", codes, strict=True)
    ]


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """The run of two processes, the run of one, and what all three said."""
    outputs = [tmp_path_factory.mktemp(name) for name in ("two", "one")]
    processes = start_two(outputs[0], data)
    said = [process.communicate() for process in processes]
    processes.append(start(outputs[1], data))
    said.append(processes[-1].communicate())
    assert [process.returncode for process in processes] == [0, 0, 0], said
    return only_run(outputs[0]), only_run(outputs[1]), said


def test_only_the_first_process_prints(runs):
    two, _, ((first, _), (second, _), (one, errors)) = runs
    assert second == errors == ""
    greeting, *lines = first.splitlines()
    assert greeting == "waiting for the other processes, 2 in all"
    for line, same in zip(lines[:20], one.splitlines()[:20], strict=True):
        assert len(line.split()) == len(same.split())
    assert lines[-1] == f"wrote {two}"


def test_two_processes_train_as_one_does_and_have_the_same_weights(runs):
    """Sums are taken in another order, which a few steps hardly show; dropout draws the same."""
    two, one, ((_, first), (_, second), _) = runs
    assert re.fullmatch(r"weights \w{64}\n", first)
    assert first == second
    names = [sorted(path.name for path in run.iterdir()) for run in (two, one)]
    assert names[0] == names[1]
    np.testing.assert_allclose(read_history(two), read_history(one), rtol=1e-3, atol=0.011)
    metrics = [json.loads((run / "metrics.json").read_text()) for run in (two, one)]
    assert metrics[0].keys() == metrics[1].keys()
    assert metrics[0]["test_loss"] == pytest.approx(metrics[1]["test_loss"], rel=1e-3)


def test_several_devices_of_one_process_share_the_batches(data, tmp_path):
    """As the GPUs of a machine do; with a layer that has statistics, and with TensorBoard."""
    arguments = options("standardize", scaling="standardized", epochs=2, batch_size=60)
    histories = []
    for devices in "1", "2":
        flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
        output = tmp_path / devices
        process = script_runs.start("standardize", arguments, data, output, XLA_FLAGS=flags)
        _, errors = process.communicate()
        assert errors == ""
        folder = only_run(output) / "standardized"
        histories.append(read_history(folder))
        for name in ("train", "validation", "batches") if TENSORFLOW else ():
            (events,) = (folder / name).glob("events.*")
            assert b"loss" in events.read_bytes()
    np.testing.assert_allclose(*histories, rtol=1e-4, atol=0.011)


@pytest.mark.parametrize(
    ("victim", "code"),
    [(0, DIE_IN_AN_EPOCH), (1, DIE_IN_AN_EPOCH), (1, DIE_BETWEEN_EPOCHS)],
    ids=["the first in an epoch", "the second in an epoch", "the second between epochs"],
)
def test_when_a_process_dies_the_other_ends_and_the_run_can_be_resumed(
    runs, victim, code, data, tmp_path
):
    output = tmp_path / "runs"
    codes = [code if index == victim else "" for index in (0, 1)]
    processes = start_two(output, data, codes=codes)
    processes[victim].communicate()
    _, errors = processes[1 - victim].communicate(timeout=60)
    assert processes[victim].returncode == -signal.SIGKILL
    assert processes[1 - victim].returncode not in (0, None)
    assert "another" in errors  # process, or, where JAX itself is faster, task
    assert "Traceback" not in errors
    if victim == 0 or code == DIE_BETWEEN_EPOCHS:
        return
    run = only_run(output)
    processes = start_two(output, data, f"--resume={run}")
    (printed, first), (_, second) = [process.communicate() for process in processes]
    assert "Epoch 2/3" in printed, first
    assert "Epoch 1/3" not in printed
    two, _, said = runs
    assert first == second == said[0][1]  # the weights of the run that nothing interrupted
    np.testing.assert_array_equal(read_history(run), read_history(two))


# -- processes that wait ----------------------------------------------------------------------


def test_no_process_waits_for_ever(data, tmp_path):
    """JAX would end it after five minutes, with a dump."""
    code, output = "from support import processes\nprocesses.LONGEST_WAIT = 3.0", tmp_path / "runs"
    variables = [(free_address(), "2", index) for index in "01"]
    waiting = [start(output, data, variables=values, code=code) for values in variables]
    greetings = "waiting for the other processes, 2 in all\n", ""
    for process, greeting in zip(waiting, greetings, strict=True):
        printed, errors = process.communicate(timeout=60)
        assert printed == greeting
        assert errors == "not all 2 processes came in 3 seconds: start all, or none\n"
        assert process.returncode == 1
    assert not output.exists()


def test_nor_for_one_that_is_there_and_does_nothing(data, tmp_path):
    """What the first writes to stderr is held back then."""
    first = "from support import processes\nprocesses.LONGEST_WAIT = 8.0"
    second = "import time, common, keras\nkeras.distribution.DataParallel = lambda: time.sleep(99)"
    processes = start_two(tmp_path / "runs", data, codes=[first, second])
    _, errors = processes[0].communicate(timeout=90)
    processes[1].kill()
    processes[1].communicate()
    assert errors == "not all 2 processes came in 8 seconds: start all, or none\n"
    assert processes[0].returncode == 1
