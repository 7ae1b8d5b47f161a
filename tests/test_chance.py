"""support/chance.py against its definitions, and against chance itself."""

import itertools

import numpy as np
import pytest

from support import chance


@pytest.mark.parametrize(("count", "size"), [(9914, 10_000), (0, 20), (20, 20), (1, 1), (50, 100)])
def test_the_ends_of_a_shares_interval_are_those_that_a_test_would_just_not_refuse(count, size):
    """The share is 1.96 standard deviations away from either, each with its own deviation."""
    share = count / size
    low, high = chance.interval_of_share(count, size)
    assert low < high
    for end in low, high:
        assert abs(share - end) == pytest.approx(
            1.959964 * abs(end * (1 - end) / size) ** 0.5, abs=1e-8
        )


def test_the_ends_of_a_rates_interval_are_those_that_a_test_would_just_not_refuse():
    errors, labels = np.array([1, 0, 0, 1, 0]), np.array([5, 4, 5, 2, 4])  # they are far apart
    for end in chance.interval_of_rate(errors, labels):
        assert abs(0.1 - end) == pytest.approx(1.959964 * (end / 20) ** 0.5)
    none = chance.interval_of_rate(0 * errors, labels)
    assert none == pytest.approx((0, 1.959964**2 / 20), abs=1e-8)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_the_interval_of_a_rate_holds_it_in_95_of_100_tests(rate, clustered):
    """Where some strips are harder than others, their errors come together."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        labels = random.integers(2, 6, 200)
        hard = random.beta(rate, 1 - rate, 200) if clustered else rate
        low, high = chance.interval_of_rate(random.binomial(labels, hard), labels)
        held += low <= rate <= high
    assert 0.91 <= held / 400 <= 0.99


def test_chance_alone_is_counted_out():
    """Each answer on which two networks differ is equally likely to be right in either."""
    for n in range(9):
        all_ways = [sum(way) for way in itertools.product((0, 1), repeat=n)]
        for ones in range(n + 1):
            as_far = [abs(2 * way - n) >= abs(2 * ones - n) for way in all_ways]
            assert chance.of_a_difference(ones, n - ones) == pytest.approx(np.mean(as_far))
    assert chance.of_a_difference(0, 10_000) == 0  # 1e-3010
    assert chance.of_a_difference(4900, 5100) == pytest.approx(0.0466, abs=1e-4)
