"""Training and pictures: the parts that the scripts share."""

import os

import common
from common import Examples

import keras
import numpy as np
import pytest

from classic import classif_rnn_network


def import_noisily(error=None):
    with common.hold_back_output():
        os.write(2, b"noise\n")
        if error:
            raise error


def test_held_back_lines_are_shown_only_after_an_error(capfd):
    import_noisily()
    assert capfd.readouterr().err == ""
    with pytest.raises(ImportError):
        import_noisily(ImportError())
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "noise\nafter\n"


def test_one_cycle_climbs_and_falls():
    schedule = common.one_cycle(peak=0.01, steps=1000, warmup=0.3)
    rates = np.array([float(schedule(step)) for step in range(1001)])
    assert rates[0] == pytest.approx(0.01 / 25)
    assert rates.argmax() == 300
    assert rates.max() == pytest.approx(0.01)
    assert rates[650] == pytest.approx(0.005)  # the middle of the cosine
    assert rates[1000] == pytest.approx(0, abs=1e-9)
    assert (np.diff(rates[:301]) > 0).all()
    assert (np.diff(rates[300:]) < 0).all()


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 0.9), (2, 0.3), (10, 0.0)])
def test_one_cycle_of_few_steps_is_finite(steps, warmup):
    schedule = common.one_cycle(0.01, steps, warmup)
    rates = [float(schedule(step)) for step in range(steps)]
    assert np.isfinite(rates).all()
    assert max(rates) > 0


@pytest.mark.parametrize("cell", ["SimpleRNN", "GRU", "LSTM"])
def test_which_updates_are_orthogonal(cell):
    """An orthogonal update has equal singular values, Adam's first one has equal entries."""
    network = classif_rnn_network(5, 7, cell, units=6, depth=2)
    random = np.random.default_rng(0)
    before = network.get_weights()
    gradients = [
        keras.ops.convert_to_tensor(random.normal(size=weights.shape), "float32")
        for weights in before
    ]
    variables = network.trainable_variables
    common.muon(0.01, clip_norm=1.0).apply(gradients, variables)
    after = network.get_weights()
    for variable, old, new in zip(variables, before, after, strict=True):
        update = new - old
        if "logits" in variable.path or update.ndim == 1:
            np.testing.assert_allclose(np.abs(update), 0.01, rtol=0.02)
        else:
            values = np.linalg.svd(update, compute_uv=False)
            assert 0 < values.max() < 2 * values.min()
    matrices = [variable.path for variable in variables if len(variable.shape) == 2]
    assert sum("bias" in path for path in matrices) == (2 if cell == "GRU" else 0)


def test_batches_depend_on_seed_and_epoch_alone():
    examples = Examples(np.arange(10), np.arange(10) + 100)

    def epoch(seed, number):
        batches = common.EpochBatches(lambda random: common.shuffled(examples, random), 4, seed)
        batches.start_epoch(number)
        return [batches[i] for i in range(len(batches))]

    first = epoch(0, 0)
    assert [len(batch.x) for batch in first] == [4, 4, 2]
    order = np.concatenate([batch.x for batch in first])
    assert sorted(order) == list(range(10))
    assert (np.concatenate([batch.y for batch in first]) == order + 100).all()
    for other, same in ((epoch(0, 0), True), (epoch(0, 1), False), (epoch(1, 0), False)):
        assert np.array_equal(order, np.concatenate([batch.x for batch in other])) is same


def test_run_folders_of_one_second_are_different(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda _: "now")
    config = common.RunConfig(output=tmp_path)
    folders = [common.run_folder("script.py", config) for _ in range(3)]
    assert [folder.name for folder in folders] == ["now", "now_2", "now_3"]
    assert folders[0].parent == tmp_path / "script"


def test_pictures_of_no_mistakes_and_of_many(tmp_path):
    truth = np.arange(10)
    common.plot_confusion_matrix(truth, truth, tmp_path / "right.png")
    common.plot_confusion_matrix(truth, truth[::-1], tmp_path / "wrong.png")
    common.plot_images(np.zeros((0, 28, 28), np.uint8), [], tmp_path / "none.png")
    common.plot_images(np.zeros((24, 28, 28), np.uint8), ["one"] * 24, tmp_path / "many.png")
    assert len(list(tmp_path.iterdir())) == 4
