"""seq_labelling.py: the network, and what the script refuses."""

from common import DataError

import keras
import numpy as np
import pytest
from lessons import network, small
from small_data import changed, sequences, write

import seq_labelling


def test_labels_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path):
    path = write(tmp_path / "s.pkl", (changed(1, 3, [5, 5, 5]), sequences(6)))
    message = "training sequence 3: 3 labels, 2 of them repeated, take 5 steps, but there are 3"
    with pytest.raises(DataError, match=message):
        seq_labelling.main(small("seq_labelling", data=path, columns=5, output=tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_the_script_learns_a_fixed_list(tmp_path):
    """Sequences of three bars at three heights, one label each: every network gets that right.

    Their last step is filled up.
    """
    random = np.random.default_rng(0)

    def bars(n):
        y = random.integers(0, 3, (n, 3))
        x = np.zeros((n, 17, 3), np.uint8)
        for place in range(3):
            x[np.arange(n), 6 * place + random.integers(0, 4, n), y[:, place]] = 255
        return x, y

    path = write(tmp_path / "s.pkl", (bars(1200), bars(100)))
    settings = {"units": 16, "columns": 2, "epochs": 6, "batch_size": 16, "learning_rate": 0.02}
    settings |= {"bidirectional": True, "data": path, "output": tmp_path}
    metrics = seq_labelling.main(small("seq_labelling", **settings))
    assert metrics["test_label_error_rate"] < 0.05
    assert metrics["test_size"] == 100
    (model,) = tmp_path.glob("*/*/model.keras")
    assert keras.saving.load_model(model).input_shape == (None, 18, 3)


def test_network_reads_columns_in_groups():
    labeller = network("seq_labelling", 140, units=8, bidirectional=True, columns=4)
    assert labeller.output_shape == (None, 35, 11)
    one_direction = 3 * 8 * (4 * 28 + 8 + 2)
    assert labeller.count_params() == 2 * one_direction + (8 + 1) * 11
