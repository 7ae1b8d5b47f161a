"""classic.py: the network."""

import keras
import numpy as np
import pytest
import reference
from lessons import gradients, small

import classic
from classic import main
from support import report


def classif_rnn_network(T, D, every_row=False, **settings):
    """A network with the settings of a small one where the test names no others."""
    config = small("classic", **{"cell": "SimpleRNN", "units": 8, "update_bias": 0.0} | settings)
    return classic.classif_rnn_network(T, D, config, every_row=every_row)


def test_both_directions_stand_side_by_side():
    network = classif_rnn_network(28, 28, bidirectional=True)
    assert network.count_params() == 2 * (28 * 8 + 8 * 8 + 8) + 16 * 10 + 10


@pytest.mark.parametrize(
    ("cell", "states"),
    [("SimpleRNN", reference.simple_rnn), ("LSTM", reference.lstm), ("GRU", reference.gru)],
)
@pytest.mark.parametrize(("depth", "every_row"), [(1, False), (2, True)])
def test_each_cell_follows_its_formula(cell, states, depth, every_row):
    random = np.random.default_rng(0)
    network = classif_rnn_network(5, 3, every_row, cell=cell, units=4, depth=depth)
    network.set_weights([random.normal(size=weight.shape) for weight in network.get_weights()])
    *weights, V, c = network.get_weights()
    pixels = random.integers(0, 256, (2, 5, 3), dtype=np.uint8)
    h = pixels / 255
    for level in range(depth):
        h = np.array([states(x, *weights[3 * level : 3 * level + 3]) for x in h])
    expected = (h if every_row else h[:, -1]) @ V + c
    np.testing.assert_allclose(network.predict(pixels, verbose=0), expected, rtol=0, atol=1e-5)


def test_gradients_through_time_are_those_of_a_simple_rnn():
    """Asked after every row, so that the loss depends on every state directly."""
    random = np.random.default_rng(0)
    network = classif_rnn_network(6, 3, every_row=True, units=5)
    network.set_weights([random.normal(size=weight.shape) for weight in network.get_weights()])
    pixels = random.integers(0, 256, (4, 6, 3), np.uint8)
    truth = random.integers(0, 10, (4, 6))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    found = gradients(network, loss, pixels, truth)
    *weights, V, c = network.get_weights()
    expected = []
    for x, y in zip(pixels / 255, truth, strict=True):
        h = reference.simple_rnn(x, *weights)
        error = np.exp(reference.log_softmax(h @ V + c)) - np.eye(10)[y]
        through_time = reference.simple_rnn_gradients(x, *weights, error @ V.T)
        expected.append([*through_time, h.T @ error, error.sum(axis=0)])
    for gradient, *parts in zip(found, *expected, strict=True):
        np.testing.assert_allclose(gradient, sum(parts), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("update_bias", "kept"), [(0.0, 0.5), (1.0, 0.731059), (-1.0, 0.268941)])
def test_the_update_gate_of_a_gru_begins_by_keeping_this_share_of_the_state(update_bias, kept):
    network = classif_rnn_network(5, 3, cell="GRU", units=4, depth=2, update_bias=update_bias)
    for layer in network.layers[1:3]:
        layer.cell.recurrent_kernel.assign(np.zeros((4, 12)))
        _, (state,) = layer.cell(np.zeros((1, layer.cell.kernel.shape[0])), [np.ones((1, 4))])
        np.testing.assert_allclose(state, np.full((1, 4), kept), atol=1e-6)


@pytest.mark.slow
def test_the_network_that_was_tested_is_asked_after_every_row(data, tmp_path, monkeypatch):
    reading, seen = report.reading, []
    monkeypatch.setattr(report, "reading", lambda *what: seen.append(what) or reading(*what))
    metrics = main(small("classic", train_size=64, test_size=10, data=data, output=tmp_path))
    assert metrics["test_size"] == 10
    assert metrics["test_accuracy"] == pytest.approx(metrics["test_right"] / 10, abs=1e-7)
    ((test, logits, _),) = seen
    network = keras.saving.load_model(next(tmp_path.glob("*/*/model.keras")))
    np.testing.assert_allclose(logits[:, -1], network.predict(test.x, verbose=0), atol=1e-5)
    settled = report.timesteps_until_settled(logits.argmax(axis=-1)).mean()
    assert metrics["test_rows_until_settled"] == pytest.approx(settled, abs=0.06)


@pytest.mark.slow
def test_it_learns_in_two_directions_and_is_not_asked_after_every_row(tmp_path):
    """A guess is right once in ten."""
    sizes = {"train_size": 2000, "test_size": 256, "units": 64, "epochs": 3}
    metrics = main(small("classic", bidirectional=True, **sizes, output=tmp_path))
    assert metrics["test_accuracy"] > 0.6
    assert "test_rows_until_settled" not in metrics
    assert not list(tmp_path.glob("*/*/reading.png"))
