"""support/command_line.py: errors become messages and exit codes, mistakes of ours do not."""

import errno
import shlex
from pathlib import Path
from typing import Literal

import common

import pytest
from pydantic import ValidationError

from support import command_line, processes
from support.settings import RunConfig

RUN = "runs/classic/now"
GO_ON = "\ninterrupted; to go on: "
FULL = OSError(errno.ENOSPC, "No space left on device", "model.keras")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (common.SettingError("no such layer"), 2, "no such layer\n"),
        (common.DataError("no digits"), 1, "no digits\n"),
        (common.TrainingError("infinite"), 1, "infinite\n"),
        (FULL, 1, "model.keras can't be written or read: No space left on device\n"),
        (common.Interrupted(RUN), 130, f"{GO_ON}python classic.py --seed 3 --resume {RUN}\n"),
        (KeyboardInterrupt(), 130, "\ninterrupted\n"),
    ],
)
def test_what_a_user_can_mend_is_one_message(error, code, message, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["classic.py", "--seed", "3"])
    with pytest.raises(SystemExit) as exit, command_line.one_message():
        raise error
    assert exit.value.code == code
    assert capsys.readouterr() == ("", message)


@pytest.mark.parametrize(
    ("process", "command"),
    [
        (0, f"python classic.py --resume {RUN}"),  # the same command
        (1, "start all again, with --resume and the run's folder"),  # its folder is a temporary one
    ],
)
def test_a_resumed_run_can_be_resumed_again(process, command, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["classic.py", "--resume", RUN])
    monkeypatch.setattr(processes, "process_id", lambda: process)
    with pytest.raises(SystemExit), command_line.one_message(Path(RUN)):
        raise common.Interrupted(RUN)
    assert capsys.readouterr().err == f"{GO_ON}{command}\n"


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("C:/Users/Zoë/runs-1", "C:/Users/Zoë/runs-1"),
        ("C:\\Users\\Zoë", '"C:\\Users\\Zoë"'),
        ("my runs (2)", '"my runs (2)"'),
        ("", '""'),
    ],
)
def test_a_command_is_written_for_all_shells(word, written):
    assert command_line.spelt("python", word) == f"python {written}"
    assert shlex.split(written) == [word]


@pytest.mark.parametrize("error", [RuntimeError, ValueError])
def test_what_jax_raises_when_a_process_is_lost_is_one_line(error, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    with pytest.raises(SystemExit, match="1"), command_line.one_message():
        raise error("Gloo has failed\nat length")
    said = capsys.readouterr().err
    assert said.startswith("another process has ended ")
    assert "(Gloo has failed): start all again" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("error", [AttributeError(), KeyError(), RuntimeError(), ValueError()])
def test_a_mistake_of_ours_is_not_taken_for_one_of_the_user(error):
    with pytest.raises(type(error)), command_line.one_message():
        raise error


def test_a_bad_default_in_the_file_is_refused(monkeypatch, capsys):
    class Config(RunConfig):
        cell: Literal["GRU", "LSTM"] = "Foo"

    monkeypatch.setattr("sys.argv", ["classic.py"])
    with pytest.raises(SystemExit, match="2"):
        command_line.parse(Config, "A lesson.")
    assert "'GRU' or 'LSTM'" in capsys.readouterr().err
    with pytest.raises(ValidationError, match="'GRU' or 'LSTM'"):  # in a notebook
        Config()


def test_help_ends_with_the_settings_of_the_lesson_where_a_terminal_shows_them(monkeypatch, capsys):
    class Config(RunConfig):
        units: int = 3  # units of each recurrent layer
        seed: int = 7  # another default

    monkeypatch.setattr("sys.argv", ["classic.py", "--help"])
    with pytest.raises(SystemExit, match="0"):
        command_line.run(lambda config: None, Config, "A lesson.")
    printed = capsys.readouterr().out
    assert "A lesson." in printed
    assert "units of each recurrent layer" in printed
    assert "(default: 7)" in printed
    assert printed.index("--seed") < printed.index("--resume") < printed.index("--units")
