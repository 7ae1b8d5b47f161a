"""support/lesson.py: what surrounds a lesson's main."""

import signal

from common import SettingError, TrainingError

import pytest

from support import run_folder
from support.lesson import lesson
from support.settings import RunConfig


class Config(RunConfig):
    batch_size: int = 7


def test_a_setting_that_is_missing_is_named_but_not_another_attribute():
    with pytest.raises(SettingError, match="class Config has no setting 'units': is it misspelt"):
        lesson(lambda config: config.units)(Config())
    with pytest.raises(AttributeError, match="'int' object has no attribute 'units'"):
        lesson(lambda config: config.seed.units)(Config())


def test_ctrl_c_is_handled_from_the_folder_on_and_no_longer(tmp_path):
    """Nor after a training that failed."""

    def main(config):
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        run = run_folder.open_run("script.py", config)
        assert signal.getsignal(signal.SIGINT) == run.interrupt
        raise TrainingError

    for _ in range(2):
        with pytest.raises(TrainingError):
            lesson(main)(Config(output=tmp_path))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_handles_ctrl_c_already_goes_on_to(tmp_path, monkeypatch):
    def theirs(number, frame):
        pass

    before = signal.signal(signal.SIGINT, theirs)
    try:
        lesson(lambda config: run_folder.open_run("script.py", config))(Config(output=tmp_path))
        assert signal.getsignal(signal.SIGINT) is theirs
    finally:
        signal.signal(signal.SIGINT, before)
