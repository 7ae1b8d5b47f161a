"""support/digits.py: splits, sizes, dark on light, distortions."""

from common import DATA_FILE, Examples, SettingError

import numpy as np
import pytest
from small_data import PICKLES, TEST, TRAIN, VALIDATION, assert_same, write

from support import data_files, digits


def test_mnist_is_whole():
    """With the mean and standard deviation of its pixels, and the counts of digits, it is known."""
    train, test = digits.load_mnist()
    assert (train.x.shape, test.x.shape) == ((60_000, 28, 28), (10_000, 28, 28))
    assert train.x.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert train.x.std() / 255 == pytest.approx(0.3081, abs=5e-5)
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(test.y).tolist() == counts


def test_three_way_layout_of_python_2_divided_by_256():
    train, test = digits.load_mnist(PICKLES / "python2_three_way_protocol2.pkl.gz")
    assert_same(train, [np.concatenate(parts) for parts in zip(TRAIN, VALIDATION, strict=True)])
    assert_same(test, TEST)


def test_sizes(tmp_path):
    path = write(tmp_path / "d.pkl", (TRAIN, TEST))
    order, test_order = (np.random.default_rng(0).permutation(size) for size in (24, 12))
    train, validation, test = digits.load_digits(path, train_size=5, test_size=3)
    assert_same(train, [part[order[:5]] for part in TRAIN])
    assert_same(validation, [part[order[-2:]] for part in TRAIN])
    assert_same(test, [part[test_order[:3]] for part in TEST])
    with pytest.raises(SettingError, match="--train-size 23: there are 22 training images"):
        digits.load_digits(path, train_size=23)
    with pytest.raises(SettingError, match="--test-size 13: there are 12 test images"):
        digits.load_digits(path, test_size=13)


def test_mnist_keeps_its_split_wherever_it_lies(tmp_path):
    (x, y), test = digits.load_mnist()
    np.savez(tmp_path / "mnist.npz", **dict(zip(data_files.NPZ_NAMES, (x, y, *test), strict=True)))
    expected = (x[:55_000], y[:55_000]), (x[55_000:], y[55_000:]), test
    for path in DATA_FILE, tmp_path / "mnist.npz":
        for part, arrays in zip(digits.load_digits(path), expected, strict=True):
            assert_same(part, arrays)


def test_a_class_that_only_the_test_has_is_named(tmp_path, capsys):
    parts = [(x, np.arange(len(x)) % classes) for (x, _), classes in ((TRAIN, 7), (TEST, 9))]
    digits.load_digits(write(tmp_path / "d.pkl", parts))
    assert capsys.readouterr().out == "no training example of 7, 8, which the test has\n"
    digits.load_digits(write(tmp_path / "d.pkl", parts[::-1]))
    assert capsys.readouterr().out == ""


def test_dark_on_light_becomes_light_on_dark(tmp_path, capsys):
    """Of images that are not square."""
    digit, paper = np.zeros((24, 9, 7), np.uint8), np.zeros((12, 9, 7), np.uint8)
    digit[:, 3:6, 3:6] = 200
    for x, test, turned in ((digit, paper, False), (255 - digit, 255 - paper, True)):
        path = write(tmp_path / "d.pkl", ((x, TRAIN[1]), (test, TEST[1])))
        for part, expected in zip(digits.read_digits(path), (digit, paper), strict=True):
            np.testing.assert_array_equal(part.x, expected)
        line = f"{path} is dark on light: it is turned to light on dark, as MNIST is\n"
        assert capsys.readouterr().out == line * turned


@pytest.mark.parametrize(("side", "distorted"), [(7, False), (8, True)])
def test_very_small_images_are_not_distorted(side, distorted, capsys):
    images = np.random.default_rng(0).integers(0, 256, (9, side, 28), np.uint8)
    examples = Examples(images, np.arange(9))
    composed = digits.distorted_anew(examples, distortion=0.2)(np.random.default_rng(0))
    assert np.array_equal(composed.x[composed.y.argsort()], images) is not distorted
    digits.distorted_anew(examples, distortion=0.0)  # says nothing
    line = "images with a side below 8 pixels are not distorted\n"
    assert capsys.readouterr().out == line * (not distorted)


def centres(images):
    """Of the ink of each image: how much it is, and its mean row and column; (3, n)."""
    rows, columns = np.indices(images.shape[1:])
    ink, by_row, by_column = (
        (images * weights).sum(axis=(1, 2), dtype=float) for weights in (1, rows, columns)
    )
    return np.stack([ink, by_row / ink, by_column / ink])


def dots(place, n=1500, size=(28, 28)):
    images = np.zeros((n, *size), np.uint8)
    images[:, *place] = 200
    return images


def test_what_is_in_the_middle_stays_however_it_is_turned_stretched_and_slanted():
    images = dots((7, 5), size=(15, 11))
    turned, *unmoved = (
        digits.distorted(images, np.random.default_rng(0), distortion=size)
        for size in (0.3, 0, 1e-9)
    )
    np.testing.assert_array_equal(unmoved, [images, images])
    assert (turned != images).any()
    ink, rows, columns = centres(turned)
    np.testing.assert_allclose(ink * (rows - 7), 0, atol=4)
    np.testing.assert_allclose(ink * (columns - 5), 0, atol=4)


def test_a_shift_moves_the_ink_by_up_to_so_many_pixels_each_way():
    ink, *moved = centres(digits.distorted(dots((9, 12)), np.random.default_rng(0), shift=2))
    np.testing.assert_allclose(ink, 200, atol=2)
    for middle, centre in zip((9, 12), moved, strict=True):
        assert -2.05 < (centre - middle).min() < -1.8
        assert 1.8 < (centre - middle).max() < 2.05


def test_distortions_turn_stretch_and_slant():
    """A bar one pixel wide and 9 long, stretched by up to a quarter along both axes."""
    images = np.zeros((500, 19, 19), np.uint8)
    images[:, 5:14, 9] = 255
    bars = digits.distorted(images, np.random.default_rng(0), distortion=0.25)
    areas = bars.sum(axis=(1, 2)) / 255
    assert 9 / 1.25**2 - 1 < areas.min() < 7
    assert 13 < areas.max() < 9 / 0.75**2 + 1
    leaning = centres(bars[:, :9])[2] - 9  # of the upper half
    assert -2.5 < leaning.min() < -0.7
    assert 0.7 < leaning.max() < 2.5


def test_elastic_distortion_too_small_to_see_changes_nothing():
    """Two ways to interpolate agree, over edges that hold ink too."""
    images = np.random.default_rng(1).integers(0, 256, (1500, 12, 9), dtype=np.uint8)
    affine, elastic = (
        digits.distorted(images, np.random.default_rng(0), distortion=0.2, shift=2, elastic=size)
        for size in (0, 1e-9)
    )
    assert affine.dtype == elastic.dtype == np.uint8
    np.testing.assert_allclose(elastic.astype(int), affine, atol=1)


def test_elastic_distortion_moves_parts_apart():
    """Two dots near each other move alike, dots far from each other do not."""
    ways = []
    for place in (10, 10), (10, 12), (10, 24):
        bent = digits.distorted(dots(place), np.random.default_rng(0), elastic=0.7)
        ways.append(centres(bent)[1:] - np.array(place)[:, None])
    ways = np.array(ways)  # (dot, axis, image)
    assert np.abs(ways.mean(axis=2)).max() < 0.1
    assert 0.4 < ways.std(axis=2).min() < ways.std(axis=2).max() < 0.9
    for axis in range(2):
        correlation = np.corrcoef(ways[:, axis])
        assert correlation[0, 1] > 0.7
        assert abs(correlation[0, 2]) < 0.15
    assert abs(np.corrcoef(ways[0])[0, 1]) < 0.1
