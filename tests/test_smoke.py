"""Each script run as a user runs it, in a process of its own: what it prints and writes."""

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
    *("config.json", "history.csv", "metrics.json", "model.keras", "checkpoint.keras"),
    *("learning_curves.png", "misread.png"),
}
FILES = {
    "classic": COMMON_FILES | {"confusion_matrix.png"},
    "seq_labelling": COMMON_FILES | {"alignment.png"},
    "variable_length_seq": COMMON_FILES | {"alignment.png"},
    "standardize": COMMON_FILES | {"confusion_matrix.png", "train", "validation", "batches"},
}
SCRIPTS = list(FILES)


def run(script, arguments, folder):
    """Run a script in a process of its own, from another folder than its own."""
    command = [sys.executable, ROOT / f"{script}.py", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", params=SCRIPTS)
def smoke_runs(request, tmp_path_factory):
    """Two runs of a script with one seed: its name, and what each printed and where it wrote.

    Of standardize.py that is the second of its three networks, and the same network alone.
    """
    script, runs = request.param, []
    for alone in False, True:
        output = tmp_path_factory.mktemp(script)
        arguments = [*SMALL, "--seed", "1", "--output", output]
        if script == "standardize" and alone:
            arguments += ["--scaling", "unit"]
        start = time.perf_counter()
        ran = run(script, arguments, output)
        ran.seconds = time.perf_counter() - start
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr == ""
        (folder,) = output.glob(f"{script}/*")
        if script == "standardize":
            assert ran.stdout.endswith(f"type: tensorboard --logdir {folder}\n")
            assert len(re.findall(r"^(?:raw|unit|standardized) .*%", ran.stdout, re.M)) in (1, 3)
            folder /= "unit"
            ran.stdout = ran.stdout.split("unit pixels\n")[1].split(f"wrote {folder}\n")[0]
            ran.stdout += f"wrote {folder}\n"
        runs.append((ran, folder))
    return script, runs


def test_it_prints_what_a_student_needs_and_nothing_else(smoke_runs):
    _, ((ran, folder), _) = smoke_runs
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
    names = {file.name for file in folder.iterdir()}
    assert {name for name in names if not name.startswith("events.")} == FILES[script]
    for picture in folder.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
    config = json.loads((folder / "config.json").read_text())
    defaults = runpy.run_path(str(ROOT / f"{script}.py"), run_name="parsed")["Config"]()
    changed = {
        name for name, value in config.items() if value != defaults.model_dump(mode="json")[name]
    }
    expected = {"seed", "train_size", "test_size", "epochs", "output"}
    assert changed == expected | ({"scaling"} if script == "standardize" else set())


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
    if script in ("classic", "standardize"):
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
