"""support/training.py: the batches of an epoch."""

import json

from common import Examples, SettingError

import keras
import numpy as np
import pytest

from support import digits, training
from support.run_folder import Run
from variable_length_seq import pad


def test_batches_depend_on_seed_and_epoch_alone():
    examples = Examples(np.arange(10), np.arange(10) + 100)

    def order(seed, epoch):
        compose = digits.shuffled_anew(examples)
        batches = training.EpochBatches(compose, batch_size=4, seed=seed)
        batches.start_epoch(epoch)
        assert [len(batch.x) for batch in batches] == [4, 4, 2]
        x, y = map(np.concatenate, zip(*batches, strict=True))
        assert sorted(x) == list(range(10))
        assert (y == x + 100).all()
        return tuple(x)

    assert order(0, 0) == order(0, 0)
    assert len({order(0, 0), order(0, 1), order(1, 0)}) == 3


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([16] * 8 + [8] * 8 + [24] * 4, [16, 8, 16, 8, 24]),
        ([24] * 8 + [16] * 1, [24, 16, 24]),  # the short last batch is the only other one
        ([16, 12, 12, 12] + [16] * 4 + [8] * 4, [16, 8, 16]),  # 12 are padded to 16
        ([16] * 12, [16, 16, 16]),
        ([16] * 3, [16]),
    ],
)
def test_batches_of_equal_length_may_come_first(lengths, expected):
    """Keras looks at two batches before the training and takes for fixed what is equal in both."""
    strips = (np.full((length, 6), number) for number, length in enumerate(lengths))
    examples = Examples(np.fromiter(strips, object), np.arange(len(lengths)))
    batches = training.EpochBatches(lambda random: examples, batch_size=4, seed=0, collate=pad)
    assert [batch.x.shape[1] for batch in batches] == expected
    numbers = [number for batch in batches for number in batch.y]
    assert sorted(numbers) == list(range(len(lengths)))
    if len(set(expected)) == 1:
        assert numbers == sorted(numbers)  # there is no reason to change their order
    layers = keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(1)
    network = keras.Sequential([keras.Input((None, 6)), *layers])
    network.compile("sgd", "mse", run_eagerly=True)
    step, seen = network.train_step, []

    def watched_step(*arguments):  # the data come last, with JAX after the state
        seen.append(arguments[-1][0].shape[1])
        return step(*arguments)

    network.train_step = watched_step
    network.fit(batches, shuffle=False, epochs=2, verbose=0)
    assert seen == expected * 2


@pytest.mark.parametrize(
    ("size", "devices", "processes"), [(8, 2, 2), (9, 2, 2), (10, 4, 2), (6, 3, 3), (5, 4, 1)]
)
def test_shares_are_equally_large_and_leave_out_fewer_examples_than_devices(
    size, devices, processes, monkeypatch
):
    monkeypatch.setattr("support.devices.count", lambda: devices)
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", str(processes))
    examples = Examples(np.arange(size), 10 * np.arange(size))
    shares = []
    for process in range(processes):
        monkeypatch.setenv("KERAS_DISTRIBUTION_PROCESS_ID", str(process))
        (share,) = training.in_batches(examples)
        shares.append(share)
    assert len({len(share.x) for share in shares}) == 1
    assert len(shares[0].x) % (devices // processes) == 0
    x, y = map(np.concatenate, zip(*shares, strict=True))
    assert size - devices < len(x) <= size
    assert (x == np.arange(len(x))).all()
    assert (y == 10 * x).all()


def test_one_device_takes_every_example_and_more_devices_than_examples_none(monkeypatch):
    monkeypatch.setattr("support.devices.count", lambda: 8)
    with pytest.raises(SettingError, match=r"^6 examples cannot be divided by 8 devices$"):
        training.in_batches(Examples(np.arange(6), np.arange(6)))
    monkeypatch.undo()
    batches = training.in_batches(Examples(np.arange(1001), np.arange(1001)))
    assert [len(batch.x) for batch in batches] == [500, 500, 1]


def test_the_share_of_padding_is_that_of_all_processes(monkeypatch):
    monkeypatch.setattr("support.devices.share", lambda size: slice(size // 2))
    strips = np.fromiter((np.zeros((4 * n, 28)) for n in (2, 5, 3, 4)), object)
    batches = training.EpochBatches(
        lambda random: Examples(strips, np.arange(4)), batch_size=2, seed=0, collate=pad
    )
    assert training.padding_share(batches) == pytest.approx(1 - 14 / 18)


# -- callbacks --------------------------------------------------------------------------------


def fit(folder, losses, patience=None, epochs=None):
    """Train a network of one weight, which counts the epochs; each has the loss that is given."""
    run = Run(folder)
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    network.compile(keras.optimizers.SGD(1.0), loss="mean_absolute_error")
    network.set_weights([np.zeros((1, 1))])
    run.restore(network, steps_per_epoch=1)
    network.fit(
        np.ones((1, 1)),
        np.full((1, 1), 1000.0),
        verbose=0,
        initial_epoch=len(run.epochs),
        epochs=run.last_epoch(epochs or len(losses)),
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: logs.update(val_loss=losses[epoch])
            ),
            training.KeepBest(run, monitor="val_loss", mode="min", patience=patience),
            training.Checkpoint(run),
        ],
    )
    return run, network


def test_the_last_of_the_best_epochs_is_kept_and_remembered_over_an_interruption(tmp_path):
    losses = [3.0, 1.0, 2.0, 1.0, 2.0]
    fit(tmp_path, losses[:4])
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    (tmp_path / "metrics.json").write_text(json.dumps(metrics | {"training_seconds": 1000.0}))
    run, network = fit(tmp_path, losses)
    assert network.get_weights()[0] == 5
    best = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert best.get_weights()[0] == 4
    assert run.history["val_loss"] == losses
    assert run.seconds > 1000


@pytest.mark.parametrize("interrupted", range(1, 6))
def test_patience_ends_a_run_at_the_same_epoch_interrupted_or_not(tmp_path, interrupted):
    losses = [3.0, 2.0, 2.5, 2.5, 1.0, 1.5, 1.5, 1.0, 0.5]  # three without progress after the fifth
    fit(tmp_path, losses, patience=3, epochs=interrupted)
    for _ in range(2):  # stopped, it stays stopped
        run, _ = fit(tmp_path, losses, patience=3)
        assert run.history["val_loss"] == losses[:8]
        assert run.stopped


def test_a_run_that_was_killed_while_it_stopped_stops_at_the_same_epoch(tmp_path):
    """The last epoch's checkpoint was not written, but all else was."""
    losses = [2.0, 1.0, 1.5, 1.5, 0.5]
    fit(tmp_path, losses, patience=2, epochs=3)
    before = (tmp_path / "checkpoint.keras").read_bytes()
    run, _ = fit(tmp_path, losses, patience=2)
    assert (len(run.epochs), run.stopped) == (4, True)
    (tmp_path / "checkpoint.keras").write_bytes(before)
    again, network = fit(tmp_path, losses, patience=2)
    assert (again.epochs, again.stopped) == (run.epochs, True)
    assert network.get_weights()[0] == 4
