"""tests/reference.py against Keras, where no other test compares the two: the gradients."""

import keras
import numpy as np
import reference
from gradients import gradients
from lessons import small

import classic


def test_gradients_through_time_are_those_of_a_simple_rnn():
    """Of lesson 1, asked after every row, so that the loss depends on every state directly."""
    random = np.random.default_rng(0)
    config = small("classic", cell="SimpleRNN", units=5)
    network = classic.classif_rnn_network(6, 3, config, every_row=True)
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


def test_loss_and_gradient_of_ctc():
    """Of 40 strips: each row of the only weight is the logits of one step of one strip."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (40, 12, 4)).astype(np.float32)
    labels = random.integers(1, 4, (40, 5)) * (np.arange(5) < random.integers(0, 6, (40, 1)))
    network = keras.Sequential([keras.Input((12, 480)), keras.layers.Dense(4, use_bias=False)])
    network.set_weights([logits.reshape(480, 4)])
    one_hot = np.eye(480).reshape(40, 12, 480)
    (found,) = gradients(network, keras.losses.CTC(reduction="sum"), one_hot, labels)
    losses = keras.ops.convert_to_numpy(keras.losses.ctc(labels, logits))
    for i, y in enumerate(labels):
        loss, gradient = reference.ctc(logits[i], y[y > 0])
        np.testing.assert_allclose(losses[i], loss, rtol=0, atol=1e-5)
        np.testing.assert_allclose(found.reshape(logits.shape)[i], gradient, rtol=0, atol=1e-5)
