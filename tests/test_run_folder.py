"""support/run_folder.py: names of folders."""

from support import run_folder


def test_run_folders_of_one_second_are_different(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda _: "now")
    folders = [
        run_folder.open_run("script.py", settings={"seed": 0}, output=tmp_path, resume=None)
        for _ in range(3)
    ]
    assert [folder.name for folder in folders] == ["now", "now_2", "now_3"]
    assert folders[0].parent == tmp_path / "script"
