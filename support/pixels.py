"""Pixels of data sets as people have them: brought to uint8, 0 for the background, 255 for ink."""

import math
from collections.abc import Iterable
from pathlib import Path

from common import DataError

import numpy as np

HAIR = 0.05  # how far beyond 0 and 1 resampling or rounding may have brought a pixel
FAINTEST = 128  # the highest pixel of images from 0 to 255 is at least this; so is a light edge


def to_uint8(parts: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Bring the pixels of all parts of a data set to uint8, from 0 to 255, by one scale.

    They may be from 0 to 255, or from 0 to 1 with a hair beyond, or black and white.

    Args:
        parts: images (n, T, D) by what a message calls an image of the part.

    Returns:
        The images of each part, in the same order.

    Raises:
        DataError: a pixel is not finite, the scale is another one, or the parts differ in it.
    """
    lows = [float(part.min(initial=0)) for part in parts.values()]
    highs = [float(part.max(initial=0)) for part in parts.values()]
    lowest, highest = min(lows), max(highs)
    for (where, part), low, high in zip(parts.items(), lows, highs, strict=True):
        if not math.isfinite(low + high):
            index = np.isfinite(part).all(axis=(1, 2)).argmin()
            raise DataError(f"{where} {index}: a pixel is not a finite number")
        if 0 < high < highest / 2:
            raise DataError(f"{where}s: pixels up to {high:g}, in another part up to {highest:g}")
    if lowest >= -0.5 and FAINTEST <= highest < 255.5:
        scale = 1
    elif lowest >= -HAIR and 0.5 <= highest <= 1 + HAIR:
        scale = 256 if _are_multiples_of_a_256th(parts.values()) else 255
    else:
        if lowest == highest:
            raise DataError(f"{next(iter(parts))}s: all pixels are {highest:g}")
        advice = "multiply them" if lowest >= 0 else f"add {-lowest:g}, then multiply"
        raise DataError(
            f"{next(iter(parts))}s: pixels from {lowest:g} to {highest:g}; expected 0 to 255, 0 to "
            f"1, or black and white: {advice} by 255 / {highest - lowest:g}, if {highest:g} is ink"
        )
    return [_rounded(part, scale) for part in parts.values()]


def _are_multiples_of_a_256th(parts: Iterable[np.ndarray]) -> bool:
    """Tell whether pixels were divided by 256, as in some tutorials, not by 255, as in others."""
    return all(
        np.array_equal(block * 256, np.rint(block * 256))
        for part in parts
        if part.dtype.kind == "f"
        for block in _blocks(part)
    )


def _blocks(pixels: np.ndarray) -> list[np.ndarray]:
    """Cut pixels into blocks whose copies are small, even where all are one image.

    The pixels come in their order in memory, for which no copy of the whole is needed.
    """
    return np.array_split(pixels.ravel(order="K"), pixels.size // 2**21 + 1)


def _rounded(pixels: np.ndarray, scale: int) -> np.ndarray:
    """Multiply pixels by a scale and round them to uint8."""
    if pixels.dtype.kind != "f" and scale == 1:
        return pixels.astype(np.uint8, copy=False)
    rounded = np.empty_like(pixels, np.uint8)
    for block, new in zip(_blocks(pixels), _blocks(rounded), strict=True):
        new[...] = np.rint(block * float(scale)).clip(0, 255)
    return rounded


def light_on_dark(path: Path, parts: list[np.ndarray]) -> list[np.ndarray]:
    """Invert images that are dark on light, and print a line about it.

    Images are dark on light if more than half of the pixels at their edges are light.

    Args:
        path: file of the data set, for messages.
        parts: images (n, T, D) of uint8, overwritten if they can be.

    Raises:
        DataError: some parts are dark on light, others are not.
    """
    dark_on_light = [np.mean(_some_edges(part) >= FAINTEST) > 0.5 for part in parts]
    if not any(dark_on_light):
        return parts
    if not all(dark_on_light):
        raise DataError(f"{path}: training or test is dark on light, the other light on dark")
    print(f"{path} is dark on light: it is turned to light on dark, as MNIST is")
    return [np.subtract(255, part, out=part if part.flags.writeable else None) for part in parts]


def _some_edges(part: np.ndarray) -> np.ndarray:
    """Return pixels at the edges of at most 1,000 images (n, T, D), at most 1,000 of each edge."""
    n, height, width = (size // 1000 + 1 for size in part.shape)
    some = part[::n, ::height, ::width]
    return np.concatenate([some[:, [0, -1]].ravel(), some[:, :, [0, -1]].ravel()])
