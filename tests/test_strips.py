"""support/strips.py: composed of digits, or from a pickle of sequences."""

from common import DATA_FILE, DataError, Examples, SettingError

import numpy as np
import pytest
from small_data import PICKLES, changed, sequences, write

from support import digits, strips


def images_of(strips, height=28, width=28):
    """The digits of strips, as images (n, height, width)."""
    return np.concatenate([*strips]).reshape(-1, width, height).transpose(0, 2, 1)


def in_order(images):
    return sorted(map(bytes, images))


@pytest.mark.parametrize(("shortest", "longest"), [(5, 5), (2, 5)])
def test_strips_hold_each_digit_once_with_columns_as_timesteps(shortest, longest):
    images = np.arange(53 * 12).reshape(53, 4, 3)
    examples = Examples(images, np.arange(53) % 10)
    composed = strips.compose_strips(examples, shortest, longest, np.random.default_rng(0))
    lengths = np.array([len(strip) // 3 for strip in composed.x])
    assert shortest <= lengths.min() <= lengths.max() <= longest
    used = images_of(composed.x, 4, 3)
    indices = used[:, 0, 0] // 12
    np.testing.assert_array_equal(used, images[indices])
    assert len(set(indices)) == len(indices) > 53 - longest
    assert ((composed.y > 0) == (np.arange(longest) < lengths[:, None])).all()
    np.testing.assert_array_equal(composed.y[composed.y > 0], indices % 10 + 1)


def test_lengths_of_strips_are_equally_frequent_and_their_number_is_always_the_same():
    examples = Examples(np.zeros((50_001, 1, 1), np.uint8), np.zeros(50_001, np.uint8))
    orders = set()
    for seed in range(3):
        composed = strips.compose_strips(examples, 2, 5, np.random.default_rng(seed))
        lengths = [len(strip) for strip in composed.x]
        # 3571 times 2, 3, 4 and 5 digits, once more 2 and 3, and two digits that are left over
        assert np.bincount(lengths).tolist() == [0, 0, 3572, 3572, 3571, 3571]
        orders.add(tuple(lengths))
    assert len(orders) == 3
    compose, *_ = strips.load_strips(DATA_FILE, shortest=2, longest=5, train_size=20)
    assert len(compose(np.random.default_rng(0)).x) == 20


def load(path=DATA_FILE, length=5, columns=1, **options):
    return strips.load_equal_strips(path, length=length, columns=columns, **options)


def test_strips_hold_digits_of_their_part_and_those_of_training_are_composed_anew():
    train_digits, test_digits = digits.load_mnist()
    compose, validation, test = load(train_size=200)
    distorted, _, again = load(train_size=100, distortion=0.2)
    np.testing.assert_array_equal(test.x, again.x)
    assert test.x.shape == (2000, 140, 28)
    assert in_order(images_of(test.x)) == in_order(test_digits.x)
    assert in_order(images_of(validation.x)) == in_order(train_digits.x[-5000:])
    epochs = [compose(np.random.default_rng(seed)) for seed in (0, 0, 1)]
    for strip in epochs:
        assert strip.x.shape == (200, 140, 28)
        assert in_order(images_of(strip.x)) == in_order(train_digits.x[:1000])
    np.testing.assert_array_equal(epochs[0].x, epochs[1].x)
    assert not np.array_equal(epochs[0].x, epochs[2].x)
    used = [in_order(images_of(distorted(np.random.default_rng(seed)).x)) for seed in (0, 1)]
    assert used[0] != used[1]


@pytest.mark.parametrize(
    "form",
    [
        lambda x, y: (x, y),
        lambda x, y: (np.fromiter(x, object), np.fromiter(map(np.array, y), object)),
        lambda x, y: (np.array(x, np.float32), np.array(y)),
        lambda x, y: ([np.rint(array * 255).astype(np.uint8) for array in x], [*map(tuple, y)]),
        lambda x, y: (x, [np.array(labels, float) for labels in y]),
        lambda x, y: (x, [np.array(labels)[:, None] for labels in y]),
        lambda x, y: (x, [np.eye(10, dtype=np.uint8)[labels] for labels in y]),
        lambda x, y: (x, [list(np.eye(10)[labels]) for labels in y]),
    ],
)
def test_a_fixed_list_of_sequences(tmp_path, form):
    path = write(tmp_path / "s.pkl", (form(*sequences(24)), form(*sequences(6, first=50))))
    compose, validation, test = load(path, test_size=5)
    train = compose(np.random.default_rng(0))
    assert train.x.shape == (22, 12, 4)
    assert train.x.dtype == np.uint8
    order = train.x[:, 0, 0]
    np.testing.assert_array_equal(train.y, (order[:, None] + np.arange(3)) % 10 + 1)
    split, test_order = (np.random.default_rng(0).permutation(size) for size in (24, 6))
    assert sorted(order) == sorted(split[:22])
    assert validation.x[:, 0, 0].tolist() == split[22:].tolist()
    assert test.x[:, 0, 0].tolist() == (50 + test_order[:5]).tolist()


X, Y = sequences(24, labels=5)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            changed(0, 3, np.zeros((9, 4))),
            r": sequences of 9 to 12 timesteps .* for vari",
        ),
        (changed(1, 3, [1, 2]), r"of 2 to 3 labels: different .* for variable_length_seq\.py"),
        (sequences(24, steps=9), ": sequences of 9 to 12 timesteps"),
        (changed(0, 3, np.zeros((12, 5))), r"sequence 3: expected the shape \(T, 4\)"),
        (changed(0, 3, np.zeros((0, 4))), r"sequence 3: expected .* found \(0, 4\)"),
        (changed(0, 3, np.full((12, 4), np.nan)), "sequence 3: a pixel is not a finite number"),
        (changed(0, 3, "abc"), "sequence 3: text, such as 'abc'; make numbers of it"),
        (changed(1, 3, []), r"labels of sequence 3: found the shape \(0,\)"),
        (changed(1, 3, [1, 2, 11]), "labels of sequence 3: 11 at index 2 is not a digit"),
        (
            changed(0, 3, np.zeros((12, 4), np.int8)),
            r"sequence 3: .* of float64, found \(12, 4\) of int8",
        ),
        ((X, Y[1:]), "24 sequences, 23 lists of labels"),
        ((X, Y[0]), "expected an array of numbers, found int"),
        (([x.T for x in X], Y), r"sequences of \[4, 12\] features a timestep"),
        (([x * 100 for x in X], Y), "test sequences: pixels up to 1, in another part up to 100"),
        (sequences(11), "11 training examples; at least 12 are needed"),
    ],
)
def test_wrong_sequences_are_refused_with_their_index(tmp_path, train, message):
    path = write(tmp_path / "s.pkl", (train, sequences(6)))
    with pytest.raises(DataError, match=message):
        load(path)[0](np.random.default_rng(0))


def test_transposed_sequences_are_recognized(tmp_path):
    part = [x.T for x in X], Y
    with pytest.raises(DataError, match="there are 4; each has 12 features: if it is transposed"):
        load(write(tmp_path / "s.pkl", (part, part)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_size": 11_001}, "--train-size 11,001: there are 11,000 training strips"),
        ({"shortest": 2, "train_size": 15_715}, "there are 15,714 training strips"),
        ({"test_size": 2001}, "--test-size 2,001: there are 2,000 test strips"),
        ({"longest": 6000}, "strips of 6,000 digits, but there are 5,000 to train"),
        ({"columns": 28}, "--columns 28 leaves 5 steps to a strip of 5 digits"),
        ({"shortest": 6}, "--shortest 6 is more than --longest 5"),
    ],
)
def test_settings_that_the_digits_do_not_allow_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        strips.load_strips(DATA_FILE, **{"shortest": 5, "longest": 5} | settings)


def test_a_strip_that_ends_within_a_step_is_filled_up():
    compose, validation, test = load(columns=16)
    train = compose(np.random.default_rng(0))
    assert train.x.shape == (11_000, 144, 28)
    assert validation.x.shape[1] == test.x.shape[1] == 144
    assert not train.x[:, 140:].any()
    assert train.x[:, 112:140].any(axis=(1, 2)).all()


@pytest.mark.parametrize("name", ["lists_protocol2", "object_arrays_protocol1"])
def test_ragged_pickles_of_python_2(name):
    path = PICKLES / f"python2_sequences_{name}.pkl.gz"
    compose, validation, test = strips.load_strips(path, shortest=2, longest=5)
    in_file = np.random.default_rng(0).permutation(6).argsort()  # where each of the file is now
    assert [len(test.x[i]) for i in in_file] == [12, 18, 24] * 2
    assert test.y[in_file[:3]].tolist() == [[1, 2, 0, 0], [2, 3, 4, 0], [3, 4, 5, 6]]
    expected = np.arange(12 * 3).reshape(12, 3) % 7 / 8 * 256
    np.testing.assert_array_equal(test.x[in_file[0]], expected)
    assert len(validation.x) == 1
    assert len(compose(np.random.default_rng(0)).x) == 11
