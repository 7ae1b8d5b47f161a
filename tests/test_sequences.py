"""CTC, decoding and error rates against brute force."""

import functools
import itertools
import pickle
from pathlib import Path

import common
from common import DataError, Examples, SettingError

import keras
import numpy as np
import pytest

import seq_labelling


def collapse(path):
    """What a path of classes says: repeats merged, blanks left out."""
    return tuple(label for label, _ in itertools.groupby(path) if label)


@functools.cache
def all_paths(steps, classes):
    """Every path, one by one, with the labelling that it says."""
    paths = list(itertools.product(range(classes), repeat=steps))
    return np.array(paths), [collapse(path) for path in paths]


def labelling_probabilities(logits):
    """Probability of every labelling: the sum over all paths that say it."""
    probabilities = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    paths, labellings = all_paths(*logits.shape)
    total = {}
    for p, labelling in zip(
        probabilities[np.arange(len(logits)), paths].prod(axis=1), labellings, strict=True
    ):
        total[labelling] = total.get(labelling, 0) + p
    return total


def ctc(labels, logits):
    loss = keras.losses.CTC()(np.array([labels]), np.array([logits], np.float32))
    return float(loss)


CASES = [
    (1, [1]),
    (2, [1, 2]),
    (3, [1, 1]),
    (4, [2]),
    (5, [1, 2, 1]),
    (6, [1, 1, 2]),
    (6, [2, 2, 2]),
]


@pytest.mark.parametrize(("steps", "labels"), CASES)
def test_ctc_loss_is_the_sum_over_all_alignments(steps, labels):
    logits = np.random.default_rng(steps).normal(0, 2, (steps, 4))
    expected = -np.log(labelling_probabilities(logits)[tuple(labels)])
    assert ctc(labels, logits) == pytest.approx(expected, abs=1e-4)
    # Zeros after the labels are padding.
    assert ctc([*labels, 0, 0], logits) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("steps", "labels"), CASES[:6])
def test_gradient_of_the_ctc_loss_by_finite_differences(steps, labels):
    logits = np.random.default_rng(steps).normal(0, 2, (steps, 3))

    def loss(values):
        return -np.log(labelling_probabilities(values)[tuple(labels)])

    expected = np.zeros_like(logits)
    for index in np.ndindex(logits.shape):
        step = np.zeros_like(logits)
        step[index] = 1e-5
        expected[index] = (loss(logits + step) - loss(logits - step)) / 2e-5

    # One step of gradient descent on the logits, through fit as in the scripts.
    inputs = keras.Input((1,))
    flat = keras.layers.Dense(logits.size, use_bias=False)(inputs)
    network = keras.Model(inputs, keras.layers.Reshape(logits.shape)(flat))
    network.set_weights([logits.reshape(1, -1)])
    network.compile(keras.optimizers.SGD(1.0), keras.losses.CTC())
    network.fit(np.ones((1, 1)), np.array([labels]), verbose=0)
    gradient = logits - network.get_weights()[0].reshape(logits.shape)
    np.testing.assert_allclose(gradient, expected, atol=1e-4)


def test_greedy_decoding_is_the_collapsed_best_path():
    logits = np.random.default_rng(0).normal(size=(200, 12, 4))
    readings = common.read_labels(logits)
    for path, reading in zip(logits.argmax(axis=-1), readings, strict=True):
        expected = collapse(path)
        assert reading[: len(expected)].tolist() == list(expected)
        assert not reading[len(expected) :].any()


def test_beam_search_is_at_least_as_probable_as_greedy():
    logits = np.random.default_rng(0).normal(size=(60, 5, 3))
    better = 0
    greedy, beam = common.read_labels(logits), common.read_labels(logits, beam_width=50)
    for values, first, second in zip(logits, greedy, beam, strict=True):
        probabilities = labelling_probabilities(values)
        p_greedy = probabilities[tuple(first[first > 0].tolist())]
        p_beam = probabilities[tuple(second[second > 0].tolist())]
        assert p_beam == pytest.approx(max(probabilities.values()))
        better += p_beam > p_greedy * (1 + 1e-9)
    assert better > 0


def test_beam_search_finds_what_greedy_misses():
    """Blank is best at both steps, 0.6 * 0.6 = 0.36; all paths that say 1 add up to 0.64."""
    logits = np.log([[[0.6, 0.4], [0.6, 0.4]]])
    assert common.read_labels(logits).tolist() == [[]]
    assert common.read_labels(logits, beam_width=10).tolist() == [[1]]


@pytest.mark.parametrize("beam_width", [None, 10])
def test_repeated_labels_are_read_with_a_blank_between_them(beam_width):
    path = [1, 1, 0, 1, 2, 0, 0, 10]
    logits = 20 * np.eye(11)[path][None]
    assert common.read_labels(logits, beam_width).tolist() == [[1, 1, 2, 10]]


def plain_edit_distance(a, b):
    if not a or not b:
        return len(a) + len(b)
    if a[0] == b[0]:
        return plain_edit_distance(a[1:], b[1:])
    shorter = (a[1:], b), (a, b[1:]), (a[1:], b[1:])
    return 1 + min(plain_edit_distance(*pair) for pair in shorter)


def padded(rows):
    width = max(map(len, rows))
    return np.array([[*row, *[0] * (width - len(row))] for row in rows]).reshape(len(rows), width)


def test_rates_equal_an_independent_edit_distance_on_1000_random_pairs():
    random = np.random.default_rng(0)
    truth = [random.integers(1, 4, random.integers(1, 6)).tolist() for _ in range(1000)]
    reading = [random.integers(1, 4, random.integers(0, 7)).tolist() for _ in range(1000)]
    truth[0], reading[0] = [1, 1, 2], [1, 2]
    truth[1], reading[1] = [1, 1, 2], []
    distances = [plain_edit_distance(a, b) for a, b in zip(truth, reading, strict=True)]
    assert common.edit_distances(padded(truth), padded(reading)).tolist() == distances
    rates = common.error_rates(padded(truth), padded(reading))
    assert rates["label_error_rate"] == pytest.approx(sum(distances) / sum(map(len, truth)))
    assert rates["sequence_error_rate"] == np.mean([d > 0 for d in distances])


def test_rates_of_nothing_read():
    rates = common.error_rates(np.array([[1, 2], [3, 0]]), np.zeros((2, 0), int))
    assert rates == {"label_error_rate": 1.0, "sequence_error_rate": 1.0}


def test_labels_that_cannot_fit_are_refused_with_their_index():
    labels = np.array([[1, 2, 3], [1, 1, 2], [4, 0, 0]])
    common.check_labels_fit(labels, np.array([3, 4, 1]), "training")
    message = "training sequence 1: 3 labels, 1 of them repeated, take 4 steps, but there are 3"
    with pytest.raises(DataError, match=message):
        common.check_labels_fit(labels, np.array([3, 3, 1]), "training")
    with pytest.raises(DataError, match="test sequence 2: 1 labels"):
        common.check_labels_fit(labels, np.array([3, 4, 0]), "test")


@pytest.mark.parametrize(("shortest", "longest"), [(5, 5), (2, 5)])
def test_strips_hold_each_digit_once_with_columns_as_timesteps(shortest, longest):
    images = np.arange(53 * 4 * 3).reshape(53, 4, 3)
    digits = Examples(images, np.arange(53) % 10)
    strips = common.compose_strips(digits, shortest, longest, np.random.default_rng(0))
    used = set()
    for strip, labels in zip(strips.x, strips.y, strict=True):
        length = len(strip) // 3
        assert shortest <= length <= longest
        assert not labels[length:].any()
        for place in range(length):
            image = strip[3 * place : 3 * place + 3].T
            (index,) = np.flatnonzero((images == image).all(axis=(1, 2)))
            assert labels[place] == index % 10 + 1
            assert index not in used
            used.add(index)
    assert len(used) > 53 - longest


def test_lengths_of_strips_are_equally_frequent_and_their_number_is_always_the_same():
    digits = Examples(np.zeros((50_001, 1, 1), np.uint8), np.zeros(50_001, np.uint8))
    orders = set()
    for seed in range(3):
        strips = common.compose_strips(digits, 2, 5, np.random.default_rng(seed))
        lengths = [len(strip) for strip in strips.x]
        # 3571 times 2, 3, 4 and 5 digits, once more 2 and 3, and two digits that are left over
        assert np.bincount(lengths).tolist() == [0, 0, 3572, 3572, 3571, 3571]
        orders.add(tuple(lengths))
    assert len(orders) == 3


def test_distortions():
    random = np.random.default_rng(0)
    images = np.zeros((400, 15, 11), np.uint8)
    images[:, 7, 5] = 200
    for distortion in 0, 1e-9:
        unmoved = common.distorted(images, random, distortion)
        np.testing.assert_array_equal(unmoved, images)
    # The centre only moves, by up to two pixels each way, and its ink stays the same.
    moved = common.distorted(images, random, 0, shift=2)
    assert moved.dtype == np.uint8
    rows, columns = np.indices((15, 11))
    ink = moved.sum(axis=(1, 2))
    np.testing.assert_allclose(ink, 200, atol=2)
    for middle, positions in ((7, rows), (5, columns)):
        offsets = (moved * positions).sum(axis=(1, 2)) / ink - middle
        assert np.abs(offsets).max() < 2.05
        assert offsets.min() < -1.8
        assert offsets.max() > 1.8


def test_distortions_turn_stretch_and_slant():
    """A bar one pixel wide and 9 long, stretched by up to a quarter along both axes."""
    images = np.zeros((500, 19, 19), np.uint8)
    images[:, 5:14, 9] = 255
    bars = common.distorted(images, np.random.default_rng(0), 0.25)
    areas = bars.sum(axis=(1, 2)) / 255
    assert 9 / 1.25**2 - 1 < areas.min() < 7
    assert 13 < areas.max() < 9 / 0.75**2 + 1
    upper = bars[:, :9]
    leaning = (upper * (np.arange(19) - 9)).sum(axis=(1, 2)) / upper.sum(axis=(1, 2))
    assert -2.5 < leaning.min() < -0.7
    assert 0.7 < leaning.max() < 2.5


def test_elastic_distortion_too_small_to_see_changes_nothing():
    """Two ways to interpolate agree, over edges that hold ink too."""
    images = np.random.default_rng(1).integers(0, 256, (1500, 12, 9), dtype=np.uint8)
    affine, elastic = (
        common.distorted(images, np.random.default_rng(0), 0.2, 2, size) for size in (0, 1e-9)
    )
    assert elastic.dtype == np.uint8
    assert elastic.shape == images.shape
    np.testing.assert_allclose(elastic.astype(int), affine, atol=1)


def test_elastic_distortion_moves_parts_apart():
    """Two dots near each other move alike, dots far from each other do not."""
    rows, columns = np.indices((28, 28))
    ways = []
    for y, x in (10, 10), (10, 12), (10, 24):
        images = np.zeros((1500, 28, 28), np.uint8)
        images[:, y, x] = 255
        bent = common.distorted(images, np.random.default_rng(0), 0, elastic=0.7).astype(float)
        ink = bent.sum(axis=(1, 2))
        assert ink.min() > 0
        ways.append([(bent * rows).sum((1, 2)) / ink - y, (bent * columns).sum((1, 2)) / ink - x])
    ways = np.array(ways)  # (dot, axis, image)
    assert np.abs(ways.mean(axis=2)).max() < 0.1
    assert 0.4 < ways.std(axis=2).min() < ways.std(axis=2).max() < 0.9
    for axis in range(2):
        correlation = np.corrcoef(ways[:, axis])
        assert correlation[0, 1] > 0.7
        assert abs(correlation[0, 2]) < 0.15
    assert abs(np.corrcoef(ways[0])[0, 1]) < 0.1


# -- loading ----------------------------------------------------------------------------------

PICKLES = Path(__file__).parent / "pickles"


class Config(common.RunConfig):
    """Settings of a run, as the scripts have them."""


def load(config, shortest=5, longest=5, columns=1, distortion=0.0):
    compose, *rest = common.load_strips(config, shortest, longest, columns, distortion)
    if shortest < longest:
        return compose, *rest
    stack = common.stack_equal
    return lambda random: stack(compose(random), "train"), *(stack(part, "x") for part in rest)


def write(path, content):
    path.write_bytes(pickle.dumps(content))
    return path


def sequences(n, steps=12, labels=3, first=0):
    """Sequences whose pixels and labels tell their number."""
    x = [np.full((steps, 4), (first + i) / 255) for i in range(n)]
    return x, [[(first + i + j) % 10 for j in range(labels)] for i in range(n)]


def test_test_strips_are_fixed_and_hold_each_test_digit_once():
    _, test_digits = common.load_mnist()
    loaded = [
        load(Config(seed=seed, train_size=size), distortion=distortion)
        for seed, size, distortion in ((0, None, 0.1), (7, 100, 0))
    ]
    for _, validation, test in loaded:
        np.testing.assert_array_equal(test.x, loaded[0][2].x)
        np.testing.assert_array_equal(validation.x, loaded[0][1].x)
        assert test.x.shape == (2000, 140, 28)
        assert validation.x.shape == (1000, 140, 28)
    images = test.x.reshape(10_000, 28, 28).transpose(0, 2, 1)
    assert sorted(map(bytes, images)) == sorted(map(bytes, test_digits.x))
    assert np.bincount(test.y.ravel())[1:].tolist() == np.bincount(test_digits.y).tolist()


def test_training_strips_hold_training_digits_only_and_are_composed_anew():
    train_digits, _ = common.load_mnist()
    compose, validation, _ = load(Config(train_size=200))
    allowed = set(map(bytes, train_digits.x[:1000]))
    strips = [compose(np.random.default_rng(seed)) for seed in (0, 0, 1)]
    for strip in strips:
        assert strip.x.shape == (200, 140, 28)
        assert set(map(bytes, strip.x.reshape(1000, 28, 28).transpose(0, 2, 1))) == allowed
    np.testing.assert_array_equal(strips[0].x, strips[1].x)
    assert not np.array_equal(strips[0].x, strips[2].x)
    validation_images = validation.x.reshape(5000, 28, 28).transpose(0, 2, 1)
    assert sorted(map(bytes, validation_images)) == sorted(map(bytes, train_digits.x[-5000:]))


def object_array(items):
    array = np.empty(len(items), object)
    array[:] = items
    return array


@pytest.mark.parametrize(
    "form",
    [
        lambda x, y: (x, y),
        lambda x, y: (object_array(x), object_array([np.array(labels) for labels in y])),
        lambda x, y: (np.array(x, np.float32), np.array(y)),
        lambda x, y: ([np.rint(array * 255).astype(np.uint8) for array in x], y),
    ],
)
def test_a_fixed_list_of_sequences(tmp_path, form):
    path = write(tmp_path / "s.pkl", (form(*sequences(24)), form(*sequences(6, first=50))))
    compose, validation, test = load(Config(data=path, test_size=5))
    train = compose(np.random.default_rng(0))
    assert train.x.shape == (22, 12, 4)
    assert train.x.dtype == np.uint8
    order = train.x[:, 0, 0]
    assert sorted(order) == list(range(22))
    np.testing.assert_array_equal(train.y, (order[:, None] + np.arange(3)) % 10 + 1)
    assert validation.x[:, 0, 0].tolist() == [22, 23]
    assert test.x[:, 0, 0].tolist() == [50, 51, 52, 53, 54]


def changed(part, index, value):
    """Sequences with one of x (part 0) or y (part 1) replaced."""
    parts = sequences(24)
    parts[part][index] = value
    return parts


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
        (changed(0, 3, "abc"), "sequence 3: expected an array of numbers"),
        (changed(1, 3, []), r"labels of sequence 3: found the shape \(0,\)"),
        (changed(1, 3, [1, 2, 11]), "labels of sequence 3: 11 at index 2 is not a digit"),
        (changed(1, 3, "123"), "labels of sequence 3: expected an array of numbers"),
        (changed(0, 3, np.zeros((12, 4), np.int8)), "sequence 3: its type is int8, that of"),
        ((sequences(24)[0], sequences(23)[1]), "24 sequences, 23 lists of labels"),
        ((sequences(24)[0], sequences(24)[1][0]), "expected"),
        (sequences(11), "11 training examples; at least 12 are needed"),
    ],
)
def test_wrong_sequences_are_refused_with_their_index(tmp_path, train, message):
    path = write(tmp_path / "s.pkl", (train, sequences(6)))
    with pytest.raises(DataError, match=message):
        seq_labelling.main(seq_labelling.Config(data=path, columns=1, output=tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("labels", [list(range(10)) * 2000, np.zeros(20_000, ">i8")])
def test_one_item_named_many_times_fills_no_memory(tmp_path, labels, monkeypatch):
    monkeypatch.setattr(common, "LARGEST_DATA", 2**20)
    path = write(tmp_path / "s.pkl", ((sequences(60)[0], [labels] * 60), sequences(6)))
    with pytest.raises(DataError, match="labels of sequences: more than a file can hold"):
        load(Config(data=path))


def test_too_many_sequences_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "MOST_SEQUENCES", 23)
    path = write(tmp_path / "s.pkl", (sequences(24), sequences(6)))
    with pytest.raises(DataError, match="training sequences: 24; at most 23 are taken"):
        load(Config(data=path))


@pytest.mark.parametrize("name", ["lists_protocol2", "object_arrays_protocol1"])
def test_ragged_sequences_of_python_2_are_for_the_third_lesson(name, tmp_path):
    path = PICKLES / f"python2_sequences_{name}.pkl.gz"
    with pytest.raises(DataError, match=r"of 12 to 24 timesteps and of 2 to 4 labels: .*variable"):
        seq_labelling.main(seq_labelling.Config(data=path, columns=1, output=tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_sizes_count_strips():
    with pytest.raises(SettingError, match="--train-size 11,001: there are 11,000 training strips"):
        load(Config(train_size=11_001))
    with pytest.raises(SettingError, match="--test-size 2,001: there are 2,000 test strips"):
        load(Config(test_size=2001))
    with pytest.raises(SettingError, match=r"strips of 6,000 digits, but .* has 5,000 to validate"):
        load(Config(), 6000, 6000)
    with pytest.raises(SettingError, match="--columns 28 leaves 5 steps to a strip of 5 digits"):
        load(Config(), columns=28)


# -- seq_labelling.py -------------------------------------------------------------------------


def test_the_script_refuses_what_its_network_cannot_do(tmp_path):
    path = write(tmp_path / "s.pkl", (sequences(24), sequences(6)))
    settings = {"data": path, "output": tmp_path / "runs"}
    with pytest.raises(SettingError, match="--columns 5 does not divide 12 timesteps"):
        seq_labelling.main(seq_labelling.Config(**settings, columns=5))
    write(path, (changed(1, 3, [5, 5, 5]), sequences(6)))
    message = "training sequence 3: 3 labels, 2 of them repeated, take 5 steps, but there are 4"
    with pytest.raises(DataError, match=message):
        seq_labelling.main(seq_labelling.Config(**settings, columns=3))
    assert not (tmp_path / "runs").exists()


def test_the_script_learns_a_fixed_list(tmp_path):
    """Sequences of three bars at three heights, one label each: every network gets that right."""
    random = np.random.default_rng(0)

    def bars(n):
        y = random.integers(0, 3, (n, 3))
        x = np.zeros((n, 18, 3), np.uint8)
        for place in range(3):
            x[np.arange(n), 6 * place + random.integers(0, 4, n), y[:, place]] = 255
        return x, y

    settings = {"units": 16, "layers": 1, "columns": 2, "epochs": 6, "learning_rate": 0.02}
    path = write(tmp_path / "s.pkl", (bars(1200), bars(100)))
    config = seq_labelling.Config(data=path, output=tmp_path, batch_size=16, **settings)
    metrics = seq_labelling.main(config)
    assert metrics["test_label_error_rate"] < 0.05
    assert metrics["test_size"] == 100


def test_network_reads_columns_in_groups():
    network = seq_labelling.rnn_seqlab_network(140, 28, "GRU", 8, depth=1, columns=4)
    assert network.output_shape == (None, 35, 11)
    one_direction = 3 * 8 * (4 * 28 + 8 + 2)
    assert network.count_params() == 2 * one_direction + (16 + 1) * 11
