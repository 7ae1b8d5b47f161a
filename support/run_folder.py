"""The folder of a run: its name, its settings, and which one can be resumed."""

import contextlib
import json
import time
from pathlib import Path

import common

SECONDS = "training_seconds"  # in metrics.json, during the training too
LAST_FILE = "learning_curves.png"  # written when all others are


def open_run(script: str, *, settings: dict, output: Path, resume: Path | None) -> Path:
    """Make the folder OUTPUT/SCRIPT/TIME, which nobody else has, and write config.json into it.

    To resume a run, return its folder, if it was made with the same settings.

    Args:
        script: path of the script that runs.
        settings: all that make the run what it is, as JSON has them.
        output: OUTPUT, made if it is missing.
        resume: the folder of the run that is to go on; None: a new run.

    Raises:
        SettingError: the folder cannot be made or written to, or there is no run to resume.
    """
    if resume:
        _check_resumable(resume, Path(script).name, settings)
        return resume
    parent = output / Path(script).stem
    name = time.strftime("%Y-%m-%d_%H-%M-%S")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 1000):
            folder = parent / (name if attempt == 1 else f"{name}_{attempt}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                break
        save_settings(settings, folder)
    except OSError as error:
        raise common.SettingError(f"--output {output} can't be written: {error}") from None
    return folder


def save_settings(settings: dict, folder: Path) -> None:
    """Write the settings of a run to config.json in its folder, which is made if it is missing."""
    folder.mkdir(exist_ok=True)
    common.write_json(settings, folder / "config.json")


def _check_resumable(folder: Path, script: str, now: dict) -> None:
    """Raise SettingError if there is no unfinished run of the script with these settings."""
    try:
        before = json.loads((folder / "config.json").read_text())
        others = before.keys() ^ now.keys()  # of another script, or of this one as it was
    except (OSError, ValueError, AttributeError):  # no file, no JSON, no dictionary
        raise common.SettingError(f"--resume {folder}: there is no run of {script}") from None
    if others:
        raise common.SettingError(
            f"--resume {folder}: there is no run of {script} as it is now: only one of "
            f"the two has {', '.join(sorted(others))}"
        )
    different = [name for name in now if name != "output" and now[name] != before[name]]
    if different:
        differences = ", ".join(f"{name} {before[name]}, not {now[name]}" for name in different)
        raise common.SettingError(f"--resume {folder}: that run began with {differences}")
    if (folder / LAST_FILE).exists():
        raise common.SettingError(f"--resume {folder}: that run is finished")
