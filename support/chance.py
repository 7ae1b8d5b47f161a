"""What chance does to the results of a test: intervals; how often it sets two networks apart."""

import itertools
import math
from statistics import NormalDist

import numpy as np

# 95% of a normal distribution lies within this many standard deviations of its mean.
Z = NormalDist().inv_cdf(0.975)


def interval_of_share(count: int, size: int) -> tuple[float, float]:
    """Return both ends of the 95% interval of a share, such as an accuracy: `count` of `size`.

    Source: E. B. Wilson, Probable Inference (1927), https://doi.org/10.2307/2276774
    """
    share = count / size
    centre = share + Z**2 / (2 * size)
    half = Z * math.sqrt(share * (1 - share) / size + Z**2 / (4 * size**2))
    return (centre - half) / (1 + Z**2 / size), (centre + half) / (1 + Z**2 / size)


def interval_of_rate(errors: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return both ends of the 95% interval of a label error rate, which may be more than 1.

    It is the score interval of a Poisson rate. The more the errors gather in a few sequences, the
    fewer labels count as independent, and the wider it is.

    Args:
        errors: edit distance of each sequence, (n,).
        labels: number of true labels of each sequence, (n,).

    Sources: L. Barker (2002), https://doi.org/10.1198/000313002317572736, for the interval;
        P. McCullagh and J. A. Nelder, Generalized Linear Models (1989), section 6.2, for the
        dispersion.
    """
    rate = errors.sum() / labels.sum()
    dispersion = ((errors - rate * labels) ** 2).sum() / max(1, errors.sum())
    labels_alike = labels.sum() / max(1, dispersion)
    centre = rate + Z**2 / (2 * labels_alike)
    half = Z * math.sqrt(rate / labels_alike + Z**2 / (4 * labels_alike**2))
    return centre - half, centre + half


def of_a_difference(only_one: int, only_other: int) -> float:
    """Return how often, 0 to 1, chance sets two equally good networks at least so far apart.

    This is the exact McNemar test.

    Args:
        only_one: number of test examples on which only the one network is right.
        only_other: number of those on which only the other is.

    Source: Q. McNemar (1947), https://doi.org/10.1007/BF02295996
    """
    n, fewer = only_one + only_other, min(only_one, only_other)
    # The binomial coefficients of 0 to `fewer` of n, each from the one before: math.comb begins
    # anew each time, which takes seconds where thousands of answers differ.
    coefficients = itertools.accumulate(
        range(fewer), lambda c, k: c * (n - k) // (k + 1), initial=1
    )
    return min(1.0, 2 * sum(coefficients) / 2**n)
