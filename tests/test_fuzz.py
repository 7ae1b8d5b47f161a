"""Broken and hostile pickles; the long form is tests/benchmarks/fuzz_loader.py."""

import pytest

from tests.benchmarks import fuzz_loader


@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # in text of Python 2
def test_broken_and_hostile_pickles_are_refused_and_never_run():
    outcomes, slowest, largest = fuzz_loader.fuzz(300, large=False)
    assert outcomes.keys() == {"loaded", "refused"}
    assert outcomes["refused"] > 300
    assert fuzz_loader.executed == []
    assert slowest.figure < 2 * fuzz_loader.SECONDS  # other tests share the machine
    assert largest.figure < fuzz_loader.MEMORY


def test_the_watch_would_see_a_payload(monkeypatch):
    monkeypatch.setattr(fuzz_loader, "executed", [])
    monkeypatch.setattr(fuzz_loader, "loading", True)
    exec("pass")
    assert "exec" in fuzz_loader.executed
