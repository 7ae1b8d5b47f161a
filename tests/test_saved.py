"""support/saved.py: a training begins with the weights of a network that was saved."""

import re

from common import SettingError

import keras
import numpy as np
import pytest
from lessons import network, small

from classic import classif_rnn_network
from standardize import scaling_layer
from support import saved

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)


def classifier(scaling="unit", images=IMAGES, classes=10, **settings):
    config = small("classic", **{"depth": 2} | settings)
    layer = scaling_layer(scaling, images)
    return classif_rnn_network(28, 28, config, scaling=layer, classes=classes)


def save(network, folder):
    network.save(folder / "model.keras")
    return folder / "model.keras"


PAIRS = {
    "of other data": lambda: (classifier("standardized"), classifier("standardized", IMAGES // 4)),
    "of another lesson": lambda: [
        network(lesson, depth=2, columns=4, bidirectional=True)
        for lesson in ("seq_labelling", "variable_length_seq")
    ],
}


@pytest.mark.parametrize("pair", PAIRS)
def test_the_network_answers_as_the_one_that_was_saved(pair, tmp_path):
    first, second = PAIRS[pair]()
    assert not np.allclose(first.get_weights()[-2], second.get_weights()[-2], atol=1e-3)
    saved.start_from(save(first, tmp_path), second)
    again = keras.saving.load_model(save(second, tmp_path))
    answers = [network.predict(IMAGES, verbose=0) for network in (first, second, again)]
    np.testing.assert_allclose(answers[1:], [answers[0]] * 2, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 1}, "its layer logits has weights of (4, 10), (10,); but this network's gru_1 "),
        ({"bidirectional": True}, "its layer bidirectional has "),
        (
            {"scaling": "raw"},
            "its layer rescaling multiplies by 1 and adds 0.0; but this network's",
        ),
        ({"scaling": "standardized"}, "its layer normalization has weights of (28,), (28,), (); "),
        ({"classes": 9}, "its layer logits has weights of (4, 9), (9,); but this network's logits"),
    ],
)
def test_the_first_layer_that_does_not_fit_is_named(settings, message, tmp_path):
    keras.utils.clear_session()  # layers are numbered from 1 again
    built = classifier()
    keras.utils.clear_session()
    path = save(classifier(**settings), tmp_path)
    before = built.get_weights()
    with pytest.raises(SettingError, match=re.escape(f"--start-from {path}: {message}")):
        saved.start_from(path, built)
    for weights in zip(before, built.get_weights(), strict=True):
        np.testing.assert_array_equal(*weights)
