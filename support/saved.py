"""Networks that were saved: load one, begin a training with its weights."""

import itertools
from pathlib import Path

import common

import keras


def load(path: Path) -> keras.Model:
    """Load a network, without loss and optimizer; DataError if Keras cannot read it."""
    if not path.is_file():
        raise common.DataError(f"{path} is no file: name a network that a script has saved")
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # of Keras, HDF5, zip or JSON
        raise common.DataError(
            f"{path} is not a network that Keras can read ({common.one_line(error)})"
        ) from None


def start_from(path: Path | None, network: keras.Model) -> None:
    """Give a network the weights of one that was saved; None: it keeps its own.

    The mean and variance that standardize the input come with them: they are weights of a layer.

    Args:
        network: not compiled yet, so that nothing of an optimizer is loaded.

    Raises:
        DataError: the file cannot be read.
        SettingError: the two networks differ in a layer that has weights, or in the scale of the
            input; the message names the first difference.
    """
    if path is None:
        return
    layers = [_layers(load(path)), _layers(network)]
    for saved, built in itertools.zip_longest(*layers, fillvalue=("-", "none further")):
        if saved[1] != built[1]:
            raise common.SettingError(
                f"--start-from {path}: its layer {' '.join(saved)}; but this network's "
                f"{' '.join(built)}: choose the settings that it was trained with"
            )
    # After set_weights, a Normalization layer would still use its own mean and variance.
    network.load_weights(path)


def _layers(network: keras.Model) -> list[tuple[str, str]]:
    """Name the layers that two networks must have in common, and say what each must be."""
    named = []
    for layer in network.layers:
        if layer.weights:
            shapes = ", ".join(str(weight.shape) for weight in layer.weights)
            named.append((layer.name, f"has weights of {shapes}"))
        elif isinstance(layer, keras.layers.Rescaling):
            named.append((layer.name, f"multiplies by {layer.scale} and adds {layer.offset}"))
    return named
