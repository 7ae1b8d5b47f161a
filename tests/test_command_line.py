"""support/command_line.py: errors become messages and exit codes, mistakes of ours do not."""

import errno
import shlex
from pathlib import Path

import common

import pytest

from support import command_line, processes
from support.settings import RunConfig


def run(error, monkeypatch):
    def main(config):
        raise error

    monkeypatch.setattr("sys.argv", ["classic.py", "--seed", "3"])
    command_line.run(main, RunConfig, "A lesson.")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (common.SettingError("no such layer"), 2, "no such layer\n"),
        (common.DataError("no digits"), 1, "no digits\n"),
        (common.TrainingError("infinite"), 1, "infinite\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "model.keras"),
            1,
            "model.keras can't be written or read: No space left on device\n",
        ),
        (
            common.Interrupted("runs/classic/now"),
            130,
            "\ninterrupted; to go on: python classic.py --seed 3 --resume runs/classic/now\n",
        ),
        (KeyboardInterrupt(), 130, "\ninterrupted\n"),
    ],
)
def test_what_a_user_can_mend_is_one_message(error, code, message, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        run(error, monkeypatch)
    assert exit.value.code == code
    assert capsys.readouterr() == ("", message)


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("runs/classic/2026-11-28_10-00-00", "runs/classic/2026-11-28_10-00-00"),
        ("C:/Users/Zoë/runs", "C:/Users/Zoë/runs"),
        ("C:\\Users\\Zoë", '"C:\\Users\\Zoë"'),
        ("my runs (2)", '"my runs (2)"'),
        ("", '""'),
    ],
)
def test_a_command_is_written_for_all_shells(word, written):
    assert command_line.spelt("python", word) == f"python {written}"
    assert shlex.split(written) == [word]


def test_a_resumed_run_is_resumed_again_by_the_same_command(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["classic.py", "--resume", "runs/classic/now"])
    with pytest.raises(SystemExit), command_line.one_message(Path("runs/classic/now")):
        raise common.Interrupted("runs/classic/now")
    message = "\ninterrupted; to go on: python classic.py --resume runs/classic/now\n"
    assert capsys.readouterr().err == message


def test_a_process_that_is_not_the_first_does_not_name_its_temporary_folder(monkeypatch, capsys):
    monkeypatch.setattr(processes, "process_id", lambda: 1)
    with pytest.raises(SystemExit), command_line.one_message():
        raise common.Interrupted("/tmp/runs/classic/now")
    message = "\ninterrupted; to go on: start all again, with --resume and the run's folder\n"
    assert capsys.readouterr().err == message


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
def test_a_mistake_of_ours_is_not_taken_for_one_of_the_user(error, monkeypatch):
    with pytest.raises(type(error)):
        run(error, monkeypatch)


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
    assert (Config().units, Config(units=4).units, Config().seed) == (3, 4, 7)
