"""support/digits.py: every layout that it must take, all that it must refuse, distortions."""

import pickle

import common
from common import DataError, SettingError

import numpy as np
import pytest
from small_data import PICKLES, TEST, TRAIN, VALIDATION, assert_same, write

from support import data_files, digits


def test_mnist_is_whole():
    train, test = digits.load_mnist()
    assert train.x.shape == (60_000, 28, 28)
    assert test.x.shape == (10_000, 28, 28)
    # How often each digit occurs, from the description of MNIST.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(train.y).tolist() == counts
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(test.y).tolist() == counts
    # The mean and standard deviation that MNIST is known by.
    assert train.x.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert train.x.std() / 255 == pytest.approx(0.3081, abs=5e-5)


def test_three_way_layout_of_python_2_divided_by_256():
    train, test = digits.load_mnist(PICKLES / "python2_three_way_protocol2.pkl.gz")
    assert_same(train, [np.concatenate(parts) for parts in zip(TRAIN, VALIDATION, strict=True)])
    assert_same(test, TEST)


def test_other_image_sizes(tmp_path):
    x = np.pad(np.full((12, 3, 1), 255, np.uint8), ((0, 0), (1, 1), (1, 1)))
    train, _ = digits.load_mnist(write(tmp_path / "d.pkl", ((x, TEST[1]), (x, TEST[1]))))
    assert train.x.shape == (12, 5, 3)


def nan_pixel(x):
    x = x.astype(np.float32) / 255
    x[3, 2, 1] = np.nan
    return x


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged"),
        (pickle.dumps((TRAIN, TEST))[:-1000], "damaged"),
        (pickle.dumps((TRAIN, TEST)) + b"x", "something follows"),
        (TRAIN, "expected ((x_train, y_train), (x_test, y_test))"),
        ((TRAIN,), "found a tuple of 1 (tuple of 2)"),
        ((TRAIN, TEST, 3), "found a tuple of 3 (tuple of 2, tuple of 2, int)"),
        ((TRAIN, (TEST[0], TEST[1][:-1])), "test: 12 images, but 11 labels"),
        ((TRAIN, (TEST[0], TEST[1] + 1)), "test labels: 10 at index 9 is not a digit"),
        ((TRAIN, (TEST[0], TEST[1] - 1)), "test labels: -1 at index 0 is not a digit"),
        ((TRAIN, (TEST[0], TEST[1] + 0.5)), "test labels: 0.5 at index 0 is not a digit"),
        (((nan_pixel(TRAIN[0]), TRAIN[1]), TEST), "image 3: a pixel is not a finite number"),
        (((TRAIN[0] * 2.0, TRAIN[1]), TEST), "training images: pixels from 0 to 510"),
        (((TRAIN[0].astype(int) - 1, TRAIN[1]), TEST), "training images: pixels from -1 to 255"),
        (((TRAIN[0][:, :, :0], TRAIN[1]), TEST), "training images: expected the shape (n, T, D)"),
        (((TRAIN[0][:, :20], TRAIN[1]), TEST), "all must be of one size"),
        (((TRAIN[0].reshape(-1, 8, 98), TRAIN[1]), TEST), "all must be of one size"),
        (((TRAIN[0].reshape(24, -1)[:, :783], TRAIN[1]), TEST), "expected the shape (n, T, D)"),
        ((([[1, [2, 3]]], [1, 2]), TEST), "expected an array of numbers"),
        (((TRAIN[0].astype(complex), TRAIN[1]), TEST), "an array of type 'c16' is not data"),
        (((np.zeros(3, "u1,u1"), TRAIN[1]), TEST), "is not data"),
    ],
)
def test_wrong_content_is_refused_in_one_line(tmp_path, content, message):
    path = write(tmp_path / "wrong.pkl", content)
    with pytest.raises(DataError) as error:
        digits.load_mnist(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_too_many_images_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(data_files, "MOST_IMAGES", 23)
    with pytest.raises(DataError, match="training labels: 24; at most 23 are taken"):
        digits.load_mnist(write(tmp_path / "d.pkl", (TRAIN, TEST)))


@pytest.mark.parametrize("name", ["lists_protocol2", "object_arrays_protocol1"])
def test_digit_sequences_are_sent_to_their_scripts(name):
    with pytest.raises(DataError, match=r"digit sequences are for seq_labelling\.py"):
        digits.load_mnist(PICKLES / f"python2_sequences_{name}.pkl.gz")


def test_sizes(tmp_path):
    path = write(tmp_path / "d.pkl", (TRAIN, TEST))
    order, test_order = (np.random.default_rng(0).permutation(size) for size in (24, 12))
    train, validation, test = digits.load_digits(path, train_size=5, test_size=3)
    assert_same(train, [part[order[:5]] for part in TRAIN])
    assert_same(validation, [part[order[-2:]] for part in TRAIN])
    assert_same(test, [part[test_order[:3]] for part in TEST])
    train, _, _ = digits.load_digits(path)
    assert len(train.x) == 22
    with pytest.raises(SettingError, match="--train-size 23: there are 22 training images"):
        digits.load_digits(path, train_size=23)
    with pytest.raises(SettingError, match="--test-size 13: there are 12 test images"):
        digits.load_digits(path, test_size=13)


def test_data_in_order_of_their_class_are_shuffled_and_mnist_keeps_its_split(tmp_path):
    parts = digits.load_mnist()
    train, validation, test = digits.load_digits(common.DATA_FILE)
    assert_same(train, [part[:55_000] for part in parts[0]])
    assert_same(validation, [part[55_000:] for part in parts[0]])
    assert_same(test, parts[1])
    arrays = dict(zip(data_files.NPZ_NAMES, (*parts[0], *parts[1]), strict=True))
    np.savez(tmp_path / "mnist.npz", **arrays)  # the same, wherever it lies
    loaded = digits.load_digits(tmp_path / "mnist.npz")
    for one, other in zip(loaded, (train, validation, test), strict=True):
        assert_same(one, other)
    by_class = [(part.x[order], part.y[order]) for part in parts for order in [part.y.argsort()]]
    train, validation, test = digits.load_digits(
        write(tmp_path / "d.pkl", by_class), train_size=200, test_size=200
    )
    for part in train, validation, test:
        assert set(part.y) == set(range(10))


def test_a_third_part_in_the_middle_is_for_validation(tmp_path):
    path = write(tmp_path / "d.pkl", (TRAIN, VALIDATION, TEST))
    train, validation, test = digits.load_digits(path)
    assert_same(validation, VALIDATION)
    assert (len(train.x), len(test.x)) == (24, 12)


def test_a_class_that_only_the_test_has_is_named(tmp_path, capsys):
    parts = [(x, np.arange(len(x)) % classes) for (x, _), classes in ((TRAIN, 7), (TEST, 9))]
    digits.load_digits(write(tmp_path / "d.pkl", parts))
    assert capsys.readouterr().out == "no training example of 7, 8, which the test has\n"
    digits.load_digits(write(tmp_path / "d.pkl", parts[::-1]))
    assert capsys.readouterr().out == ""


def test_dark_on_light_becomes_light_on_dark(tmp_path, capsys):
    digit, paper = np.zeros((24, 9, 9), np.uint8), np.zeros((12, 9, 9), np.uint8)
    digit[:, 3:6, 3:6] = 200
    for x, test, turned in ((digit, paper, False), (255 - digit, 255 - paper, True)):
        path = write(tmp_path / "d.pkl", ((x, TRAIN[1]), (test, TEST[1])))
        for part, expected in zip(digits.read_digits(path), (digit, paper), strict=True):
            np.testing.assert_array_equal(part.x, expected)
        line = f"{path} is dark on light: it is turned to light on dark, as MNIST is\n"
        assert capsys.readouterr().out == line * turned


@pytest.mark.parametrize(("side", "distorted"), [(7, False), (8, True)])
def test_very_small_images_are_not_distorted(side, distorted, capsys):
    x = np.random.default_rng(0).integers(0, 256, (9, side, 28), np.uint8)
    compose = digits.distorted_anew(common.Examples(x, np.arange(9)), distortion=0.2, shift=1.0)
    composed = compose(np.random.default_rng(0))
    assert np.array_equal(composed.x[composed.y.argsort()], x) is not distorted
    line = "images with a side below 8 pixels are not distorted\n"
    assert capsys.readouterr().out == line * (not distorted)
    digits.distorted_anew(common.Examples(x, np.arange(9)), distortion=0.0)
    assert capsys.readouterr().out == ""


def test_distortions():
    random = np.random.default_rng(0)
    images = np.zeros((400, 15, 11), np.uint8)
    images[:, 7, 5] = 200
    for distortion in 0, 1e-9:
        unmoved = digits.distorted(images, random, distortion=distortion)
        np.testing.assert_array_equal(unmoved, images)
    # What is in the middle stays there, however it is turned, stretched and slanted.
    turned = digits.distorted(images, random, distortion=0.3)
    assert (turned != images).any()
    for middle, positions in zip((7, 5), np.indices((15, 11)), strict=True):
        np.testing.assert_allclose((turned * (positions - middle)).sum(axis=(1, 2)), 0, atol=4)
    # The centre only moves, by up to two pixels each way, and its ink stays the same.
    moved = digits.distorted(images, random, shift=2)
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
    bars = digits.distorted(images, np.random.default_rng(0), distortion=0.25)
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
        digits.distorted(images, np.random.default_rng(0), distortion=0.2, shift=2, elastic=size)
        for size in (0, 1e-9)
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
        bent = digits.distorted(images, np.random.default_rng(0), elastic=0.7).astype(float)
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
