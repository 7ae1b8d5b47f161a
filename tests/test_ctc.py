"""support/ctc.py: the loss, decoding and error rates against brute force."""

import collections
import functools
import itertools

from common import DataError

import keras
import numpy as np
import pytest
import reference
from lessons import gradients

from support import ctc


@functools.cache
def all_paths(steps, classes):
    """Every path, one by one, with the labelling that it says."""
    paths = list(itertools.product(range(classes), repeat=steps))
    return np.array(paths), [reference.collapse(path) for path in paths]


def labelling_probabilities(logits):
    """Probability of every labelling: the sum over all paths that say it."""
    p = np.exp(reference.log_softmax(logits))
    paths, labellings = all_paths(*logits.shape)
    total = collections.Counter()
    for labelling, probability in zip(labellings, p[range(len(p)), paths].prod(1), strict=True):
        total[labelling] += probability
    return total


def test_loss_and_confidence_are_sums_over_all_paths():
    """Of labels of all lengths, some with repeats; some need more than these five steps."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (60, 5, 4)).astype(np.float32)
    lengths = np.arange(60) % 6
    labels = np.where(np.arange(5) < lengths[:, None], random.integers(1, 4, (60, 5)), -1)
    confidences = ctc.confidences(labels, logits)
    fits = ctc.steps_needed(labels) <= 5
    assert 30 < fits.sum() < 60
    for steps, reading, confidence, fit in zip(logits, labels, confidences, fits, strict=True):
        expected = labelling_probabilities(steps)[tuple(reading[reading > 0])]
        assert confidence == pytest.approx(expected, rel=1e-5)
        assert (expected > 0) == fit
        if fit:
            loss, _ = reference.ctc(steps, reading[reading > 0])
            assert np.exp(-loss) == pytest.approx(expected, rel=1e-9)


def test_loss_and_gradient_are_those_of_the_formulas():
    """Of 40 strips: each row of the only weight is the logits of one step of one strip."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (40, 12, 4)).astype(np.float32)
    labels = random.integers(1, 4, (40, 5)) * (np.arange(5) < random.integers(0, 6, (40, 1)))
    network = keras.Sequential([keras.Input((12, 480)), keras.layers.Dense(4, use_bias=False)])
    network.set_weights([logits.reshape(480, 4)])
    one_hot = np.eye(480).reshape(40, 12, 480)
    (found,) = gradients(network, keras.losses.CTC(reduction="sum"), one_hot, labels)
    losses = keras.ops.convert_to_numpy(keras.losses.ctc(labels, logits))
    for i, y in enumerate(labels):
        loss, gradient = reference.ctc(logits[i], y[y > 0])
        np.testing.assert_allclose(losses[i], loss, rtol=0, atol=1e-5)
        np.testing.assert_allclose(found.reshape(logits.shape)[i], gradient, rtol=0, atol=1e-5)


def test_greedy_decoding_is_that_of_the_best_path():
    logits = np.random.default_rng(0).normal(size=(200, 12, 4))
    for steps, reading in zip(logits, np.asarray(ctc.read_labels(logits)), strict=True):
        expected = reference.greedy(steps)
        assert tuple(reading) == expected + (-1,) * (12 - len(expected))


@pytest.mark.parametrize("beam_width", [5, 400])
def test_beam_search_reads_the_labelling_with_the_most_probable_paths(beam_width):
    """With room for all labellings of at most five labels, 364, it is exact."""
    logits = np.random.default_rng(0).normal(size=(40, 5, 4)).astype(np.float32)
    readings = np.asarray(ctc.read_labels(logits, beam_width=beam_width))
    beams = [reference.beam_search(steps, beam_width) for steps in logits]
    best = [next(iter(beam)) for beam in beams]
    assert [tuple(reading[reading > 0]) for reading in readings] == best
    assert best != [reference.greedy(steps) for steps in logits]
    if beam_width == 400:
        for steps, beam in zip(logits, beams, strict=True):
            possible = {labelling: p for labelling, p in beam.items() if p}
            assert possible == pytest.approx(labelling_probabilities(steps), rel=1e-9)


def plain_edit_distance(a, b):
    if not a or not b:
        return len(a) + len(b)
    if a[0] == b[0]:
        return plain_edit_distance(a[1:], b[1:])
    shorter = (a[1:], b), (a, b[1:]), (a[1:], b[1:])
    return 1 + min(plain_edit_distance(*pair) for pair in shorter)


@pytest.fixture(scope="module")
def pairs():
    """1,000 random labellings and readings, with repeats and nothing among them, and distances."""
    random = np.random.default_rng(1)
    truth = [random.integers(1, 4, random.integers(1, 6)).tolist() for _ in range(1000)]
    reading = [random.integers(1, 4, random.integers(0, 7)).tolist() for _ in range(1000)]
    reading[::3] = truth[::3]
    truth[1], reading[1] = [1, 1, 2], [1, 2]
    truth[2], reading[2] = [1, 1, 2], []
    distances = np.array(list(map(plain_edit_distance, truth, reading)))
    pad = functools.partial(keras.utils.pad_sequences, padding="post")
    return pad(truth, dtype="uint8"), pad(reading), distances


def error_rates(truth, reading):
    distances = keras.ops.convert_to_numpy(ctc.edit_distances(truth, reading))
    return ctc.error_rates(distances, (truth > 0).sum(axis=1))


def test_rates_equal_an_independent_edit_distance_on_1000_random_pairs(pairs):
    truth, reading, distances = pairs
    np.testing.assert_array_equal(ctc.edit_distances(truth, reading), distances)
    rates = error_rates(truth, reading)
    assert rates["label_error_rate"] == pytest.approx(distances.sum() / (truth > 0).sum())
    assert rates["sequence_error_rate"] == np.mean(distances > 0)
    of_nothing = error_rates(truth, reading[:, :0])
    assert of_nothing == {"label_error_rate": 1.0, "sequence_error_rate": 1.0}


def test_metrics_of_compile_are_those_of_evaluate(pairs):
    """Compiled, in batches of which the last is smaller, with the number of steps unknown."""
    truth, reading, _ = pairs
    # Every label is followed by a blank.
    logits = 20 * np.eye(4, dtype=np.float32)[np.insert(reading, slice(1, None), 0, axis=1)]
    inputs = keras.Input((None, 4))
    network = keras.Model(inputs, keras.layers.Rescaling(1.0)(inputs))
    metrics = [ctc.LabelErrorRate(), ctc.SequenceErrorRate()]
    network.compile(loss=keras.losses.CTC(), metrics=metrics)
    for _ in range(2):  # reset, they begin anew
        figures = network.evaluate(logits, truth, batch_size=300, verbose=0, return_dict=True)
        del figures["loss"]
        assert figures == pytest.approx(error_rates(truth, reading), rel=1e-5)


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


@pytest.mark.parametrize(
    ("truth", "reading", "pairs"),
    [
        ([1, 2, 3, 0], [1, 5, 3, 0], [(1, 1), (2, 5), (3, 3)]),
        ([1, 2, 3], [1, 3, 0], [(1, 1), (2, 0), (3, 3)]),
        ([1, 3, 0], [1, 2, 3], [(1, 1), (0, 2), (3, 3)]),
        ([1, 1, 2], [1, 2, 0], [(1, 0), (1, 1), (2, 2)]),
        ([1, 2], [], [(1, 0), (2, 0)]),
    ],
)
def test_align_shows_what_was_read_wrong_left_out_and_added(truth, reading, pairs):
    assert ctc.align(np.array(truth), np.array(reading, int)) == pairs


def test_align_keeps_all_labels_and_shows_an_error_only_where_there_is_one(pairs):
    for truth, reading, distance in zip(*pairs, strict=True):
        aligned = ctc.align(truth, reading)
        assert [label for label, _ in aligned if label] == truth[truth > 0].tolist()
        assert [label for _, label in aligned if label] == reading[reading > 0].tolist()
        differences = sum(one != other for one, other in aligned)
        assert differences >= distance
        assert (differences == 0) == (distance == 0)
