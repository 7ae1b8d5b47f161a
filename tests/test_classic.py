"""classic.py: the network."""

import common  # noqa: F401

import keras
import numpy as np
import pytest
from lessons import small

import classic
from classic import main
from support import report


def classif_rnn_network(T, D, every_row=False, **settings):
    """A network with the settings of a small one where the test names no others."""
    config = small("classic", **{"cell": "SimpleRNN", "units": 8, "update_bias": 0.0} | settings)
    return classic.classif_rnn_network(T, D, config, every_row=every_row)


@pytest.mark.parametrize(
    ("cell", "units", "parameters"),
    [("SimpleRNN", 256, 75_530), ("LSTM", 128, 81_674), ("GRU", 128, 61_962)],
)
def test_number_of_parameters(cell, units, parameters):
    assert classif_rnn_network(28, 28, cell=cell, units=units).count_params() == parameters


def test_depth_directions_and_dropout():
    one = classif_rnn_network(28, 28)
    two = classif_rnn_network(28, 28, depth=2)
    both = classif_rnn_network(28, 28, bidirectional=True)
    assert two.count_params() - one.count_params() == 8 * 8 + 8 * 8 + 8
    assert both.count_params() == 2 * (28 * 8 + 8 * 8 + 8) + 16 * 10 + 10
    network = classif_rnn_network(28, 28, cell="GRU", depth=3, dropout=0.5)
    rates = [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.5] * 3


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def simple_rnn_step(x, state, W, U, b):
    return (np.tanh(x @ W + state[0] @ U + b),)


def lstm_step(x, state, W, U, b):
    i, f, c, o = np.split(x @ W + state[0] @ U + b, 4, axis=-1)
    memory = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(c)
    return sigmoid(o) * np.tanh(memory), memory


def gru_step(x, state, W, U, b):
    (h,) = state
    z, r, candidate = np.split(x @ W + b[0], 3, axis=-1)
    z_state, r_state, candidate_state = np.split(h @ U + b[1], 3, axis=-1)
    z, r = sigmoid(z + z_state), sigmoid(r + r_state)
    return (z * h + (1 - z) * np.tanh(candidate + r * candidate_state),)


@pytest.mark.parametrize(
    ("cell", "step", "states"),
    [("SimpleRNN", simple_rnn_step, 1), ("LSTM", lstm_step, 2), ("GRU", gru_step, 1)],
)
def test_each_cell_follows_its_formula(cell, step, states):
    """The formulas of docs/lesson_1.md, written out with NumPy."""
    random = np.random.default_rng(0)
    network = classif_rnn_network(5, 3, cell=cell, units=4)
    network.set_weights([random.normal(size=weight.shape) for weight in network.get_weights()])
    W, U, b, V, c = network.get_weights()
    pixels = random.integers(0, 256, (2, 5, 3), dtype=np.uint8)
    state = (np.zeros((2, 4)),) * states
    for t in range(5):
        state = step(pixels[:, t] / 255, state, W, U, b)
    np.testing.assert_allclose(network.predict(pixels, verbose=0), state[0] @ V + c, atol=1e-5)


@pytest.mark.parametrize(("update_bias", "kept"), [(0.0, 0.5), (1.0, 0.731059), (-1.0, 0.268941)])
def test_the_update_gate_of_a_gru_begins_by_keeping_this_share_of_the_state(update_bias, kept):
    network = classif_rnn_network(5, 3, cell="GRU", units=4, depth=2, update_bias=update_bias)
    for layer in network.layers[1:3]:
        layer.cell.recurrent_kernel.assign(np.zeros((4, 12)))
        _, (state,) = layer.cell(np.zeros((1, layer.cell.kernel.shape[0])), [np.ones((1, 4))])
        np.testing.assert_allclose(state, np.full((1, 4), kept), atol=1e-6)


@pytest.mark.parametrize("cell", ["SimpleRNN", "LSTM"])
def test_update_bias_changes_nothing_but_a_gru(cell):
    networks = [classif_rnn_network(5, 3, cell=cell, update_bias=bias) for bias in (0.0, 1.0)]
    np.testing.assert_array_equal(*(network.get_weights()[2] for network in networks))


@pytest.mark.parametrize("depth", [1, 2])
def test_asked_after_every_row_it_answers_as_one_that_reads_no_further(depth):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 6, 4), dtype=np.uint8)
    reader = classif_rnn_network(6, 4, cell="GRU", units=5, depth=depth, every_row=True)
    logits = reader.predict(pixels, verbose=0)
    assert logits.shape == (3, 6, 10)
    for rows in range(1, 7):
        network = classif_rnn_network(rows, 4, cell="GRU", units=5, depth=depth)
        network.set_weights(reader.get_weights())
        answer = network.predict(pixels[:, :rows], verbose=0)
        np.testing.assert_allclose(logits[:, rows - 1], answer, atol=1e-6)


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
