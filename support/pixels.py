"""Pixels of data sets as people have them: brought to uint8, 0 for the background, 255 for ink."""

from collections.abc import Iterable
from pathlib import Path

from common import DataError

import numpy as np

HAIR = 0.05  # how far beyond 0 and 1 resampling or rounding may have brought a pixel
FAINTEST = 128  # the highest pixel of images from 0 to 255 is at least this


def to_uint8(
    parts: dict[str, np.ndarray], ends: dict[str, np.ndarray] | None = None
) -> list[np.ndarray]:
    """Bring the pixels of all parts of a data set to uint8, from 0 to 255, by one scale.

    They may be from 0 to 255, or from 0 to 1 with a hair beyond, or black and white.

    Args:
        parts: pixels (n, ...), one image after the other, by the name of an image in a message.
        ends: where each image ends along the first axis, by the same names; None: each takes one
            place.

    Raises:
        DataError: the scale is another one, or not the same in all parts.
    """
    ranges = {where: _range(where, part, (ends or {}).get(where)) for where, part in parts.items()}
    lowest = min(low for low, _ in ranges.values())
    highest = max(high for _, high in ranges.values())
    for where, (_, high) in ranges.items():
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
    """Some tutorials divided by 256, others by 255: only the first gives whole multiples."""
    return all(
        np.array_equal(block * 256, np.rint(block * 256))
        for part in parts
        if part.dtype.kind == "f"
        for block in _blocks(part)
    )


def _range(where: str, part: np.ndarray, ends: np.ndarray | None) -> tuple[float, float]:
    """The lowest and the highest pixel; DataError if one is not a finite number."""
    low, high = part.min(initial=0), part.max(initial=0)
    if not np.isfinite([low, high]).all():
        wrong = ~np.isfinite(part)
        place = int(wrong.any(axis=tuple(range(1, part.ndim))).argmax())
        index = place if ends is None else np.searchsorted(ends, place, side="right")
        raise DataError(f"{where} {index}: a pixel is not a finite number")
    return float(low), float(high)


def _blocks(pixels: np.ndarray) -> list[np.ndarray]:
    """Cut pixels into blocks whose copies are small, even where all are one image.

    They are in the order of the memory, in which no copy of the whole is needed.
    """
    return np.array_split(pixels.ravel(order="K"), pixels.size // 2**21 + 1)


def _rounded(pixels: np.ndarray, scale: int) -> np.ndarray:
    """Multiply pixels by a scale and round them to uint8."""
    if pixels.dtype.kind != "f":  # from 0 to 255, or black and white
        return pixels.astype(np.uint8, copy=False) if scale == 1 else (pixels != 0) * np.uint8(255)
    rounded = np.empty_like(pixels, np.uint8)
    for block, new in zip(_blocks(pixels), _blocks(rounded), strict=True):
        new[...] = np.rint(block * scale).clip(0, 255)
    return rounded


def are_dark_on_light(path: Path, edges: list[tuple[np.ndarray, ...]]) -> bool:
    """Tell whether images are dark on light, and print it: more than half of their edges is light.

    Args:
        path: of the data set, for messages.
        edges: of each part of the data set, pixels from 0 to 255.

    Raises:
        DataError: some parts are, others are not.
    """
    dark_on_light = [
        2 * sum(np.count_nonzero(edge >= FAINTEST) for edge in part) > sum(e.size for e in part)
        for part in edges
    ]
    if any(dark_on_light):
        if not all(dark_on_light):
            raise DataError(f"{path}: training or test is dark on light, the other light on dark")
        print(f"{path} is dark on light: it is turned to light on dark, as MNIST is")
    return all(dark_on_light)
