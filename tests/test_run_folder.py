"""support/run_folder.py, support/lesson.py: folders of runs, and which runs can go on."""

import json
import platform
import signal

from common import DataError, SettingError

import keras
import numpy as np
import pytest

from support import run_folder
from support.lesson import lesson
from support.settings import RunConfig


class Config(RunConfig):
    units: int = 4
    batch_size: int = 7


@pytest.fixture(autouse=True)
def ctrl_c():
    """Take back what `open_run` does, which it leaves to the decorator of a lesson."""
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def run(tmp_path):
    return run_folder.open_run("script.py", Config(output=tmp_path))


def resume(folder, **settings):
    run_folder.open_run("script.py", Config(resume=folder, **settings))
    return json.loads((folder / "versions.json").read_text())


def test_run_folders_of_one_second_are_different(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda _: "now")
    runs = [run_folder.open_run("script.py", Config(output=tmp_path)) for _ in range(3)]
    assert [run.folder.name for run in runs] == ["now", "now_2", "now_3"]
    assert runs[0].folder.parent == tmp_path / "script"


def test_versions_are_noted_once_and_neither_others_nor_damaged_ones_stop_a_run(run, monkeypatch):
    (first,) = resume(run.folder)
    backend = keras.backend.backend()
    assert first.keys() == {"backend", "python", "keras", backend, "numpy"}
    assert (first["backend"], first["python"]) == (backend, platform.python_version())
    for damaged in "[", "{}", "5":
        (run.folder / "versions.json").write_text(damaged)
        assert resume(run.folder) == [first]
    monkeypatch.setattr(np, "__version__", "1000")
    assert resume(run.folder) == [first, first | {"numpy": "1000"}]


def test_data_are_the_same_if_their_content_is(tmp_path):
    """So a project that was moved or copied can go on with its runs; its data lie elsewhere."""
    names = data, copied, other = [tmp_path / name for name in ("data", "copied", "other")]
    for path, content in zip(names, ("digits", "digits", "others"), strict=True):
        path.write_text(content)
    run = run_folder.open_run("script.py", Config(output=tmp_path, data=data))
    resume(run.folder, data=copied)
    with pytest.raises(SettingError, match="that run began with data_sha256 "):
        resume(run.folder, data=other)


def test_other_settings_are_refused_by_name(run, tmp_path):
    with pytest.raises(SettingError, match=r"began with seed 0, not 1, units 4, not 5$"):
        resume(run.folder, seed=1, units=5)
    before = json.loads((run.folder / "config.json").read_text())
    del before["units"]  # a setting that was added since
    for content, message in (
        ("{", "there is no run of script.py$"),
        ("[]", "there is no run of script.py$"),
        (json.dumps(before), "no run of script.py as it is now: only one of the two has units$"),
    ):
        (run.folder / "config.json").write_text(content)
        with pytest.raises(SettingError, match=message):
            resume(run.folder)
    with pytest.raises(SettingError, match=r"there is no run of script.py$"):
        resume(tmp_path)


def test_a_part_of_a_run_and_a_finished_one_are_refused(run):
    part = run_folder.open_part(run, "unit", Config())
    with pytest.raises(SettingError, match="it is a part of the run "):
        resume(part.folder)
    for figures in {"training_seconds": 1.0, "stopped": True}, {"training_seconds": 1.0}:
        run_folder.write_json(figures, run.folder / "metrics.json")
        resume(run.folder)
    run_folder.write_json(figures | {"test_loss": 0.1}, run.folder / "metrics.json")
    with pytest.raises(SettingError, match="that run is finished"):
        resume(run.folder)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("checkpoint.keras", b"PK", ""),
        ("metrics.json", b"{}", "'training_seconds'"),
        ("history.csv", b"epoch,loss\r\n0,1.0\r\n", "history.csv has 1 of 2 epochs"),
        ("model.keras", None, "model.keras'"),
    ],
)
def test_damaged_files_of_a_run_are_named(name, content, reason, run):
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.compile("sgd", "mse")
    network.optimizer.build(network.trainable_variables)
    network.optimizer.iterations.assign(2)
    run.epochs = [{"loss": 1.0}, {"loss": 0.5}]
    run.save(network)
    network.save(run.folder / "model.keras")
    again = run_folder.Run(run.folder)
    again.restore(network, steps_per_epoch=1)
    assert again.epochs == run.epochs
    (run.folder / name).unlink()
    if content:
        (run.folder / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"its files are damaged \(.*{reason}"):
        again.restore(network, steps_per_epoch=1)


# -- support/lesson.py: what surrounds main ---------------------------------------------------


def test_a_setting_that_is_missing_is_named_but_not_another_attribute():
    with pytest.raises(SettingError, match="class Config has no setting 'layers': is it misspelt"):
        lesson(lambda config: config.layers)(Config())
    with pytest.raises(AttributeError, match="'int' object has no attribute 'units'"):
        lesson(lambda config: config.seed.units)(Config())


def test_who_handles_ctrl_c_already_goes_on_to(tmp_path):
    def theirs(number, frame):
        pass

    signal.signal(signal.SIGINT, theirs)
    lesson(lambda config: run_folder.open_run("script.py", config))(Config(output=tmp_path))
    assert signal.getsignal(signal.SIGINT) is theirs
