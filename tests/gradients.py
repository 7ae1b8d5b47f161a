"""Gradients of a network on any backend, for several test files."""

import keras


def gradients(network, loss, x, y):
    """Derivatives of the loss by the weights: what a step of plain gradient descent takes off."""
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    copy.compile(keras.optimizers.SGD(1.0), loss)
    copy.train_on_batch(x, y)
    steps = zip(network.get_weights(), copy.get_weights(), strict=True)
    return [before - after for before, after in steps]
