"""variable_length_seq.py: padding changes nothing."""

from common import DATA_FILE, Examples

import keras
import numpy as np
import pytest
from lessons import gradients, network, small
from small_data import PICKLES

import variable_length_seq
from support import ctc, strips, training
from variable_length_seq import PADDING, in_buckets, pad


def labeller(**settings):
    """A network with the settings of a larger one where the test names no others."""
    larger = {"units": 32, "depth": 2, "bidirectional": True, "columns": 4}
    return network("variable_length_seq", **larger | settings)


@pytest.fixture(scope="module")
def some():
    """A network whose biases are not 0, as after a training, and 60 strips with their labels."""
    reader, random = labeller(), np.random.default_rng(0)
    reader.set_weights([random.normal(0, 0.5, weight.shape) for weight in reader.get_weights()])
    *_, test = strips.load_strips(DATA_FILE, shortest=2, longest=5, test_size=60)
    return reader, test


def predict(network, strips, extra_steps=0):
    padding = ((0, 0), (0, 4 * extra_steps), (0, 0))
    return network.predict_on_batch(np.pad(pad(strips), padding, constant_values=PADDING))


def test_strips_are_read_the_same_alone_and_in_a_batch(some):
    network, (x, y) = some
    steps = np.array([len(strip) // 4 for strip in x])
    assert np.unique(steps).tolist() == [14, 21, 28, 35]
    batch = predict(network, x, extra_steps=50)
    assert batch.shape == (60, 35 + 50, 11)
    for length in np.unique(steps):
        (rows,) = np.nonzero(steps == length)
        alone = np.concatenate([predict(network, x[row : row + 1]) for row in rows])
        together = batch[rows]
        np.testing.assert_allclose(together[:, :length], alone, atol=1e-5, rtol=1e-5)
        assert (together[:, length:] == np.where(np.arange(11) == 0, 1e4, -1e4)).all()
        losses = (keras.losses.ctc(y[rows], logits) for logits in (together, alone))
        np.testing.assert_allclose(*losses, rtol=1e-5)
        for width in None, 5:
            read = [ctc.read_labels(logits, beam_width=width) for logits in (together, alone)]
            np.testing.assert_array_equal(*map(ctc.trimmed, read))


@pytest.mark.slow
def test_gradient_does_not_see_the_padding(some):
    """That of all strips is the sum of those of the strips of each length, which are not padded."""
    network, (x, y) = some
    loss, lengths = keras.losses.CTC(reduction="sum"), np.array([len(strip) for strip in x])
    padded = np.pad(pad(x), ((0, 0), (0, 28), (0, 0)), constant_values=PADDING)
    alone = [
        gradients(network, loss, pad(x[lengths == length]), y[lengths == length])
        for length in np.unique(lengths)
    ]
    for gradient, *parts in zip(gradients(network, loss, padded, y), *alone, strict=True):
        assert np.abs(gradient).max() > 0.1
        np.testing.assert_allclose(gradient / 60, np.sum(parts, axis=0) / 60, atol=1e-5)


def test_without_the_mask_padding_alone_changes_the_reading(some):
    """Background inside a strip is never masked: where nothing is padded, the two are equal.

    To the last bit; with JAX, which compiles the two into other orders of sums, nearly so.
    """
    tolerance = 0 if keras.backend.backend() == "tensorflow" else 1e-5
    network, (x, _) = some
    unmasked = labeller(mask=False)
    unmasked.set_weights(network.get_weights())
    strip = np.zeros((140, 28), np.uint8)
    strip[:28], strip[-28:] = x[0][:28], x[0][-28:]
    for whole in ([strip], [np.zeros((56, 28), np.uint8)]):
        masked, plain = predict(network, whole), predict(unmasked, whole)
        np.testing.assert_allclose(masked, plain, rtol=0, atol=tolerance)
    padded = predict(unmasked, [strip], extra_steps=7)
    assert np.abs(padded[:, :35] - predict(unmasked, [strip])).max() > 0.1


@pytest.mark.parametrize(("cell", "bidirectional"), [("SimpleRNN", True), ("LSTM", False)])
def test_other_cells_keep_the_mask(cell, bidirectional):
    settings = {"units": 5, "depth": 3, "dropout": 0.2}
    reader = labeller(cell=cell, bidirectional=bidirectional, **settings)
    strips = [np.random.default_rng(n).integers(0, 256, (n, 28), np.uint8) for n in (8, 20)]
    alone, together = predict(reader, strips[:1]), predict(reader, strips)
    np.testing.assert_allclose(together[0, :2], alone[0], atol=1e-6)


def test_buckets_hold_every_sequence_once_and_are_shuffled_anew():
    lengths = np.random.default_rng(0).integers(2, 6, 103)
    strips = np.fromiter((np.zeros((n, 1)) for n in lengths), object)
    examples = Examples(strips, np.arange(103))
    orders = [
        in_buckets(lambda random: examples, 10, np.random.default_rng(seed)) for seed in (0, 0, 1)
    ]
    for order in orders:
        assert sorted(order.y) == list(range(103))
        assert [len(x) for x in order.x] == lengths[order.y].tolist()
        batches = lengths[order.y[:100]].reshape(10, 10)
        assert (batches.min(axis=1) == batches.max(axis=1)).sum() >= 10 - 3
        assert (np.diff(batches[:, 0]) < 0).any()
    assert orders[0].y.tolist() == orders[1].y.tolist() != orders[2].y.tolist()


@pytest.mark.parametrize(("buckets", "least", "most"), [(True, 0, 0.05), (False, 0.2, 1)])
def test_buckets_leave_at_most_5_percent_of_padding(buckets, least, most):
    sizes = {"train_size": 4000, "batch_size": 64}
    config = small("variable_length_seq", **sizes, buckets=buckets)
    batches, *_ = variable_length_seq.load_data(config)
    assert least < training.padding_share(batches) <= most


@pytest.mark.slow
def test_a_ragged_pickle_is_trained_on(tmp_path):
    path = PICKLES / "python2_sequences_lists_protocol2.pkl.gz"
    config = small("variable_length_seq", data=path, columns=5, output=tmp_path)
    assert variable_length_seq.main(config)["test_size"] == 6
