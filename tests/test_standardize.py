"""standardize.py: the scale of the input, and what TensorBoard shows of a training."""

import csv
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


@pytest.fixture(scope="module")
def train_images():
    (train, _, _) = digits.load_digits(common.DATA_FILE)
    return train.x


def test_standardized_input_has_mean_0_and_variance_1(train_images):
    seen = np.asarray(scaling_layer("standardized", train_images)(train_images), np.float64)
    assert np.abs(seen.mean(axis=(0, 1))).max() < 1e-3
    assert np.abs(seen.var(axis=(0, 1)) - 1).max() < 1e-3


def test_constant_features_become_0():
    images = np.random.default_rng(0).integers(0, 256, (50, 4, 3), np.uint8)
    images[:, :, 0], images[:, :, 1] = 0, 255
    seen = np.asarray(scaling_layer("standardized", images)(images))
    assert (seen[:, :, :2] == 0).all()
    assert seen[:, :, 2].var() == pytest.approx(1, abs=1e-3)


def test_the_other_scalings(train_images):
    some = train_images[:100]
    np.testing.assert_array_equal(scaling_layer("raw", some)(some), some)
    np.testing.assert_allclose(scaling_layer("unit", some)(some), some / 255, rtol=1e-6)


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """A run with all three scalings."""
    output = tmp_path_factory.mktemp("standardize")
    standardize.main(small("standardize", **SETTINGS, scaling="all", output=output))
    return output


@pytest.fixture(scope="module")
def folder(output):
    (folder,) = output.glob("standardize/*")
    return folder


def normalization_weights(folder):
    network = keras.saving.load_model(folder / "standardized" / "model.keras")
    assert isinstance(network.layers[1], keras.layers.Normalization)
    return network.layers[1].get_weights()


@pytest.mark.slow
def test_test_images_never_enter_the_statistics(folder, monkeypatch, tmp_path):
    """Other validation and test images leave the layer's weights as they are."""
    load_digits = digits.load_digits

    def load_changed(path, **sizes):
        train, *rest = load_digits(path, **sizes)
        return train, *(common.Examples(255 - part.x, part.y) for part in rest)

    monkeypatch.setattr(digits, "load_digits", load_changed)
    settings = SETTINGS | {"epochs": 1, "scaling": "standardized", "output": tmp_path}
    metrics = standardize.main(small("standardize", **settings))
    before = json.loads((folder / "standardized" / "metrics.json").read_text())
    assert metrics["standardized"]["test_loss"] != before["test_loss"]
    (changed,) = tmp_path.glob("standardize/*")
    for weights in zip(normalization_weights(folder), normalization_weights(changed), strict=True):
        np.testing.assert_array_equal(*weights)


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


@pytest.fixture(scope="module")
def shown(folder):
    """A function that reads what TensorBoard shows of a scaling, or of a part of its folder."""
    if not TENSORFLOW:
        pytest.skip("what TensorBoard shows is written by TensorFlow")
    from tensorboard.backend.event_processing import event_accumulator

    @functools.cache
    def shown(scaling, part="."):
        path = str(folder / scaling / part)
        return event_accumulator.EventAccumulator(path, size_guidance={"tensors": 0}).Reload()

    return shown


def scalars(events, tag):
    """The steps and the values of a tag."""
    from tensorboard.util import tensor_util

    events = events.Tensors(tag)
    values = [float(tensor_util.make_ndarray(event.tensor_proto)) for event in events]
    return [event.step for event in events], values


@pytest.mark.slow
@pytest.mark.parametrize("scaling", SCALINGS)
def test_scalars_are_those_of_the_history(scaling, shown, folder):
    with (folder / scaling / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    for part, name, column in (
        ("train", "loss", "loss"),
        ("train", "accuracy", "accuracy"),
        ("validation", "loss", "val_loss"),
        ("validation", "accuracy", "val_accuracy"),
    ):
        steps, values = scalars(shown(scaling, part), f"epoch_{name}")
        assert steps == [0, 1]
        assert values == pytest.approx([float(row[column]) for row in history], rel=1e-6)
    for name in "loss", "accuracy", "learning_rate":
        assert scalars(shown(scaling, "batches"), f"batch_{name}")[0] == [10, 26]
    metrics = json.loads((folder / scaling / "metrics.json").read_text())
    for name in tensorboard_log.FIGURES_SHOWN:
        assert scalars(shown(scaling), name)[1] == pytest.approx([metrics[name]], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("scaling", SCALINGS)
def test_weights_are_named_alike_in_all_runs_and_pictures_are_those_of_the_run(scaling, shown):
    tags = set(shown(scaling, "train").Tags()["tensors"])
    weights = "gru/gru_cell/kernel", "gru/gru_cell/recurrent_kernel", "logits/bias"
    assert {f"classif_rnn_network/{weight}/histogram" for weight in weights} <= tags
    for picture in "confusion_matrix", "misread", "learning_curves":
        (event,) = shown(scaling).Tensors(picture)
        assert event.tensor_proto.string_val[2].startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_graph_is_that_of_the_operations(scaling, shown):
    """It is the one that the tab opens on, before one chooses a tag."""
    nodes = {node.name: node.op for node in shown(scaling, "train").Graph().node}
    assert nodes["pixels"] == "Placeholder"
    scale = "normalization" if scaling == "standardized" else "rescaling"
    assert any(scale in name for name in nodes)
    assert "MatMul" in {kind for name, kind in nodes.items() if "/logits" in name}
    recurrent = {kind for name, kind in nodes.items() if "/gru" in name}
    assert {"MatMul", "Sigmoid", "Tanh", "While"} <= recurrent


@pytest.mark.slow
@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_row_of_the_table_has_the_settings(scaling, shown, folder):
    from tensorboard.plugins.hparams import metadata

    content = shown(scaling).SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    start = metadata.parse_session_start_info_plugin_data(content)
    assert start.group_name == f"{scaling} {folder.name}"
    assert set(start.hparams) == set(tensorboard_log.SETTINGS_SHOWN)
    assert start.hparams["scaling"].string_value == scaling
    assert start.hparams["units"].number_value == SETTINGS["units"]
    content = shown(scaling).SummaryMetadata("_hparams_/experiment").plugin_data.content
    experiment = metadata.parse_experiment_plugin_data(content)
    tags = [info.name.tag for info in experiment.metric_infos]
    assert tags == list(tensorboard_log.FIGURES_SHOWN)
