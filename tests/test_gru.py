"""support/gru.py: the numbers of Keras, to the last digit."""

import common

import keras
import numpy as np
import pytest

from support import gru


@pytest.fixture(autouse=True)
def keras_alone(monkeypatch):
    """GRUs as Keras has them, whatever ran before; after the test as before it."""
    monkeypatch.setattr(keras.layers.GRUCell, "call", gru._call_of_keras)


def trained():
    """The weights after a few steps of a network that reads in both directions, with a mask."""
    common.set_seed(0)
    pixels = keras.Input((6, 5))
    mask = keras.ops.any(pixels > 0.2, axis=-1)
    recurrent = keras.layers.GRU(7, return_sequences=True)
    x = keras.layers.Bidirectional(recurrent, merge_mode="sum")(pixels, mask=mask)
    network = keras.Model(pixels, keras.layers.GRU(3)(x))
    network.compile("adam", "mse")
    for x in np.random.default_rng(0).random((4, 8, 6, 5)):
        network.train_on_batch(x, x[:, 0, :3])
    return network.get_weights()


def test_a_gru_learns_what_it_learns_in_keras(monkeypatch):
    expected = trained()
    with monkeypatch.context() as patch:  # a version that was not tried stays as it is
        patch.setattr(keras, "__version__", "3.15.2")
        gru.without_waste()
    assert keras.layers.GRUCell.call is gru._call_of_keras
    gru.without_waste()
    tried = keras.backend.backend() == "tensorflow" and keras.__version__ in gru.TRIED
    assert (keras.layers.GRUCell.call is gru._call) == tried
    for weights, others in zip(trained(), expected, strict=True):
        np.testing.assert_array_equal(weights, others)


@pytest.mark.parametrize(
    "settings",
    [
        *({}, {"reset_after": False}, {"use_bias": False}, {"activation": "relu"}),
        *({"recurrent_activation": "relu"}, {"dropout": 0.5}, {"recurrent_dropout": 0.5}),
    ],
    ids=str,
)
def test_a_state_is_that_of_keras_whatever_the_settings(settings):
    x, h = np.random.default_rng(0).normal(size=(2, 9, 4)).astype(np.float32)
    states = []
    for repair in (lambda: None), gru.without_waste:
        repair()
        common.set_seed(0)
        cell = keras.layers.GRUCell(4, bias_initializer="normal", **settings)
        states.append(np.asarray(cell(x, [h], training=True)[0]))
    np.testing.assert_array_equal(*states)
