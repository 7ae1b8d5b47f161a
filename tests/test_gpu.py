"""What cuDNN asks for, by the documentation of keras.layers.GRU and LSTM, so that a GPU uses it."""

import common

import keras
import numpy as np
import pytest
from lessons import small

import classic
import seq_labelling
import standardize
import variable_length_seq
from support import strips
from variable_length_seq import PADDING, pad


def networks(cell):
    settings = {"cell": cell, "units": 4, "depth": 2, "bidirectional": True, "dropout": 0.5}
    some = common.Examples(np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.uint8))
    yield classic.classif_rnn_network(28, 28, small("classic", **settings))
    yield standardize.build_network(small("standardize", scaling="unit", **settings), some)
    yield seq_labelling.rnn_seqlab_network(56, 28, small("seq_labelling", **settings))
    yield variable_length_seq.rnn_seqlab_network(28, small("variable_length_seq", **settings))


@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
def test_recurrent_layers_are_those_that_cudnn_has(cell):
    for network in networks(cell):
        two_ways = [x for x in network.layers if isinstance(x, keras.layers.Bidirectional)]
        assert len(two_ways) == 2
        for layer in [way for x in two_ways for way in (x.forward_layer, x.backward_layer)]:
            assert type(layer) is getattr(keras.layers, cell)
            config = layer.get_config()
            assert config["activation"] == "tanh"
            assert config["recurrent_activation"] == "sigmoid"
            assert config["dropout"] == config["recurrent_dropout"] == 0
            assert config["unroll"] is False
            assert config["use_bias"] is True
            assert config.get("reset_after", True) is True
            assert config["dtype"]["config"]["name"] == "float32"


@pytest.mark.parametrize("columns", [1, 4, 5])
def test_padding_is_on_the_right_and_no_sequence_is_all_padding(columns):
    compose, *_ = strips.load_strips(
        common.DATA_FILE,
        shortest=2,
        longest=5,
        columns=columns,
        train_size=200,
        distortion=0.1,
        shift=1,
    )
    for epoch in range(3):
        composed = compose(np.random.default_rng(epoch))
        padded = pad(composed.x)
        real = (padded != PADDING).reshape(len(padded), -1, columns * 28).any(axis=2)
        assert real[:, 0].all()
        assert (np.diff(real.astype(int), axis=1) <= 0).all()
        np.testing.assert_array_equal(
            real.sum(axis=1), [len(strip) / columns for strip in composed.x]
        )
