"""What `main` returns; runs that are interrupted, killed or cannot write, and go on."""

import contextlib
import importlib
import json
import re
import shlex
import signal
import time
from pathlib import Path

import common

import keras
import numpy as np
import pytest
from lessons import options, small
from script_runs import assert_same_run, only_run, read_history, run_in_process, start

from support import ctc, report, training

pytestmark = pytest.mark.slow
TINY = {"train_size": 72, "test_size": 20, "epochs": 3, "batch_size": 24}
MORE = {
    "classic": {"train_size": 1000, "batch_size": 16, "dropout": 0.2},
    "seq_labelling": {"beam_width": 7},
    "variable_length_seq": {"beam_width": 7, "dropout": 0.2},
    "standardize": {"scaling": "unit"},
}
LABELLERS = "seq_labelling", "variable_length_seq"


@pytest.fixture(scope="module")
def call(data):
    def call(script, **settings):
        module = importlib.import_module(script)
        return module.main(small(script, **TINY | MORE[script] | {"data": data} | settings))

    return call


@pytest.fixture(scope="module", params=MORE)
def first(request, call, tmp_path_factory):
    """A script, its figures, the folder of its run that nothing interrupts, what it did to test.

    That is the networks that it loaded, and what it said of the labels, if it reads any.
    """
    script, output, did = request.param, tmp_path_factory.mktemp("first"), {"loaded": []}
    load, labeller = keras.saving.load_model, report.labeller

    def load_and_remember(path, **settings):
        did["loaded"].append(path.name)
        return load(path, **settings)

    def labeller_and_remember(test, logits, *rest, **what):
        did.update(what, logits=logits)
        return labeller(test, logits, *rest, **what)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.saving, "load_model", load_and_remember)
        patch.setattr(report, "labeller", labeller_and_remember)
        return script, call(script, output=output), only_run(output), did


def test_it_returns_the_figures_of_the_best_network_which_it_writes(first):
    script, metrics, folder, did = first
    assert did["loaded"] == ["model.keras"]
    assert metrics == json.loads((folder / "metrics.json").read_text())
    figure = "test_label_error_rate" if script in LABELLERS else "test_accuracy"
    assert figure in metrics.get("unit", metrics)
    for path in folder.rglob("answers.csv"):  # of the test
        _, truth, answers, _ = np.loadtxt(path, str, delimiter=",", skiprows=1).T
        figures = metrics.get(path.parent.name, metrics)
        wrong = figures.get("test_sequence_error_rate", 1 - figures.get("test_accuracy", 0))
        assert np.mean(truth != answers) == pytest.approx(wrong)


@pytest.mark.parametrize("first", LABELLERS, indirect=True)
def test_labels_are_read_by_both_decodings(first):
    *_, did = first
    greedy, narrow, wide = (
        np.asarray(ctc.read_labels(did["logits"], beam_width=width)) for width in (None, 1, 7)
    )
    np.testing.assert_array_equal(did["greedy"], greedy)
    np.testing.assert_array_equal(did["beam"], wide)  # the setting
    assert (wide != narrow).any()
    assert (wide != greedy).any()


# -- interrupted runs -------------------------------------------------------------------------


def interrupted(call, script, monkeypatch, after=None, **settings):
    """Interrupt a run after so many batches, or a random number; return its folder."""
    batch_end = training.StopOnInfiniteLoss.on_train_batch_end
    left = after or int(np.random.default_rng().integers(9))  # of three epochs of three batches
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


@pytest.mark.parametrize("first", ["variable_length_seq", "standardize"], indirect=True)
def test_an_interrupted_run_goes_on_to_the_same_end(first, call, tmp_path, monkeypatch):
    """So the second call of `main` in a process does what the first did, too."""
    script, _, whole, _ = first
    folder = interrupted(call, script, monkeypatch, output=tmp_path / "parts")
    assert folder == only_run(tmp_path / "parts")
    call(script, output=tmp_path / "parts", resume=folder)
    assert_same_run(whole, folder)


@pytest.mark.parametrize(("where", "left", "done"), [("train", 70, 1), ("test", 3, 3)])
def test_ctrl_c_that_keras_drops_ends_the_training(where, left, done, call, tmp_path, monkeypatch):
    """Keras drops every exception while it reads the figures of a batch, or of the validation."""
    event = f"on_{where}_batch_end"

    def interrupt_and_drop(self, batch, logs=None):
        nonlocal left
        left -= 1
        if left == 0:
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(training.StopOnInfiniteLoss, event, interrupt_and_drop)
    with pytest.raises(common.Interrupted):
        call("classic", output=tmp_path)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert (only_run(tmp_path) / "history.csv").read_text().count("\n") == 1 + done


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow is to begin")
def test_jax_goes_on_where_tensorflow_is_broken_and_tensorflow_reads_the_same(
    call, data, tmp_path, monkeypatch
):
    """Keras asks for TensorFlow in many places."""
    pytest.importorskip("jax", reason="no jax is installed: see README.md")
    script = "variable_length_seq"
    # With JAX a wide search takes long, and each length of strips is compiled anew.
    settings = TINY | MORE[script] | {"beam_width": 1, "buckets": False}
    folder = interrupted(call, script, monkeypatch, 4, output=tmp_path / "runs", **settings)
    (began,) = read_history(folder)
    arguments = options(script, **settings, resume=folder)
    (tmp_path / "tensorflow.py").write_text("raise ImportError('no library')")
    broken = {"PYTHONPATH": str(tmp_path), "KERAS_HOME": str(tmp_path), "KERAS_BACKEND": ""}
    printed, errors = start(script, arguments, data, tmp_path / "runs", **broken).communicate()
    assert errors == "tensorflow cannot be imported (no library): the backend is jax\n"
    assert "Epoch 2/3" in printed
    assert "Epoch 1/3" not in printed
    history = read_history(folder)
    np.testing.assert_array_equal(history[0], began)
    assert history[-1, 2] < history[0, 2]  # the loss
    *_, test = importlib.import_module(script).load_data(small(script, **settings, data=data))
    logits = keras.saving.load_model(folder / "model.keras").predict(test.x, verbose=0)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert float(keras.losses.CTC()(test.y, logits)) == pytest.approx(
        metrics["test_loss"], rel=1e-4
    )


# -- in a process of its own ------------------------------------------------------------------


of_lesson_1 = pytest.mark.parametrize("first", ["classic"], indirect=True)


def start_lesson_1(data, output, code="", **environment):
    arguments = options("classic", **TINY | MORE["classic"])
    return start("classic", arguments, data, output, code, **environment)


@of_lesson_1
def test_ctrl_c_ends_in_one_line_with_the_command_that_goes_on(first, data, tmp_path, monkeypatch):
    process = start_lesson_1(data, tmp_path / "runs")
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
    assert run_in_process(command[1], command[2:], monkeypatch) == 0
    assert_same_run(first[2], folder)


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


@of_lesson_1
def test_kill_9_while_the_checkpoint_is_saved(first, call, data, tmp_path, capsys):
    process = start_lesson_1(data, tmp_path / "runs", code=KILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    folder = only_run(tmp_path / "runs")
    call("classic", output=tmp_path / "runs", resume=folder)
    printed = capsys.readouterr().out
    assert "Epoch 2/3" in printed
    assert "Epoch 1/3" not in printed
    assert_same_run(first[2], folder)


FULL = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))"


def test_a_full_disk_is_one_line_and_no_half_file(data, tmp_path):
    """A limit on the size of files stands for a full disk: the network does not fit.

    Nor would what JAX compiles, which it must not keep then: other tests would read half of it.
    """
    process = start_lesson_1(data, tmp_path / "runs", FULL, JAX_ENABLE_COMPILATION_CACHE="false")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.count("\n") == 1
    assert "can't be written" in errors
    written = sorted(path.name for path in only_run(tmp_path / "runs").iterdir())
    assert written == ["config.json", "versions.json"]
