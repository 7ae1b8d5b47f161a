"""support/ctc.py: the loss, decoding and error rates against brute force."""

import functools
import itertools

from common import DataError

import keras
import numpy as np
import pytest

from support import ctc


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


def ctc_loss(labels, logits):
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
    assert ctc_loss(labels, logits) == pytest.approx(expected, abs=1e-4)
    # Zeros after the labels are padding.
    assert ctc_loss([*labels, 0, 0], logits) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("steps", "labels"), CASES)
def test_confidence_is_the_sum_over_all_alignments(steps, labels):
    logits = np.random.default_rng(steps).normal(0, 2, (1, steps, 4)).astype(np.float32)
    expected = labelling_probabilities(logits[0])
    for reading in labels, []:
        confidence = ctc.confidences(np.array([[*reading, -1]]), logits)[0]
        assert confidence == pytest.approx(expected[tuple(reading)], rel=1e-3)


def test_confidences_of_readings_of_different_lengths_are_those_of_the_loss():
    logits = np.random.default_rng(0).normal(0, 2, (50, 12, 4)).astype(np.float32)
    readings = ctc.trimmed(ctc.read_labels(logits))
    assert len({(reading > 0).sum() for reading in readings}) > 3
    expected = np.exp(-np.asarray(keras.losses.ctc(np.maximum(readings, 0), logits)))
    np.testing.assert_allclose(ctc.confidences(readings, logits), expected, rtol=1e-4)


def test_greedy_decoding_is_the_collapsed_best_path():
    logits = np.random.default_rng(0).normal(size=(200, 12, 4))
    readings = ctc.read_labels(logits)
    for path, reading in zip(logits.argmax(axis=-1), np.asarray(readings), strict=True):
        expected = collapse(path)
        assert reading[: len(expected)].tolist() == list(expected)
        assert (reading[len(expected) :] == -1).all()


def test_beam_search_finds_what_greedy_misses():
    """Blank is best at both steps, 0.6 * 0.6 = 0.36; all paths that say 1 add up to 0.64."""
    logits = np.log(np.array([[[0.6, 0.4], [0.6, 0.4]]], np.float32))
    for width, label in (None, -1), (10, 1):
        assert np.asarray(ctc.read_labels(logits, beam_width=width))[0, 0] == label


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
    assert np.asarray(ctc.edit_distances(padded(truth), padded(reading))).tolist() == distances
    rates = ctc.error_rates(padded(truth), padded(reading))
    assert rates["label_error_rate"] == pytest.approx(sum(distances) / sum(map(len, truth)))
    assert rates["sequence_error_rate"] == np.mean([d > 0 for d in distances])


def test_rates_of_nothing_read():
    rates = ctc.error_rates(np.array([[1, 2], [3, 0]]), np.zeros((2, 0), int))
    assert rates == {"label_error_rate": 1.0, "sequence_error_rate": 1.0}


def logits_that_say(reading, steps):
    """Each label followed by a blank, then blanks to the end."""
    path = [step for label in reading for step in (label, 0)]
    return 20 * np.eye(4)[path + [0] * (steps - len(path))]


@pytest.fixture(scope="module")
def pairs():
    """1,000 random labellings and logits that say others, with repeats and nothing among them."""
    random = np.random.default_rng(1)
    truth = [random.integers(1, 4, random.integers(1, 6)).tolist() for _ in range(1000)]
    reading = [random.integers(1, 4, random.integers(0, 7)).tolist() for _ in range(1000)]
    for index in range(0, 1000, 3):
        reading[index] = truth[index]
    truth[1], reading[1] = [1, 1, 2], [1, 2]
    truth[2], reading[2] = [1, 1, 2], []
    logits = np.array([logits_that_say(row, 14) for row in reading], np.float32)
    distances = [plain_edit_distance(a, b) for a, b in zip(truth, reading, strict=True)]
    return padded(truth).astype(np.uint8), logits, distances


def test_metrics_equal_an_independent_edit_distance_batch_by_batch(pairs):
    truth, logits, distances = pairs
    label, sequence = ctc.LabelErrorRate(), ctc.SequenceErrorRate()
    for _ in range(2):  # reset, they begin anew
        for start in range(0, 1000, 300):
            batch = slice(start, start + 300)
            label.update_state(truth[batch], logits[batch])
            sequence.update_state(truth[batch], logits[batch])
        expected = sum(distances) / (truth > 0).sum()
        assert float(label.result()) == pytest.approx(expected, rel=1e-5)
        assert float(sequence.result()) == pytest.approx(np.mean(np.array(distances) > 0))
        label.reset_state()
        sequence.reset_state()


def test_metrics_of_compile_are_those_of_evaluate(pairs):
    """Compiled, in batches of which the last is smaller, with the number of steps unknown."""
    truth, logits, distances = pairs
    inputs = keras.Input((None, 4))
    network = keras.Model(inputs, keras.layers.Rescaling(1.0)(inputs))
    network.compile(
        loss=keras.losses.CTC(), metrics=[ctc.LabelErrorRate(), ctc.SequenceErrorRate()]
    )
    figures = network.evaluate(logits, truth, batch_size=300, verbose=0, return_dict=True)
    assert figures.keys() == {"loss", "label_error_rate", "sequence_error_rate"}
    expected = sum(distances) / (truth > 0).sum()
    assert figures["label_error_rate"] == pytest.approx(expected, rel=1e-5)
    assert figures["sequence_error_rate"] == pytest.approx(np.mean(np.array(distances) > 0))


def test_trimmed_labels_keep_every_label():
    labels = np.array([[1, 2, -1, -1], [3, -1, -1, -1], [0, 0, 0, 0]])
    assert ctc.trimmed(labels).tolist() == [[1, 2], [3, -1], [0, 0]]
    assert ctc.trimmed(labels[2:]).shape == (1, 0)


def test_labels_that_cannot_fit_are_refused_with_their_index():
    labels = np.array([[1, 2, 3], [1, 1, 2], [4, 0, 0]])
    ctc.check_labels_fit(labels, np.array([3, 4, 1]), "training", "")
    message = "training sequence 1: 3 labels, 1 of them repeated, take 4 steps, but there are 3; l"
    with pytest.raises(DataError, match=message):
        ctc.check_labels_fit(labels, np.array([3, 3, 1]), "training", "less is more")
    with pytest.raises(DataError, match="test sequence 2: 1 labels"):
        ctc.check_labels_fit(labels, np.array([3, 4, 0]), "test", "")


def test_steps_needed_are_the_fewest_in_which_a_path_can_say_the_labels():
    for labels in [1], [1, 2], [1, 1], [2, 2, 2], [1, 2, 2, 1]:
        enough = [steps for steps in range(1, 8) if tuple(labels) in all_paths(steps, 3)[1]]
        assert ctc.steps_needed(np.array([[*labels, 0]])).tolist() == enough[:1]


@pytest.mark.parametrize(
    ("truth", "reading", "pairs"),
    [
        ([1, 2, 3], [1, 2, 3], [(1, 1), (2, 2), (3, 3)]),
        ([1, 2, 3, 0], [1, 5, 3, 0], [(1, 1), (2, 5), (3, 3)]),
        ([1, 2, 3], [1, 3, 0], [(1, 1), (2, 0), (3, 3)]),
        ([1, 3, 0], [1, 2, 3], [(1, 1), (0, 2), (3, 3)]),
        ([1, 1, 2], [1, 2, 0], [(1, 0), (1, 1), (2, 2)]),
        ([1, 2], [], [(1, 0), (2, 0)]),
    ],
)
def test_align_shows_what_was_read_wrong_left_out_and_added(truth, reading, pairs):
    assert ctc.align(np.array(truth), np.array(reading, int)) == pairs


def test_align_keeps_all_labels_and_shows_an_error_only_where_there_is_one():
    random = np.random.default_rng(0)
    truths, readings = (
        [random.integers(1, 4, random.integers(1, 7)).tolist() for _ in range(300)]
        for _ in range(2)
    )
    distances = np.asarray(ctc.edit_distances(padded(truths), padded(readings)))
    for truth, reading, distance in zip(truths, readings, distances, strict=True):
        pairs = ctc.align(np.array(truth), np.array(reading))
        assert [label for label, _ in pairs if label] == truth
        assert [label for _, label in pairs if label] == reading
        differences = sum(one != other for one, other in pairs)
        assert differences >= distance
        assert (differences == 0) == (truth == reading)
