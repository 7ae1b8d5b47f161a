"""support/pixels.py: the scale of pixels is decided once, or refused."""

from common import DataError

import numpy as np
import pytest

from support import pixels

GREY = np.arange(256, dtype=np.uint8).reshape(2, 8, 16)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (GREY, GREY),
        (GREY.astype(float), GREY),
        (GREY / 255, GREY / 255),
        (GREY.astype(np.float32) / 256, GREY / 256),
        (GREY.astype(np.float16) / 255, GREY / 255),
        (np.where(GREY == 7, 7 / 255 + 1e-7, GREY / 255), GREY / 255),
        (np.asfortranarray(GREY).astype(">i4"), GREY.astype(np.float64)),
    ],
)
def test_every_scale_that_is_known_comes_back_to_the_grey_levels(train, test):
    for part in pixels.to_uint8({"a": train, "b": test}):
        np.testing.assert_array_equal(part, GREY)
        assert part.dtype == np.uint8


def test_a_hair_beyond_is_clipped():
    unit = GREY / 255
    unit[0, 0, :2] = -0.03, 1.0000001
    train, test = pixels.to_uint8({"a": unit, "b": GREY / 255})
    assert train[0, 0, :3].tolist() == [0, 255, 2]
    np.testing.assert_array_equal(train.ravel()[2:], GREY.ravel()[2:])
    np.testing.assert_array_equal(test, GREY)


def test_black_and_white_of_any_kind():
    ink = GREY > 127
    for kind in bool, np.uint8, np.int64, np.float32:
        train, test = pixels.to_uint8({"a": ink.astype(kind), "b": np.zeros((1, 8, 16))})
        np.testing.assert_array_equal(train, np.where(ink, 255, 0))
        assert not test.any()


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (GREY // 16, r"from 0 to 15; .* multiply them by 255 / 15, if 15 is ink"),
        (GREY / 2.55, r"from 0 to 100; .* multiply them by 255 / 100, if 100 is ink"),
        (GREY / 127.5 - 1, r"from -1 to 1; .* add 1, then multiply by 255 / 2, if 1 is ink"),
        (GREY.astype(int) * 257, r"from 0 to 65535; .* multiply them by 255 / 65535"),
        (GREY // 2, r"from 0 to 127; "),
        (GREY.astype(int) - 1, r"from -1 to 254; "),
        (GREY * 1.01, r"from 0 to 257.55; "),
        (GREY / 255 * 1.06, r"from 0 to 1.06; "),
    ],
)
def test_any_other_scale_is_refused_with_its_range(train, message):
    with pytest.raises(DataError, match=rf"^a images: pixels {message}"):
        pixels.to_uint8({"a image": train, "b image": np.zeros((1, 8, 16))})


def test_parts_of_two_scales_are_refused():
    for train, test in (GREY / 255, GREY), (GREY, GREY > 127):
        with pytest.raises(DataError, match="pixels from 0 to 1, but in another part to 255"):
            pixels.to_uint8({"a": train, "b": test})


@pytest.mark.parametrize(("ends", "index"), [(None, 1), (np.array([1, 2]), 1), (np.array([2]), 0)])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_no_number_is_named(wrong, ends, index):
    broken = GREY / 255
    broken[1, 2, 3] = wrong
    with pytest.raises(DataError, match=f"^a image {index}: a pixel is not a finite number"):
        pixels.to_uint8({"a image": broken}, {"a image": ends})


def test_paper_is_at_most_of_the_edges():
    dark, light = np.zeros(10), np.full(10, 255)
    assert not pixels.are_dark_on_light([dark, light])
    assert pixels.are_dark_on_light([dark, light, light])
