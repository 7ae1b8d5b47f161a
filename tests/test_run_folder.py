"""support/run_folder.py: names of folders, and the versions that made a run."""

import json
import platform
import signal

import keras
import numpy as np
import pytest

from support import run_folder
from support.settings import RunConfig


@pytest.fixture(autouse=True)
def ctrl_c():
    """Take back what `open_run` leaves to the decorator of a lesson."""
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_run_folders_of_one_second_are_different(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda _: "now")
    runs = [run_folder.open_run("script.py", RunConfig(output=tmp_path)) for _ in range(3)]
    assert [run.folder.name for run in runs] == ["now", "now_2", "now_3"]
    assert runs[0].folder.parent == tmp_path / "script"


@pytest.fixture
def folder(tmp_path):
    return run_folder.open_run("script.py", RunConfig(output=tmp_path)).folder


def resume(folder):
    run_folder.open_run("script.py", RunConfig(resume=folder))
    return json.loads((folder / "versions.json").read_text())


def test_a_run_names_its_backend_and_versions_once(folder):
    (noted,) = resume(folder)
    backend = keras.backend.backend()
    assert noted.keys() == {"backend", "python", "keras", backend, "numpy"}
    assert noted["backend"] == backend
    assert noted["python"] == platform.python_version()
    assert noted["numpy"] == np.__version__


def test_another_version_is_noted_beside_the_first_and_refused_by_nobody(folder, monkeypatch):
    (first,) = resume(folder)
    monkeypatch.setattr(np, "__version__", "1000")
    assert resume(folder) == [first, first | {"numpy": "1000"}]


@pytest.mark.parametrize("content", ["", "[", "{}", "5", "null"])
def test_damaged_versions_do_not_stop_a_run(content, folder):
    (first,) = resume(folder)
    (folder / "versions.json").write_text(content)
    assert resume(folder) == [first]
