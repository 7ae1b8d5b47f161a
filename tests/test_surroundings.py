"""What surrounds a script does not break it: TensorFlow that is broken, notebooks."""

import sys
from importlib.util import find_spec

import common

import pytest
from lessons import options
from script_runs import ROOT, run

pytestmark = pytest.mark.slow


def test_a_way_to_show_pictures_that_is_the_users_stays():
    code = "import common, matplotlib; print(matplotlib.get_backend())"
    assert run(ROOT, "-c", code, MPLBACKEND="svg").stdout == "svg\n"


BROKEN = {
    "broken": ("raise ImportError('DLL load failed\\nat length')", "DLL load failed"),
    "half": ("", "module 'tensorflow' has no attribute 'get_logger'"),
    "part": ("import tensorflow.python", "No module named 'tensorflow.python'"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_tensorflow_is_one_line(kind, tmp_path):
    content, reason = BROKEN[kind]
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text(content)
    broken = {"PYTHONPATH": str(tmp_path), "KERAS_HOME": str(tmp_path), "KERAS_BACKEND": ""}
    line = f"tensorflow cannot be imported ({reason})"
    ran = run(tmp_path, ROOT / "classic.py", "--help", **broken | {"KERAS_BACKEND": "tensorflow"})
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", f"{line}, see README.md\n")
    ran = run(tmp_path, ROOT / "classic.py", "--help", **broken)
    if find_spec("jax"):  # that it trains so: test_scripts_called.py
        assert (ran.returncode, ran.stderr) == (0, f"{line}: the backend is jax\n")
    else:
        assert (ran.returncode, ran.stderr) == (2, f"{line}, see README.md\n")


def test_a_program_without_a_console(tmp_path, monkeypatch):
    """As an editor on Windows starts one: stdout is None, or descriptors 1 and 2 are closed."""
    done = tmp_path / "done"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        with common.hold_back_output():
            pass
    run(ROOT, "-c", f"import os; os.close(1); os.close(2); import common; open({str(done)!r}, 'w')")
    assert done.exists()


@pytest.fixture
def cell(tmp_path):
    """A function that runs a cell in a real kernel: what it printed, and how many pictures."""
    manager = pytest.importorskip("jupyter_client.manager", reason="no ipykernel is installed")
    pytest.importorskip("ipykernel", reason="no ipykernel is installed")
    kernel, client = manager.start_new_kernel(cwd=str(ROOT))

    def cell(code):
        printed, pictures = [], []

        def remember(message):
            content = message["content"]
            printed.append(content.get("text", "") + "".join(content.get("traceback", "")))
            pictures.extend(kind for kind in content.get("data", {}) if kind == "image/png")

        client.execute_interactive(code, timeout=120, output_hook=remember)
        return "".join(printed), len(pictures)

    yield cell
    client.stop_channels()
    kernel.shutdown_kernel(now=True)


@pytest.mark.filterwarnings("ignore")  # of other people's event loops
def test_in_a_notebook_all_three_ways_work_one_after_the_other(cell, tmp_path):
    settings = {"train_size": 64, "test_size": 20, "output": str(tmp_path / "runs")}
    arguments = " ".join(options("classic", **settings))
    settings["epochs"] = 1
    for code, shown in (
        (f"%run classic.py {arguments}", 4),
        (f"%run classic.py {arguments}", 4),
        (f"!{sys.executable} classic.py {arguments}", 0),
        (f"import classic; figures = classic.main(classic.Config(**{settings}))", 4),
    ):
        printed, pictures = cell(code)
        assert "\nwrote " in printed, printed
        assert "Traceback" not in printed
        assert "WARNING" not in printed
        assert pictures == shown
    assert len(list(tmp_path.glob("runs/classic/*"))) == 4
    printed, _ = cell("%run classic.py --data nothing.pkl")
    assert "nothing.pkl does not exist: check --data" in printed
