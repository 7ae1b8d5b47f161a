"""support/saved.py: a training begins with the weights of a network that was saved."""

import re

from common import DataError, SettingError

import keras
import numpy as np
import pytest
from lessons import small

import seq_labelling
import variable_length_seq
from classic import classif_rnn_network
from standardize import scaling_layer
from support import saved

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)


def classifier(scaling="unit", images=IMAGES, classes=10, **settings):
    config = small("classic", **{"depth": 2} | settings)
    layer = scaling_layer(scaling, images)
    return classif_rnn_network(28, 28, config, scaling=layer, classes=classes)


def labeller(**settings):
    config = small("seq_labelling", **{"depth": 2, "columns": 4} | settings)
    return seq_labelling.rnn_seqlab_network(28, 28, config)


def any_length_labeller(**settings):
    config = small("variable_length_seq", **{"depth": 2, "columns": 4} | settings)
    return variable_length_seq.rnn_seqlab_network(28, config)


def save(network, folder):
    network.save(folder / "model.keras")
    return folder / "model.keras"


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("build", [classifier, labeller, any_length_labeller])
def test_the_network_answers_as_the_one_that_was_saved(build, bidirectional, tmp_path):
    first, second = (build(bidirectional=bidirectional) for _ in range(2))
    before = second.predict(IMAGES, verbose=0)
    saved.start_from(save(first, tmp_path), second)
    expected = first.predict(IMAGES, verbose=0)
    assert not np.allclose(before, expected, atol=1e-3)
    np.testing.assert_array_equal(second.predict(IMAGES, verbose=0), expected)


def test_what_standardizes_comes_with_the_weights(tmp_path):
    first = classifier("standardized")
    second = classifier("standardized", images=IMAGES // 4)  # other data: another mean and variance
    saved.start_from(save(first, tmp_path), second)
    expected = first.predict(IMAGES, verbose=0)
    np.testing.assert_array_equal(second.predict(IMAGES, verbose=0), expected)
    again = keras.saving.load_model(save(second, tmp_path))
    np.testing.assert_array_equal(again.predict(IMAGES, verbose=0), expected)


def test_a_lesson_goes_on_with_a_network_of_another(tmp_path):
    """Lesson 3 with one of lesson 2: the layers with weights are the same."""
    first, second = labeller(), any_length_labeller()
    saved.start_from(save(first, tmp_path), second)
    np.testing.assert_allclose(
        second.predict(IMAGES, verbose=0), first.predict(IMAGES, verbose=0), atol=1e-6
    )


def test_nothing_of_the_optimizer_comes_along(tmp_path):
    first, second = classifier(), classifier()
    first.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    first.fit(IMAGES, np.zeros(20), verbose=0)
    saved.start_from(save(first, tmp_path), second)
    second.compile(optimizer="adam")
    assert int(second.optimizer.iterations.value) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"units": 5},
            "its layer gru has weights of (28, 15), (5, 15), (2, 15); but this network's gru has "
            "weights of (28, 12), (4, 12), (2, 12): choose the settings that it was trained with",
        ),
        ({"cell": "LSTM"}, "its layer lstm has weights of (28, 16), (4, 16), (16,); but"),
        ({"depth": 1}, "its layer logits has weights of (4, 10), (10,); but this network's gru_1 "),
        ({"depth": 3}, "its layer gru_2 has "),
        ({"bidirectional": True}, "its layer bidirectional has "),
        (
            {"scaling": "raw"},
            "its layer rescaling multiplies by 1 and adds 0.0; but this network's rescaling "
            "multiplies by 0.003",
        ),
        ({"scaling": "standardized"}, "its layer normalization has weights of (28,), (28,), (); "),
        ({"classes": 9}, "its layer logits has weights of (4, 9), (9,); but this network's logits"),
    ],
)
def test_the_first_layer_that_does_not_fit_is_named(settings, message, tmp_path):
    keras.utils.clear_session()  # layers are numbered from 1 again
    network = classifier()
    keras.utils.clear_session()
    path = save(classifier(**settings), tmp_path)
    before = network.get_weights()
    with pytest.raises(SettingError, match=re.escape(f"--start-from {path}: {message}")):
        saved.start_from(path, network)
    for weights in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(*weights)


def test_a_file_that_is_no_network_is_refused(tmp_path):
    (tmp_path / "model.keras").write_text("nothing")
    for path, message in (
        (tmp_path / "model.keras", "is not a network that Keras can read"),
        (tmp_path / "missing.keras", "is no file: name a network that a script has saved"),
        (tmp_path, "is no file"),
    ):
        with pytest.raises(DataError, match=message):
            saved.start_from(path, classifier())
