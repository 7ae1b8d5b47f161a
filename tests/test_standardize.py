"""standardize.py: the scale of the input, and what TensorBoard shows of a training."""

import functools
import json
import re

import common

import keras
import numpy as np
import pytest
from lessons import small
from script_runs import TENSORFLOW

import standardize
from standardize import SCALINGS, scaling_layer
from support import digits, tensorboard_log

SETTINGS = {"train_size": 512, "test_size": 64, "epochs": 2, "units": 8}


def test_each_scaling_is_its_formula():
    """Of standardized columns, the first two are constant, and the third is fainter."""
    images = np.random.default_rng(0).integers(0, 256, (50, 4, 4), np.uint8)
    images[:, :, 0], images[:, :, 1], images[:, :, 2] = 0, 255, images[:, :, 2] // 5
    mean, deviation = images.mean(axis=(0, 1)), images.std(axis=(0, 1))
    standardized = (images - mean) / np.maximum(deviation, 1)
    assert (standardized[:, :, :2] == 0).all()
    for scaling, expected in zip(SCALINGS, (images, images / 255, standardized), strict=True):
        seen = scaling_layer(scaling, images)(images)
        np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a run with all three scalings."""
    output = tmp_path_factory.mktemp("standardize")
    standardize.main(small("standardize", **SETTINGS, scaling="all", output=output))
    (folder,) = output.glob("standardize/*")
    return folder


@pytest.mark.slow
def test_the_statistics_are_those_of_the_training_images(folder):
    """Those of validation and test never enter."""
    train, _, _ = digits.load_digits(common.DATA_FILE, train_size=SETTINGS["train_size"])
    network = keras.saving.load_model(folder / "standardized" / "model.keras")
    mean, variance, *_ = network.layers[1].get_weights()
    np.testing.assert_allclose(mean.ravel(), train.x.mean(axis=(0, 1)), rtol=1e-4)
    np.testing.assert_allclose(variance.ravel(), train.x.var(axis=(0, 1)), rtol=1e-4)


@pytest.mark.slow
def test_the_table_tells_how_soon_a_goal_was_reached(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(standardize, "GOALS", (0.0, 1.0))
    config = small("standardize", **SETTINGS, scaling="unit", output=tmp_path)
    metrics = standardize.main(config)["unit"]
    assert metrics["epochs_to_0.0"] == 1
    assert metrics["epochs_to_1.0"] is None
    assert re.search(r"\n +unit +0\.1\d+ +0\.0\d+ +1 +- +\d", capsys.readouterr().out)
    # A network trained alone is the same as among three.
    (alone,) = tmp_path.glob("standardize/*/unit")
    assert (alone / "history.csv").read_text() == (folder / "unit" / "history.csv").read_text()


# -- TensorBoard ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=SCALINGS)
def shown(request, folder):
    """A scaling, and a function that reads what TensorBoard shows of a part of its folder."""
    if not TENSORFLOW:
        pytest.skip("what TensorBoard shows is written by TensorFlow")
    from tensorboard.backend.event_processing import event_accumulator

    @functools.cache
    def events(part="."):
        path = str(folder / request.param / part)
        return event_accumulator.EventAccumulator(path, size_guidance={"tensors": 0}).Reload()

    return request.param, events


@pytest.mark.slow
def test_figures_weights_and_pictures_of_a_run_are_shown(shown, folder):
    from tensorboard.util import tensor_util

    scaling, events = shown
    assert {"epoch_loss", "epoch_accuracy"} <= set(events("validation").Tags()["tensors"])
    weights = "gru/gru_cell/kernel", "gru/gru_cell/recurrent_kernel", "logits/bias"
    histograms = {f"classif_rnn_network/{weight}/histogram" for weight in weights}
    assert histograms <= set(events("train").Tags()["tensors"])  # alike in all runs
    for name in "loss", "accuracy", "learning_rate":
        assert [event.step for event in events("batches").Tensors(f"batch_{name}")] == [10, 26]
    metrics = json.loads((folder / scaling / "metrics.json").read_text())
    for name in tensorboard_log.FIGURES_SHOWN:
        (event,) = events().Tensors(name)
        assert tensor_util.make_ndarray(event.tensor_proto) == pytest.approx(metrics[name])
    for picture in "confusion_matrix", "misread", "learning_curves":
        (event,) = events().Tensors(picture)
        assert event.tensor_proto.string_val[2].startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_graph_is_that_of_the_operations(shown):
    """It is the one that the tab opens on, before one chooses a tag."""
    scaling, events = shown
    nodes = {node.name: node.op for node in events("train").Graph().node}
    assert nodes["pixels"] == "Placeholder"
    scale = "normalization" if scaling == "standardized" else "rescaling"
    assert any(scale in name for name in nodes)
    recurrent = {kind for name, kind in nodes.items() if "/gru" in name}
    assert {"MatMul", "Sigmoid", "Tanh", "While"} <= recurrent


@pytest.mark.slow
def test_a_row_of_the_table_has_the_settings(shown, folder):
    from tensorboard.plugins.hparams import metadata

    scaling, events = shown
    content = events().SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    start = metadata.parse_session_start_info_plugin_data(content)
    assert start.group_name == f"{scaling} {folder.name}"
    assert set(start.hparams) == set(tensorboard_log.SETTINGS_SHOWN)
    assert start.hparams["scaling"].string_value == scaling
    assert start.hparams["units"].number_value == SETTINGS["units"]
    content = events().SummaryMetadata("_hparams_/experiment").plugin_data.content
    experiment = metadata.parse_experiment_plugin_data(content)
    tags = [info.name.tag for info in experiment.metric_infos]
    assert tags == list(tensorboard_log.FIGURES_SHOWN)
