"""support/pixels.py: the scale of pixels is decided once, or refused."""

from pathlib import Path

from common import DataError

import numpy as np
import pytest

from support import pixels

GREY = np.arange(256, dtype=np.uint8).reshape(2, 8, 16)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (GREY.astype(np.float32) / 256, GREY / 256),
        (GREY.astype(np.float16) / 255, GREY / 255),
        (np.where(GREY == 7, 7 / 255 + 1e-7, GREY / 255), GREY / 255),
        (np.asfortranarray(GREY).astype(">i4"), GREY.astype(np.float64)),
        (np.where(GREY == 0, -0.03, GREY / 255), np.where(GREY == 255, 1.000001, GREY / 255)),
    ],
)
def test_every_scale_that_is_known_comes_back_to_the_grey_levels(train, test):
    """The last is a hair beyond, and is clipped."""
    for part in pixels.to_uint8({"a": train, "b": test}):
        np.testing.assert_array_equal(part, GREY)
        assert part.dtype == np.uint8


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float32])
def test_black_and_white_of_any_kind(kind):
    ink = GREY > 127
    train, test = pixels.to_uint8({"a": ink.astype(kind), "b": np.zeros((1, 8, 16))})
    np.testing.assert_array_equal(train, np.where(ink, 255, 0))
    assert not test.any()


NOTHING = 0 * GREY


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (NOTHING, NOTHING, "all pixels are 0$"),
        (GREY / 127.5 - 1, NOTHING, r"pixels from -1 to 1; .* add 1, then multiply by 255 / 2, if"),
        (GREY // 2, NOTHING, r"pixels from 0 to 127; .* multiply them by 255 / 127, if 127 is i"),
        (GREY.astype(int) - 1, NOTHING, "pixels from -1 to 254; "),
        (GREY * 1.01, NOTHING, "pixels from 0 to 257.55; "),
        (GREY / 255 * 1.06, NOTHING, "pixels from 0 to 1.06; "),
        (GREY / 255 / 255, NOTHING, "pixels from 0 to 0.00392157; .* by 255 / 0.00392157"),
        (GREY / 255, GREY, "pixels up to 1, in another part up to 255"),
        (GREY / 255, GREY / 255 / 255, "pixels up to 0.00392157, in another part up to 1"),
    ],
)
def test_another_scale_or_two_of_them_are_refused(train, test, message):
    with pytest.raises(DataError, match=f"^[ab] images: {message}"):
        pixels.to_uint8({"a image": train, "b image": test})


def test_what_the_advice_leads_to_is_taken():
    for values in GREY / 255 * 11, (GREY / 255 - 0.1307) / 0.3081:
        low, high = (float(f"{limit:g}") for limit in (values.min(), values.max()))
        scaled = (values - min(low, 0)) * (255 / float(f"{high - min(low, 0):g}"))
        (part,) = pixels.to_uint8({"a": scaled})
        np.testing.assert_allclose(part.astype(int), GREY, atol=1)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_no_number_is_named(wrong):
    broken = GREY / 255
    broken[1, 2, 3] = wrong
    with pytest.raises(DataError, match=r"^a image 1: a pixel is not a finite number"):
        pixels.to_uint8({"a image": broken})


def test_paper_is_at_most_of_the_edges(capsys):
    dark, light = np.zeros((1, 4, 9), np.uint8), np.full((1, 4, 9), 255, np.uint8)
    half = np.concatenate([dark, light])
    assert pixels.light_on_dark(Path("d.pkl"), [half])[0] is half
    assert capsys.readouterr().out == ""
    (turned,) = pixels.light_on_dark(Path("d.pkl"), [np.concatenate([dark, light, light])])
    np.testing.assert_array_equal(turned, np.concatenate([light, dark, dark]))
    assert capsys.readouterr().out.startswith("d.pkl is dark on light: it is turned to light on da")
