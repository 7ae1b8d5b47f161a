"""Small runs: settings, all that a lesson has, as users may change its defaults; networks."""

import importlib

import keras

NETWORK = {"cell": "GRU", "units": 4, "depth": 1, "bidirectional": False, "dropout": 0.0}
TRAINING = {
    "epochs": 1,
    "batch_size": 32,
    "optimizer": "Muon",
    "schedule": "one-cycle",
    "learning_rate": 0.01,
    "warmup": 0.25,
    "clip_norm": 1.0,
    "patience": None,
}
DISTORTION = {"distortion": 0.1, "shift": 1.0, "elastic": 0.0}
READING = NETWORK | {"columns": 14, "beam_width": 20}
SMALL = {
    "classic": NETWORK | TRAINING | DISTORTION | {"update_bias": 1.0},
    "seq_labelling": READING | TRAINING | DISTORTION | {"digits": 5},
    "variable_length_seq": READING
    | TRAINING
    | DISTORTION
    | {"shortest": 2, "longest": 5, "buckets": True, "mask": True},
    "standardize": NETWORK | TRAINING | {"scaling": "standardized"},
}


def small(lesson, **settings):
    """A lesson's settings of a small run, some of them changed."""
    return importlib.import_module(lesson).Config(**SMALL[lesson] | settings)


def network(lesson, T=28, **settings):
    """An untrained network of lesson 1, 2 or 3, for images or strips of T x 28 pixels."""
    module, config = importlib.import_module(lesson), small(lesson, **settings)
    if lesson == "classic":
        return module.classif_rnn_network(T, 28, config)
    shape = [T, 28] if lesson == "seq_labelling" else [28]
    return module.rnn_seqlab_network(*shape, config)


def gradients(network, loss, x, y):
    """Derivatives of the loss by the weights: what a step of plain gradient descent takes off."""
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    copy.compile(keras.optimizers.SGD(1.0), loss)
    copy.train_on_batch(x, y)
    steps = zip(network.get_weights(), copy.get_weights(), strict=True)
    return [before - after for before, after in steps]


def options(lesson, **settings):
    """A lesson's settings of a small run on the command line, some of them changed."""
    words = []
    for name, value in (SMALL[lesson] | settings).items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return words
