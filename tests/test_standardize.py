"""standardize.py: the scale of the input, and what TensorBoard shows of a training."""

import csv
import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request

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
    standardize.main(small("standardize", **SETTINGS, output=output))
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
    assert re.search(r"\nunit +0\.1\d+ +0\.0\d+ +1 +- +\d", capsys.readouterr().out)
    # A network trained alone is the same as among three.
    (alone,) = tmp_path.glob("standardize/*/unit")
    assert (alone / "history.csv").read_text() == (folder / "unit" / "history.csv").read_text()


# -- TensorBoard ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ask(folder):
    """Start TensorBoard on the run; give a function that asks it, as a browser does."""
    if not TENSORFLOW:
        pytest.skip("what TensorBoard shows is written by TensorFlow")
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", folder]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    address = None
    for line in server.stderr:
        if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
            address = found[0]
            break

    def ask(path, **query):
        url = f"{address}data/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read()

    try:
        assert address
        deadline = time.monotonic() + 60
        complete = {f"{scaling}{part}" for scaling in SCALINGS for part in PARTS}
        while time.monotonic() < deadline:  # the server reads the files in the background
            tags = json.loads(ask("plugin/scalars/tags"))
            images = json.loads(ask("plugin/images/tags"))
            if set(tags) == complete and len(images) == len(SCALINGS):
                break
            time.sleep(0.5)
        yield ask
    finally:
        server.terminate()
        server.communicate(timeout=30)


PARTS = "", "/batches", "/train", "/validation"


@pytest.mark.slow
def test_it_shows_the_runs(ask):
    runs = json.loads(ask("runs"))
    assert sorted(runs) == sorted(f"{scaling}{part}" for scaling in SCALINGS for part in PARTS)


@pytest.mark.slow
@pytest.mark.parametrize("scaling", SCALINGS)
def test_its_scalars_are_those_of_the_history(scaling, ask, folder):
    with (folder / scaling / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    names = {
        ("train", "loss"): "loss",
        ("train", "accuracy"): "accuracy",
        ("validation", "loss"): "val_loss",
        ("validation", "accuracy"): "val_accuracy",
    }
    for (part, tag), column in names.items():
        run = f"{scaling}/{part}"
        shown = json.loads(ask("plugin/scalars/scalars", run=run, tag=f"epoch_{tag}"))
        assert [step for _, step, _ in shown] == [0, 1]
        assert [value for _, _, value in shown] == pytest.approx(
            [float(row[column]) for row in history], rel=1e-6
        )
    tags = json.loads(ask("plugin/scalars/tags"))
    assert "epoch_learning_rate" in tags[f"{scaling}/train"]
    for tag in "batch_loss", "batch_accuracy", "batch_learning_rate":
        shown = json.loads(ask("plugin/scalars/scalars", run=f"{scaling}/batches", tag=tag))
        assert [step for _, step, _ in shown] == [10, 20, 30]
    metrics = json.loads((folder / scaling / "metrics.json").read_text())
    ((_, _, accuracy),) = json.loads(
        ask("plugin/scalars/scalars", run=scaling, tag="test_accuracy")
    )
    assert accuracy == pytest.approx(metrics["test_accuracy"], rel=1e-6)


@pytest.mark.slow
def test_its_histograms_are_named_alike_in_all_runs(ask):
    tags = json.loads(ask("plugin/histograms/tags"))
    names = {
        f"classif_rnn_network/{weight}/histogram"
        for weight in ("gru/gru_cell/kernel", "gru/gru_cell/recurrent_kernel", "logits/bias")
    }
    for scaling in SCALINGS:
        assert names <= set(tags[f"{scaling}/train"])


@pytest.mark.slow
def test_its_images_are_the_pictures_of_the_run(ask):
    tags = json.loads(ask("plugin/images/tags"))
    for scaling in SCALINGS:
        assert set(tags[scaling]) == {"confusion_matrix", "misread", "learning_curves"}
        (image,) = json.loads(
            ask("plugin/images/images", run=scaling, tag="confusion_matrix", sample=0)
        )
        query = dict(urllib.parse.parse_qsl(image["query"]))
        picture = ask("plugin/images/individualImage", **query)
        assert picture.startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("scaling", SCALINGS)
def test_its_graph_is_the_network(scaling, ask):
    graph = ask(
        "plugin/graphs/graph", run=f"{scaling}/train", tag="keras", conceptual="true"
    ).decode()
    kinds = re.findall(r'keras_class".*?s: "(\w+)"', graph, re.DOTALL)
    scale = "Normalization" if scaling == "standardized" else "Rescaling"
    assert kinds == ["InputLayer", scale, "GRU", "Dense"]


@pytest.mark.slow
@pytest.mark.parametrize("scaling", SCALINGS)
def test_its_other_graph_is_that_of_the_operations(scaling, ask):
    """It is the one that the tab opens on, before one chooses a tag."""
    info = json.loads(ask("plugin/graphs/info"))
    assert info[f"{scaling}/train"]["run_graph"]
    graph = ask("plugin/graphs/graph", run=f"{scaling}/train", conceptual="false").decode()
    nodes = dict(re.findall(r'name: "([^"]+)"\s+op: "(\w+)"', graph))
    assert nodes["pixels"] == "Placeholder"
    scale = "normalization" if scaling == "standardized" else "rescaling"
    assert any(scale in name for name in nodes)
    assert "MatMul" in {kind for name, kind in nodes.items() if "/logits" in name}
    recurrent = {kind for name, kind in nodes.items() if "/gru" in name}
    assert {"MatMul", "Sigmoid", "Tanh", "While"} <= recurrent


@pytest.mark.slow
def test_its_hparams_are_the_settings_with_their_result(ask, folder):
    experiment = json.loads(ask("plugin/hparams/experiment", request='{"experimentName": ""}'))
    columns = [setting["name"] for setting in experiment["hparamInfos"]]
    assert columns == sorted(tensorboard_log.SETTINGS_SHOWN)
    metric = {"group": "", "tag": "test_accuracy"}
    assert [info["name"]["tag"] for info in experiment["metricInfos"]] == list(
        tensorboard_log.FIGURES_SHOWN
    )
    query = {"allowedStatuses": ["STATUS_SUCCESS"], "colParams": [{"metric": metric}]}
    query |= {"experimentName": "", "startIndex": 0, "sliceSize": 10}
    groups = json.loads(ask("plugin/hparams/session_groups", request=json.dumps(query)))
    names = {f"{scaling} {folder.name}" for scaling in SCALINGS}
    assert {group["name"] for group in groups["sessionGroups"]} == names
    shown = {
        group["hparams"]["scaling"]: next(
            value["value"] for value in group["metricValues"] if value["name"] == metric
        )
        for group in groups["sessionGroups"]
    }
    assert shown == pytest.approx(
        {
            scaling: json.loads((folder / scaling / "metrics.json").read_text())["test_accuracy"]
            for scaling in SCALINGS
        }
    )
