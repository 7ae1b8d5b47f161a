"""The scripts as modules, as a notebook uses them: what `main` returns, and runs that go on."""

import contextlib
import functools
import gzip
import importlib
import json
import os
import re
import shutil
import signal
from pathlib import Path

import common
from common import DataError, SettingError

import keras
import numpy as np
import pytest
import reference
from lessons import options, small
from script_runs import assert_same_run, only_run, read_history, settings_of, start

from support import ctc, digits, report, training

pytestmark = pytest.mark.slow
TINY = {"train_size": 72, "test_size": 20, "epochs": 3, "batch_size": 24}
MORE = {
    "classic": {"dropout": 0.2},
    "seq_labelling": {"dropout": 0.2, "beam_width": 7},
    "variable_length_seq": {"beam_width": 7},
    "standardize": {"scaling": "unit"},
}
LABELLERS = "seq_labelling", "variable_length_seq"
by_script = pytest.mark.parametrize("script", MORE)


@pytest.fixture(scope="module")
def call(data):
    def call(script, **settings):
        module = importlib.import_module(script)
        return module.main(small(script, **TINY | MORE[script] | {"data": data} | settings))

    return call


@pytest.fixture(scope="module")
def first(call, tmp_path_factory):
    """Of a script's run that nothing interrupts: its figures, its folder, what it did for the test.

    That is the networks that it loaded, and what it said of the labels, if it reads any.
    """

    @functools.cache
    def first(script):
        output, did = tmp_path_factory.mktemp("first"), {"loaded": []}
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
            return call(script, output=output), only_run(output), did

    return first


@pytest.fixture(scope="module")
def finished(first):
    return lambda script: first(script)[1]


@by_script
def test_it_returns_the_figures_that_it_writes(script, first):
    metrics, folder, _ = first(script)
    assert metrics == json.loads((folder / "metrics.json").read_text())
    figure = "test_label_error_rate" if script in LABELLERS else "test_accuracy"
    assert figure in metrics.get("unit", metrics)


@by_script
def test_the_network_of_the_best_epoch_is_tested(script, first):
    *_, did = first(script)
    assert did["loaded"] == ["model.keras"]


@pytest.mark.parametrize("script", LABELLERS)
def test_labels_are_read_by_both_decodings(script, first):
    *_, did = first(script)
    logits = did["logits"]
    narrow, wide = (np.asarray(ctc.read_labels(logits, beam_width=width)) for width in (1, 7))
    greedy, beam = np.asarray(did["greedy"]), np.asarray(did["beam"])
    for row, steps in zip(greedy, logits, strict=True):
        assert tuple(row[row > 0]) == reference.greedy(steps)
    np.testing.assert_array_equal(beam, wide)  # the setting
    assert (wide != narrow).any()
    assert (wide != greedy).any()


@by_script
def test_errors_are_exceptions(script, call, tmp_path):
    for error, message, settings in (
        (SettingError, "--train-size", {"train_size": 100_000}),
        (SettingError, "--patience 1 goes with --schedule constant", {"patience": 1}),
        (DataError, "does not exist", {"data": tmp_path / "missing.pkl"}),
        (DataError, "is no file", {"start_from": tmp_path / "missing.keras"}),
    ):
        with pytest.raises(error, match=message):
            call(script, output=tmp_path, **settings)
    assert not list(tmp_path.glob("*/*"))


def test_a_training_at_a_constant_rate_ends_for_want_of_progress(call, tmp_path):
    """The rate is so small that no epoch is better than the first."""
    settings = {"optimizer": "AdamW", "schedule": "constant", "learning_rate": 1e-9}
    settings |= {"epochs": 9, "clip_norm": None, "patience": 2, "dropout": 0.0}
    assert call("classic", **settings, output=tmp_path)["stopped"] is True
    assert (only_run(tmp_path) / "history.csv").read_text().count("\n") == 1 + 3


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


@by_script
def test_an_interrupted_run_goes_on_to_the_same_end(script, call, finished, tmp_path, monkeypatch):
    """So the second call of `main` in a process does what the first did, too."""
    whole = finished(script)
    folder = interrupted(call, script, monkeypatch, output=tmp_path / "parts")
    assert folder == only_run(tmp_path / "parts")
    call(script, output=tmp_path / "parts", resume=folder)
    assert_same_run(whole, folder)
    with pytest.raises(SettingError, match="that run is finished"):
        call(script, resume=folder)


def test_a_second_training_goes_on_from_the_first(call, finished, tmp_path, monkeypatch):
    """It begins with the weights that were saved, and can itself be interrupted."""
    saved = finished("classic") / "model.keras"
    fit, began = keras.Model.fit, []

    def fit_and_remember(self, *arguments, **settings):
        began.append(self.get_weights())
        return fit(self, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "fit", fit_and_remember)
        call("classic", start_from=saved, output=tmp_path / "whole")
    (began,) = began
    for weights in zip(began, keras.saving.load_model(saved).get_weights(), strict=True):
        np.testing.assert_array_equal(*weights)
    folder = interrupted(call, "classic", monkeypatch, start_from=saved, output=tmp_path / "parts")
    call("classic", start_from=saved, output=tmp_path / "parts", resume=folder)
    assert_same_run(only_run(tmp_path / "whole"), folder)


@pytest.mark.parametrize(("where", "left", "done"), [("train", 4, 1), ("test", 3, 3)])
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
@pytest.mark.parametrize("script", ["classic", "variable_length_seq"])
def test_jax_goes_on_with_a_run_of_tensorflow_which_reads_the_same(
    script, call, data, tmp_path, monkeypatch
):
    pytest.importorskip("jax", reason="no jax is installed: see README.md")
    # With JAX a wide search takes long, and each length of strips is compiled anew.
    reading = {"beam_width": 1, "buckets": False} if script in LABELLERS else {}
    folder = interrupted(call, script, monkeypatch, 4, output=tmp_path / "runs", **reading)
    (began,) = read_history(folder)
    settings = TINY | MORE[script] | reading | {"resume": folder}
    arguments = options(script, **settings)
    process = start(script, arguments, data, tmp_path / "runs", KERAS_BACKEND="jax")
    printed, errors = process.communicate()
    assert "Epoch 2/3" in printed, errors
    assert "Epoch 1/3" not in printed
    history = read_history(folder)
    np.testing.assert_array_equal(history[0], began)
    assert history[-1, 2] < history[0, 2]  # the loss
    module = importlib.import_module(script)
    config = module.Config(**settings_of(folder))
    if script == "classic":
        *_, test = digits.load_digits(data, test_size=20)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    else:
        *_, test = module.load_data(config)
        loss = keras.losses.CTC()
    logits = keras.saving.load_model(folder / "model.keras").predict(test.x, verbose=0)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert float(loss(test.y, logits)) == pytest.approx(metrics["test_loss"], rel=1e-4)


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


def test_data_are_the_same_if_their_content_is(call, finished, data, tmp_path):
    """So a project that was moved or copied can go on with its runs; its data lie elsewhere."""
    folder, copied = tmp_path / "run", tmp_path / "copied.pkl"
    shutil.copytree(finished("classic"), folder)
    (folder / "metrics.json").write_text('{"training_seconds": 1}')
    shutil.copy(data, copied)
    call("classic", resume=folder, data=copied)
    with pytest.raises(SettingError, match="that run is finished"):
        call("classic", resume=folder, data=copied)
    copied.write_bytes(gzip.compress(data.read_bytes()))
    with pytest.raises(SettingError, match="that run began with data_sha256 "):
        call("classic", resume=folder, data=copied)


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
        with pytest.raises(DataError, match=rf"its files are damaged \(.*{name}( has 2 of|'\)$)"):
            call("classic", resume=folder)
        (folder / name).write_bytes(content)
    os.remove(folder / "checkpoint.keras")
    call("classic", resume=folder)  # from the beginning
    assert_same_run(finished("classic"), folder)
