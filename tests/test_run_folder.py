"""support/run_folder.py: names of folders."""

from support import run_folder


def test_run_folders_of_one_second_are_different(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda _: "now")
    runs = [
        run_folder.open_run("script.py", settings={"seed": 0}, output=tmp_path, resume=None)
        for _ in range(3)
    ]
    assert [run.folder.name for run in runs] == ["now", "now_2", "now_3"]
    assert runs[0].folder.parent == tmp_path / "script"
