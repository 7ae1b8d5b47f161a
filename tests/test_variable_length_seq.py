"""variable_length_seq.py: padding changes nothing."""

import functools
import json

import common
from common import DataError, Examples, SettingError

import keras
import numpy as np
import pytest
from gradients import gradients
from lessons import small
from small_data import PICKLES

import variable_length_seq
from support import ctc, strips, training
from variable_length_seq import PADDING, in_buckets, pad

NETWORK = {"cell": "GRU", "units": 32, "depth": 2, "bidirectional": True, "columns": 4}
SIZES = {"train_size": 512, "test_size": 200, "epochs": 2, "batch_size": 16}


def settings_of(**settings):
    return small("variable_length_seq", **NETWORK | settings)


def rnn_seqlab_network(D, **settings):
    """A network with the settings of `trained` where the test names no others."""
    return variable_length_seq.rnn_seqlab_network(D, settings_of(**settings))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network after a short training on real strips, and 200 test strips."""
    config = settings_of(**SIZES, learning_rate=0.0045, output=tmp_path_factory.mktemp("runs"))
    variable_length_seq.main(config)
    (folder,) = config.output.glob("variable_length_seq/*")
    *_, test = strips.load_strips(
        config.data, shortest=2, longest=5, columns=4, test_size=config.test_size
    )
    return keras.saving.load_model(folder / "model.keras"), test


def predict(network, strips, extra_steps=0):
    pixels = pad(strips)
    padding = ((0, 0), (0, 4 * extra_steps), (0, 0))
    return network.predict_on_batch(np.pad(pixels, padding, constant_values=PADDING))


def read(logits, beam_width):
    return ctc.trimmed(ctc.read_labels(logits, beam_width=beam_width))


@pytest.mark.slow
@pytest.mark.parametrize(("size", "extra_steps"), [(35, 0), (200, 100)])
def test_strips_are_read_the_same_alone_and_in_a_batch(trained, size, extra_steps):
    """35 strips of 35 steps: there a mask (batch, steps) fits a loss (batch,) by accident."""
    network, test = trained
    steps = np.array([len(strip) // 4 for strip in test.x])
    assert np.unique(steps).tolist() == [14, 21, 28, 35]
    chosen = np.roll(np.arange(200), -steps.argmax())[:size]  # one of the longest is among them
    x, y, steps = test.x[chosen], test.y[chosen], steps[chosen]
    batch = predict(network, x, extra_steps)
    assert batch.shape == (size, 35 + extra_steps, 11)
    for length in np.unique(steps):
        (rows,) = np.nonzero(steps == length)
        alone = np.concatenate([predict(network, x[row : row + 1]) for row in rows])
        together = batch[rows]
        np.testing.assert_allclose(together[:, :length], alone, atol=1e-5, rtol=1e-5)
        assert (together[:, length:] == np.where(np.arange(11) == 0, 1e4, -1e4)).all()
        losses = (keras.losses.ctc(y[rows], logits) for logits in (together, alone))
        np.testing.assert_allclose(*losses, atol=1e-5, rtol=1e-5)
        for width in None, 5:
            np.testing.assert_array_equal(read(together, width), read(alone, width))


@pytest.mark.slow
def test_gradient_does_not_see_the_padding(trained):
    """That of 32 strips is the sum of those of the strips of each length, which are not padded."""
    network, test = trained
    x, y, loss = test.x[:32], test.y[:32], keras.losses.CTC(reduction="sum")
    padded = np.pad(pad(x), ((0, 0), (0, 28), (0, 0)), constant_values=PADDING)
    lengths = np.array([len(strip) for strip in x])
    alone = [
        gradients(network, loss, pad(x[lengths == length]), y[lengths == length])
        for length in np.unique(lengths)
    ]
    assert len(alone) == 4
    for gradient, *parts in zip(gradients(network, loss, padded, y), *alone, strict=True):
        assert np.abs(gradient).max() > 0.1
        np.testing.assert_allclose(gradient / 32, np.sum(parts, axis=0) / 32, atol=1e-5)


@pytest.mark.slow
def test_without_the_mask_padding_changes_the_reading(trained):
    """Otherwise the tests above would prove nothing."""
    network, test = trained
    unmasked = rnn_seqlab_network(28, mask=False)
    unmasked.set_weights(network.get_weights())
    plain, padded = (predict(unmasked, test.x[:50], extra) for extra in (0, 7))
    assert np.abs(padded[:, : plain.shape[1]] - plain).max() > 0.1


@pytest.mark.slow
def test_background_inside_a_strip_is_never_masked(trained):
    """Where nothing is padded, a network with the mask equals one without.

    To the last bit; with JAX, which compiles the two into other orders of sums, nearly so.
    """
    tolerance = 0 if keras.backend.backend() == "tensorflow" else 1e-5
    network, test = trained
    strip = np.zeros((140, 28), np.uint8)
    strip[:28], strip[-28:] = test.x[0][:28], test.x[0][-28:]
    unmasked = rnn_seqlab_network(28, mask=False)
    unmasked.set_weights(network.get_weights())
    for some in ([strip], [np.zeros((56, 28), np.uint8)]):
        masked, plain = predict(network, some), predict(unmasked, some)
        np.testing.assert_allclose(masked, plain, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("cell", "bidirectional"), [("SimpleRNN", True), ("LSTM", False)])
def test_other_cells_keep_the_mask(cell, bidirectional):
    network = rnn_seqlab_network(
        6, cell=cell, units=5, depth=3, bidirectional=bidirectional, dropout=0.2
    )
    strips = [np.random.default_rng(n).integers(0, 256, (n, 6), np.uint8) for n in (8, 20)]
    pixels = pad(strips)
    alone = network.predict_on_batch(pad(strips[:1]))
    together = network.predict_on_batch(pixels)
    np.testing.assert_allclose(together[0, :2], alone[0], atol=1e-6)


# -- padding and buckets ----------------------------------------------------------------------


def test_padding_is_on_the_right_with_a_value_that_no_pixel_has():
    strips = [np.full((3, 2), 255, np.uint8), np.zeros((8, 2), np.uint8)]
    padded = pad(strips)
    assert padded.shape == (2, 8, 2)
    assert padded[0, :, 0].tolist() == [255, 255, 255, -1, -1, -1, -1, -1]
    assert (padded[1] == 0).all()


def test_buckets_hold_every_sequence_once_and_are_shuffled_anew():
    random = np.random.default_rng(0)
    strips = np.empty(103, object)
    strips[:] = [np.zeros((length, 1)) for length in random.integers(2, 6, 103)]
    examples = Examples(strips, np.arange(103))
    orders = [
        in_buckets(lambda random: examples, 10, np.random.default_rng(seed)) for seed in (0, 0, 1)
    ]
    for order in orders:
        assert sorted(order.y) == list(range(103))
        assert all(len(strips[i]) == len(x) for i, x in zip(order.y, order.x, strict=True))
        batches = np.array([len(x) for x in order.x[:100]]).reshape(10, 10)
        assert (batches.min(axis=1) == batches.max(axis=1)).sum() >= 10 - 3
        assert (np.diff(batches[:, 0]) < 0).any()
    assert orders[0].y.tolist() == orders[1].y.tolist() != orders[2].y.tolist()


def test_buckets_leave_at_most_5_percent_of_padding():
    compose, _, _ = strips.load_strips(common.DATA_FILE, shortest=2, longest=5, columns=4)
    shares = []
    for train in (compose, functools.partial(in_buckets, compose, 64)):
        batches = training.EpochBatches(train, batch_size=64, seed=0, collate=pad)
        shares.append(training.padding_share(batches))
    plain, sorted_by_length = shares
    assert sorted_by_length <= 0.05
    assert plain > 0.2


def test_it_is_the_setting_that_puts_strips_in_buckets():
    shares = {}
    for buckets in True, False:
        config = settings_of(train_size=500, batch_size=64, buckets=buckets)
        batches, *_ = variable_length_seq.load_data(config)
        shares[buckets] = training.padding_share(batches)
    assert shares[True] < shares[False] / 2


# -- data -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_ragged_pickle_is_trained_on(tmp_path):
    path = PICKLES / "python2_sequences_lists_protocol2.pkl.gz"
    config = small("variable_length_seq", data=path, columns=5, output=tmp_path)
    assert variable_length_seq.main(config)["test_size"] == 6
    assert json.loads(next(tmp_path.glob("*/*/metrics.json")).read_text())["test_size"] == 6


def test_settings_that_contradict_each_other():
    with pytest.raises(SettingError, match="--shortest 6 is more than --longest 5"):
        variable_length_seq.main(settings_of(shortest=6))


def test_labels_too_long_for_their_frames(tmp_path):
    path = PICKLES / "python2_sequences_lists_protocol2.pkl.gz"
    message = "training sequence 0: 2 labels, 0 of them repeated, take 2 steps, but there are 1"
    with pytest.raises(DataError, match=message):
        variable_length_seq.main(settings_of(data=path, columns=12, output=tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()
