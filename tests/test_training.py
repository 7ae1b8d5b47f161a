"""support/training.py: the batches of an epoch."""

import common
from common import Examples

import keras
import numpy as np
import pytest

from support import digits, training
from variable_length_seq import pad, rnn_seqlab_network


def test_batches_depend_on_seed_and_epoch_alone():
    examples = Examples(np.arange(10), np.arange(10) + 100)

    def epoch(seed, number):
        batches = training.EpochBatches(lambda random: digits.shuffled(examples, random), 4, seed)
        batches.start_epoch(number)
        return [batches[i] for i in range(len(batches))]

    first = epoch(0, 0)
    assert [len(batch.x) for batch in first] == [4, 4, 2]
    order = np.concatenate([batch.x for batch in first])
    assert sorted(order) == list(range(10))
    assert (np.concatenate([batch.y for batch in first]) == order + 100).all()
    for other, same in ((epoch(0, 0), True), (epoch(0, 1), False), (epoch(1, 0), False)):
        assert np.array_equal(order, np.concatenate([batch.x for batch in other])) is same


def test_batches_of_equal_length_may_come_first(tmp_path):
    """Keras looks at two batches before the training and takes for fixed what is equal in both."""
    lengths = [16] * 8 + [8] * 8 + [24] * 4
    strips = np.empty(20, object)
    strips[:] = [np.zeros((length, 6), np.uint8) for length in lengths]
    examples = Examples(strips, np.ones((20, 1), np.uint8))
    batches = training.EpochBatches(lambda random: examples, 4, 0, pad)
    assert [batches[index].x.shape[1] for index in range(5)] == [16, 16, 8, 8, 24]
    network = rnn_seqlab_network(
        6,
        cell="GRU",
        units=2,
        depth=1,
        bidirectional=True,
        columns=4,
        dropout=0.0,
        mask=True,
    )
    network.compile("adam", keras.losses.CTC(), run_eagerly=True)
    step, seen = network.train_step, []

    def watched_step(data):
        seen.append(data[0].shape[1])
        return step(data)

    network.train_step = watched_step
    training.train(
        network, batches, validation=None, epochs=2, folder=tmp_path, best="loss", mode="min"
    )
    assert seen == [16, 16, 8, 8, 24] * 2


@pytest.mark.parametrize(
    ("size", "devices", "processes"), [(8, 2, 2), (9, 2, 2), (10, 4, 2), (6, 3, 3), (5, 4, 1)]
)
def test_shares_are_equally_large_and_leave_out_fewer_examples_than_devices(
    size, devices, processes, monkeypatch
):
    monkeypatch.setattr("support.devices.count", lambda: devices)
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", str(processes))
    examples = common.Examples(np.arange(size), 10 * np.arange(size))
    shares = []
    for process in range(processes):
        monkeypatch.setenv("KERAS_DISTRIBUTION_PROCESS_ID", str(process))
        batches = training.in_batches(examples)
        assert len(batches) == 1
        shares.append(batches[0])
    assert len({len(share.x) for share in shares}) == 1
    assert len(shares[0].x) % (devices // processes) == 0
    x = np.concatenate([share.x for share in shares])
    assert size - devices < len(x) <= size
    assert (x == examples.x[: len(x)]).all()
    np.testing.assert_array_equal(np.concatenate([share.y for share in shares]), 10 * x)


def test_batches_that_no_device_shares_hold_every_example():
    examples = common.Examples(np.arange(1001), np.arange(1001))
    batches = training.in_batches(examples)
    assert [len(batches[index].x) for index in range(len(batches))] == [500, 500, 1]
