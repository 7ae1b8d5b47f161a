"""What all scripts keep, each run as a user runs it, in a process of its own or in this one."""

import json
import re
import runpy
import subprocess
import sys
import time
from pathlib import Path

import common

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
SMALL = ["--train-size", "512", "--test-size", "256", "--epochs", "1"]
COMMON_FILES = {
    *("config.json", "history.csv", "metrics.json", "model.keras"),
    *("learning_curves.png", "misread.png"),
}
FILES = {
    "classic": COMMON_FILES | {"confusion_matrix.png"},
    "seq_labelling": COMMON_FILES | {"alignment.png"},
    "variable_length_seq": COMMON_FILES | {"alignment.png"},
}
SCRIPTS = list(FILES)


def run_in_process(script, arguments, monkeypatch):
    """Run a script as `python script arguments` does; return its exit code."""
    monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as exit:
        return exit.code
    return 0


def run(script, arguments, folder):
    """Run a script in a process of its own, from another folder than its own."""
    command = [sys.executable, ROOT / f"{script}.py", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", params=SCRIPTS)
def smoke_runs(request, tmp_path_factory):
    """Two runs of a script with one seed: its name, and what each printed and where it wrote."""
    runs = []
    for _ in range(2):
        output = tmp_path_factory.mktemp(request.param)
        start = time.perf_counter()
        ran = run(request.param, [*SMALL, "--seed", "1", "--output", output], output)
        ran.seconds = time.perf_counter() - start
        assert ran.returncode == 0, ran.stderr
        (folder,) = output.glob(f"{request.param}/*")
        runs.append((ran, folder))
    return request.param, runs


def test_it_prints_what_a_student_needs_and_nothing_else(smoke_runs):
    _, ((ran, folder), _) = smoke_runs
    assert ran.stderr == ""
    assert re.search(r"Total params: [\d,]+ ", ran.stdout)
    assert re.search(r"loss: \d.* - val_\w+: \d", ran.stdout)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert f"test loss {metrics['test_loss']:.4f}\n" in ran.stdout
    assert re.search(r"\(\d+ of 256\)\n", ran.stdout)
    table = ran.stdout.split("probability\n")[1].splitlines()[:10]
    assert all(re.search(r" \d+\.\d\d%$", line) for line in table)
    seconds = metrics["training_seconds"]
    assert ran.stdout.endswith(f"\ntrained in {seconds} s\nwrote {folder}\n")


def test_a_quick_look_at_the_main_job_takes_less_than_20_seconds(smoke_runs):
    script, runs = smoke_runs
    if script == "classic":
        assert min(ran.seconds for ran, _ in runs) < 20


def test_it_writes_every_file(smoke_runs):
    script, ((_, folder), _) = smoke_runs
    assert {file.name for file in folder.iterdir()} == FILES[script]
    for picture in folder.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
    config = json.loads((folder / "config.json").read_text())
    defaults = runpy.run_path(str(ROOT / f"{script}.py"), run_name="parsed")["Config"]()
    changed = {
        name for name, value in config.items() if value != defaults.model_dump(mode="json")[name]
    }
    assert changed == {"seed", "train_size", "test_size", "epochs", "output"}


def test_one_seed_gives_the_same_run_twice(smoke_runs):
    _, ((first_ran, first), (second_ran, second)) = smoke_runs
    assert (first / "history.csv").read_bytes() == (second / "history.csv").read_bytes()
    metrics = [json.loads((run / "metrics.json").read_text()) for run in (first, second)]
    for figures in metrics:
        del figures["training_seconds"]
    assert metrics[0] == metrics[1]
    printed = [
        re.sub(r"\d+s - \d+m?s/step|in [\d.]+ s|wrote .*", "", ran.stdout)
        for ran in (first_ran, second_ran)
    ]
    assert printed[0] == printed[1]


def load_test(script, config):
    """The test set as the network takes it."""
    if script == "classic":
        return common.load_digits(config)[2]
    equal = script == "seq_labelling"
    lengths = (config.digits, config.digits) if equal else (config.shortest, config.longest)
    _, _, test = common.load_strips(config, *lengths, 0, 0, 4)
    return (
        common.stack_equal(test, "test") if equal else common.Examples(common.pad(test.x), test.y)
    )


def test_the_saved_model_reads_raw_pixels_in_a_new_process(smoke_runs):
    """With Keras alone: nothing of this project is needed to load it."""
    script, ((_, folder), _) = smoke_runs
    Config = runpy.run_path(str(ROOT / f"{script}.py"), run_name="parsed")["Config"]
    config = Config(**json.loads((folder / "config.json").read_text()))
    test = load_test(script, config)
    np.savez(folder.parent / "test.npz", x=test.x, y=test.y)
    code = (
        "import keras, numpy as np\n"
        "test = np.load('test.npz')\n"
        f"model = keras.saving.load_model('{folder.name}/model.keras')\n"
        "print(*np.ravel(model.evaluate(test['x'], test['y'], batch_size=500, verbose=0)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=folder.parent, capture_output=True, text=True, check=True
    )
    loss, *accuracy = map(float, ran.stdout.split())
    metrics = json.loads((folder / "metrics.json").read_text())
    assert loss == pytest.approx(metrics["test_loss"], rel=1e-5)
    if accuracy:
        assert accuracy == pytest.approx([metrics["test_accuracy"]], abs=1e-7)


# -- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--units", "0"], "greater than 0"),
        (["--units", "many"], "--units"),
        (["--learning-rate", "nan"], "finite number"),
        (["--learning-rate", "-1"], "greater than 0"),
        (["--dropout", "1"], "less than 1"),
        (["--cell", "Foo"], "invalid choice 'Foo'"),
        (["--unit", "3"], "--units INT"),
        (["--seed", "-1"], "greater than or equal to 0"),
        (["--train-size", "70000"], "--train-size 70,000: there are "),
        (["--test-size", "10001"], "--test-size 10,001: there are "),
        (["--output", ROOT / "README.md"], "can't be written"),
        (["--output", "/proc/nothing"], "can't be written"),
    ],
)
def test_bad_settings_end_with_one_message_and_exit_code_2(
    script, arguments, message, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    assert run_in_process(ROOT / f"{script}.py", arguments, monkeypatch) == 2
    printed = capfd.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (r"units: PositiveInt = \d+", "units: PositiveInt = 0", "greater than 0"),
        (r"(learning_rate: .*) = \S+", r"\1 = float('nan')", "finite number"),
        (r"dropout: common.Share = \S+", "dropout: common.Share = 1", "less than 1"),
        (r'(cell: Literal.*) = "\w+"', r'\1 = "Foo"', "'SimpleRNN', 'GRU' or 'LSTM'"),
        (r"units: PositiveInt = \d+", "unit: PositiveInt = 3", "no setting 'units'"),
    ],
)
def test_bad_settings_written_into_the_file(
    script, old, new, message, tmp_path, monkeypatch, capfd
):
    source, count = re.subn(old, new, (ROOT / f"{script}.py").read_text())
    assert count == 1
    (tmp_path / "edited.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    assert run_in_process(tmp_path / "edited.py", [], monkeypatch) == 2
    printed = capfd.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("script", SCRIPTS)
def test_bad_data_ends_with_one_line_and_exit_code_1(script, tmp_path, monkeypatch, capfd):
    (tmp_path / "empty.pkl").touch()
    for name in "empty.pkl", "missing.pkl":
        arguments = ["--data", tmp_path / name]
        assert run_in_process(ROOT / f"{script}.py", arguments, monkeypatch) == 1
        printed = capfd.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert name in printed.err


def test_bad_input_in_a_process_of_its_own(tmp_path):
    for arguments, code in ((["--units", "0"], 2), (["--data", "missing.pkl"], 1)):
        ran = run("classic", arguments, tmp_path)
        assert ran.returncode == code
        assert ran.stdout == ""
        assert "Traceback" not in ran.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_loss_that_is_not_finite_stops_the_training(script, tmp_path, monkeypatch, capfd):
    arguments = [*SMALL, "--learning-rate", "1e38", "--output", tmp_path]
    assert run_in_process(ROOT / f"{script}.py", arguments, monkeypatch) == 1
    message = r"the loss became (nan|inf) in epoch 1, batch \d: lower --learning-rate\n"
    assert re.fullmatch(message, capfd.readouterr().err)
