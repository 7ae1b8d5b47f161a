"""Broken and hostile pickles; the long form is tests/benchmarks/fuzz_loader.py."""

from tests.benchmarks import fuzz_loader


def test_broken_and_hostile_pickles_are_refused_and_never_run():
    outcomes, slowest, memory = fuzz_loader.fuzz(300)
    assert outcomes.keys() == {"loaded", "refused"}
    assert outcomes["refused"] > 300
    assert fuzz_loader.executed == []
    assert slowest < 2 * fuzz_loader.SECONDS  # other tests share the machine
    assert memory < fuzz_loader.MEMORY


def test_the_watch_would_see_a_payload(monkeypatch):
    monkeypatch.setattr(fuzz_loader, "executed", [])
    monkeypatch.setattr(fuzz_loader, "loading", True)
    exec("pass")
    assert "exec" in fuzz_loader.executed
