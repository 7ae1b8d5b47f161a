"""seq_labelling.py: the network, and what the script refuses."""

from common import DataError

import keras
import numpy as np
import pytest
from lessons import small
from small_data import PICKLES, changed, sequences, write

import seq_labelling


def main(**settings):
    return seq_labelling.main(small("seq_labelling", **settings))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            changed(0, 3, np.zeros((9, 4))),
            r"training sequences of 9 to 12 timesteps .* for variable_length_seq\.py",
        ),
        (changed(1, 3, [1, 2]), r"of 2 to 3 labels: different .* for variable_length_seq\.py"),
        (sequences(24, steps=9), "training and test sequences differ in length"),
        (changed(0, 3, np.zeros((12, 5))), r"sequence 3: expected the shape \(T, 4\)"),
        (changed(0, 3, np.zeros((0, 4))), r"sequence 3: expected .* found \(0, 4\)"),
        (changed(0, 3, np.full((12, 4), np.nan)), "sequence 3: a pixel is not a finite number"),
        (changed(0, 3, "abc"), "sequence 3: text, such as 'abc'; make numbers of it"),
        (changed(1, 3, []), r"labels of sequence 3: found the shape \(0,\)"),
        (changed(1, 3, [1, 2, 11]), "labels of sequence 3: 11 at index 2 is not a digit"),
        (changed(1, 3, "123"), "labels of sequence 3: text, such as '123'; make numbers of it"),
        (
            changed(0, 3, np.zeros((12, 4), np.int8)),
            r"sequence 3: .* of float64, found \(12, 4\) of int8",
        ),
        ((sequences(24)[0], sequences(23)[1]), "24 sequences, 23 lists of labels"),
        ((sequences(24)[0], sequences(24)[1][0]), "expected"),
        (sequences(11), "11 training examples; at least 12 are needed"),
    ],
)
def test_wrong_sequences_are_refused_with_their_index(tmp_path, train, message):
    path = write(tmp_path / "s.pkl", (train, sequences(6)))
    with pytest.raises(DataError, match=message):
        main(data=path, columns=1, output=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["lists_protocol2", "object_arrays_protocol1"])
def test_ragged_sequences_of_python_2_are_for_the_third_lesson(name, tmp_path):
    path = PICKLES / f"python2_sequences_{name}.pkl.gz"
    with pytest.raises(DataError, match=r"of 12 to 24 timesteps and of 2 to 4 labels: .*variable"):
        main(data=path, columns=1, output=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_the_script_refuses_what_its_network_cannot_do(tmp_path):
    path = tmp_path / "s.pkl"
    settings = {"data": path, "output": tmp_path / "runs"}
    write(path, (changed(1, 3, [5, 5, 5]), sequences(6)))
    message = "training sequence 3: 3 labels, 2 of them repeated, take 5 steps, but there are 4"
    with pytest.raises(DataError, match=message):
        main(**settings, columns=3)
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

    settings = {"units": 16, "columns": 2, "epochs": 6, "batch_size": 16, "learning_rate": 0.02}
    path = write(tmp_path / "s.pkl", (bars(1200), bars(100)))
    metrics = main(data=path, output=tmp_path, bidirectional=True, **settings)
    assert metrics["test_label_error_rate"] < 0.05
    assert metrics["test_size"] == 100
    (model,) = tmp_path.glob("*/*/model.keras")
    assert keras.saving.load_model(model).input_shape == (None, 18, 3)


def test_network_reads_columns_in_groups():
    config = small("seq_labelling", units=8, bidirectional=True, columns=4)
    network = seq_labelling.rnn_seqlab_network(140, 28, config)
    assert network.output_shape == (None, 35, 11)
    one_direction = 3 * 8 * (4 * 28 + 8 + 2)
    assert network.count_params() == 2 * one_direction + (8 + 1) * 11
