"""support/settings.py: what every run has."""

from pathlib import Path

import common  # noqa: F401

from support.settings import RunConfig


def test_settings_of_a_run_leave_out_what_to_do_with_it():
    config = RunConfig(seed=3, resume=Path("folder"), seen=Path("seen.png"))
    kept = {"seed", "train_size", "test_size", "data", "output", "start_from"}
    assert config.of_the_run().keys() == kept
    assert config.of_the_run()["seed"] == 3
