"""The scripts as modules, as a notebook uses them: `main` returns figures, errors are raised."""

import copy
import functools
import importlib
import json
import signal

from common import DataError, Interrupted, SettingError

import keras
import numpy as np
import pytest
from decoding import read
from lessons import small

import classic
from support import report, training

pytestmark = pytest.mark.slow
LESSONS = {  # a figure that the lesson returns
    "classic": "test_accuracy",
    "seq_labelling": "test_label_error_rate",
    "variable_length_seq": "test_label_error_rate",
    "standardize": "standardized",
}


@pytest.fixture(scope="module", params=LESSONS)
def lesson(request, data):
    """The name of a figure that a lesson returns, and a function that calls its main."""
    module = importlib.import_module(request.param)
    sizes = {"train_size": 64, "test_size": 20}

    def call(output, **settings):
        settings = sizes | {"data": data, "output": output} | settings
        return module.main(small(request.param, **settings))

    return LESSONS[request.param], call


@pytest.fixture(scope="module")
def first(lesson, tmp_path_factory):
    """Of the first call of a lesson: what it returned, the folder, and what it did for the test.

    That is the networks that it loaded, and what it said of the labels, if it reads any.
    """
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
        return lesson[1](output), output, did


def test_it_returns_the_figures_that_it_writes(lesson, first):
    metrics, output, _ = first
    assert lesson[0] in metrics
    (folder,) = output.glob("*/*")
    assert metrics == json.loads((folder / "metrics.json").read_text())


def test_the_network_of_the_best_epoch_is_tested(first):
    *_, did = first
    assert did["loaded"] == ["model.keras"]


def test_labels_are_read_by_both_decodings(lesson, first):
    if lesson[0] != "test_label_error_rate":
        pytest.skip("it reads no labels")
    *_, did = first
    greedy, beam = (
        [row[row > 0].tolist() for row in np.asarray(did[name])] for name in ("greedy", "beam")
    )
    narrow, wide = (
        read(did["logits"], strategy="beam_search", beam_width=width) for width in (1, 20)
    )
    assert greedy == read(did["logits"], strategy="greedy")
    assert beam == wide  # the setting
    assert wide != narrow
    assert wide != greedy


def test_it_can_be_called_twice_with_the_same_result(lesson, first, tmp_path):
    figure, call = lesson
    results = copy.deepcopy(first[0]), call(tmp_path)
    for metrics in results:
        (metrics[figure] if figure == "standardized" else metrics).pop("training_seconds")
    assert results[0] == results[1]


def test_errors_are_exceptions(lesson, tmp_path, monkeypatch):
    _, main = lesson
    call = functools.partial(main, tmp_path)
    with pytest.raises(SettingError, match="--train-size"):
        call(train_size=100_000)
    with pytest.raises(SettingError, match="--patience 1 goes with --schedule constant"):
        call(patience=1)
    with pytest.raises(DataError, match="does not exist"):
        call(data=tmp_path / "missing.pkl")
    with pytest.raises(DataError, match="is no file"):
        call(start_from=tmp_path / "missing.keras")
    assert not list(tmp_path.glob("*/*"))

    def stop(self, batch, logs=None):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(training.StopOnInfiniteLoss, "on_train_batch_end", stop)
    with pytest.raises(Interrupted) as interrupted:
        call()
    (folder,) = tmp_path.glob("*/*")
    assert str(interrupted.value) == str(folder)


def test_a_training_at_a_constant_rate_ends_for_want_of_progress(data, tmp_path):
    """The rate is so small that no epoch is better than the first."""
    settings = {"optimizer": "AdamW", "schedule": "constant", "learning_rate": 1e-9}
    settings |= {"epochs": 9, "clip_norm": None, "patience": 2, "train_size": 64, "test_size": 20}
    metrics = classic.main(small("classic", **settings, data=data, output=tmp_path))
    assert metrics["stopped"] is True
    (history,) = tmp_path.glob("*/*/history.csv")
    assert history.read_text().count("\n") == 1 + 3
