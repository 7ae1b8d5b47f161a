"""classic.py, run as a user runs it, in a process of its own or in this one."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import common

import keras
import numpy as np
import pytest

from classic import Config, classif_rnn_network, main

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "classic.py"
SMALL = ["--train-size", "512", "--test-size", "256", "--epochs", "1"]
FILES = {
    *("config.json", "history.csv", "metrics.json", "model.keras"),
    *("learning_curves.png", "confusion_matrix.png", "misread.png"),
}


def run_in_process(script, arguments, monkeypatch):
    """Run a script as `python script arguments` does; return its exit code."""
    monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as exit:
        return exit.code
    return 0


@pytest.fixture(scope="module")
def smoke_runs(tmp_path_factory):
    """Two runs of the script with one seed, each in a process of its own."""
    runs = []
    for name in "first", "second":
        output = tmp_path_factory.mktemp(name)
        ran = subprocess.run(
            [sys.executable, SCRIPT, *SMALL, "--seed", "1", "--output", output],
            cwd=output,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        (folder,) = output.glob("classic/*")
        runs.append((ran, folder))
    return runs


def test_it_prints_what_a_student_needs_and_nothing_else(smoke_runs):
    ran, folder = smoke_runs[0]
    assert ran.stderr == ""
    assert "Total params: 81,674" in ran.stdout
    assert re.search(r"accuracy: 0\.\d+ - loss: .* - val_accuracy: 0\.\d+ - val_loss", ran.stdout)
    metrics = json.loads((folder / "metrics.json").read_text())
    right, size = metrics["test_right"], metrics["test_size"]
    assert size == 256
    assert f"test loss {metrics['test_loss']:.4f}\n" in ran.stdout
    assert f"test accuracy {right / size:.2%} ({right} of 256)\n" in ran.stdout
    answers = re.findall(r"^ {4}(\d) {7}(\d) +\d+\.\d\d%$", ran.stdout, re.MULTILINE)
    _, test = common.load_mnist()
    assert [int(truth) for truth, _ in answers] == test.y[:10].tolist()
    assert re.search(r"^trained in \d+\.\d s$", ran.stdout, re.MULTILINE)
    assert ran.stdout.endswith(f"wrote {folder}\n")


def test_it_learns(smoke_runs):
    """A guess is right once in ten; 8 weight updates already do better."""
    assert json.loads((smoke_runs[0][1] / "metrics.json").read_text())["test_accuracy"] > 0.2


def test_it_writes_every_file(smoke_runs):
    _, folder = smoke_runs[0]
    assert {file.name for file in folder.iterdir()} == FILES
    for picture in folder.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
    config = json.loads((folder / "config.json").read_text())
    assert Config(**config) == Config(
        seed=1, train_size=512, test_size=256, epochs=1, output=folder.parent.parent
    )


def test_one_seed_gives_the_same_run_twice(smoke_runs):
    (_, first), (_, second) = smoke_runs
    assert (first / "history.csv").read_bytes() == (second / "history.csv").read_bytes()
    metrics = [json.loads((run / "metrics.json").read_text()) for run in (first, second)]
    for figures in metrics:
        del figures["training_seconds"]
    assert metrics[0] == metrics[1]


def test_the_saved_model_reads_raw_pixels_in_a_new_process(smoke_runs):
    """With Keras alone: nothing of this project is needed to load it."""
    _, folder = smoke_runs[0]
    _, test = common.load_mnist()
    np.savez(folder.parent / "test.npz", x=test.x[:256], y=test.y[:256])
    code = (
        "import keras, numpy as np\n"
        "test = np.load('test.npz')\n"
        f"model = keras.saving.load_model('{folder.name}/model.keras')\n"
        "print(model.evaluate(test['x'], test['y'], verbose=0)[1])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=folder.parent, capture_output=True, text=True, check=True
    )
    metrics = json.loads((folder / "metrics.json").read_text())
    assert float(ran.stdout) == pytest.approx(metrics["test_accuracy"], abs=1e-7)


# -- the network ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "units", "parameters"),
    [("SimpleRNN", 256, 75_530), ("LSTM", 128, 81_674), ("GRU", 128, 61_962)],
)
def test_number_of_parameters(cell, units, parameters):
    assert classif_rnn_network(28, 28, cell, units).count_params() == parameters


def test_depth_directions_and_dropout():
    one = classif_rnn_network(28, 28, "SimpleRNN", 8)
    two = classif_rnn_network(28, 28, "SimpleRNN", 8, depth=2)
    both = classif_rnn_network(28, 28, "SimpleRNN", 8, bidirectional=True)
    assert two.count_params() - one.count_params() == 8 * 8 + 8 * 8 + 8
    assert both.count_params() == 2 * (28 * 8 + 8 * 8 + 8) + 16 * 10 + 10
    network = classif_rnn_network(28, 28, "GRU", 8, depth=3, dropout=0.5)
    rates = [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.5] * 3


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def simple_rnn_step(x, state, W, U, b):
    return (np.tanh(x @ W + state[0] @ U + b),)


def lstm_step(x, state, W, U, b):
    i, f, c, o = np.split(x @ W + state[0] @ U + b, 4, axis=-1)
    memory = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(c)
    return sigmoid(o) * np.tanh(memory), memory


def gru_step(x, state, W, U, b):
    (h,) = state
    z, r, candidate = np.split(x @ W + b[0], 3, axis=-1)
    z_state, r_state, candidate_state = np.split(h @ U + b[1], 3, axis=-1)
    z, r = sigmoid(z + z_state), sigmoid(r + r_state)
    return (z * h + (1 - z) * np.tanh(candidate + r * candidate_state),)


@pytest.mark.parametrize(
    ("cell", "step", "states"),
    [("SimpleRNN", simple_rnn_step, 1), ("LSTM", lstm_step, 2), ("GRU", gru_step, 1)],
)
def test_each_cell_follows_its_formula(cell, step, states):
    """The formulas of the README, written out with NumPy."""
    random = np.random.default_rng(0)
    network = classif_rnn_network(5, 3, cell, 4)
    network.set_weights([random.normal(size=weight.shape) for weight in network.get_weights()])
    W, U, b, V, c = network.get_weights()
    pixels = random.integers(0, 256, (2, 5, 3), dtype=np.uint8)
    state = (np.zeros((2, 4)),) * states
    for t in range(5):
        state = step(pixels[:, t] / 255, state, W, U, b)
    np.testing.assert_allclose(network.predict(pixels, verbose=0), state[0] @ V + c, atol=1e-5)


# -- bad input --------------------------------------------------------------------------------


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
        (["--train-size", "70000"], "--train-size 70,000: there are 55,000 training images"),
        (["--test-size", "10001"], "--test-size 10,001: there are 10,000 test images"),
        (["--output", SCRIPT], "can't be written"),
        (["--output", "/proc/nothing"], "can't be written"),
    ],
)
def test_bad_settings_end_with_one_message_and_exit_code_2(
    arguments, message, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    assert run_in_process(SCRIPT, arguments, monkeypatch) == 2
    printed = capfd.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("units: PositiveInt = 128", "units: PositiveInt = 0", "greater than 0"),
        ("PositiveFloat | None = None", "PositiveFloat | None = float('nan')", "finite number"),
        ("dropout: common.Share = 0.0", "dropout: common.Share = 1", "less than 1"),
        ('= "LSTM"  #', '= "Foo"  #', "'SimpleRNN', 'GRU' or 'LSTM'"),
        ("units: PositiveInt = 128", "unit: PositiveInt = 3", "no setting 'units'"),
    ],
)
def test_bad_settings_written_into_the_file(old, new, message, tmp_path, monkeypatch, capfd):
    source = SCRIPT.read_text()
    assert source.count(old) == 1
    (tmp_path / "classic.py").write_text(source.replace(old, new))
    monkeypatch.chdir(tmp_path)
    assert run_in_process(tmp_path / "classic.py", [], monkeypatch) == 2
    printed = capfd.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert not (tmp_path / "runs").exists()


def test_bad_data_ends_with_one_line_and_exit_code_1(tmp_path, monkeypatch, capfd):
    (tmp_path / "empty.pkl").touch()
    for name in "empty.pkl", "missing.pkl":
        assert run_in_process(SCRIPT, ["--data", tmp_path / name], monkeypatch) == 1
        printed = capfd.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert name in printed.err


def test_bad_input_in_a_process_of_its_own(tmp_path):
    for arguments, code in ((["--units", "0"], 2), (["--data", "missing.pkl"], 1)):
        ran = subprocess.run(
            [sys.executable, SCRIPT, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == code
        assert ran.stdout == ""
        assert "Traceback" not in ran.stderr
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path, monkeypatch, capfd):
    arguments = [*SMALL, "--learning-rate", "1e38", "--output", tmp_path]
    assert run_in_process(SCRIPT, arguments, monkeypatch) == 1
    message = capfd.readouterr().err
    assert re.fullmatch(
        r"the loss became .* in epoch 1, batch \d: lower --learning-rate\n", message
    )


def test_main_returns_the_metrics(tmp_path):
    metrics = main(Config(train_size=64, test_size=10, epochs=1, units=4, output=tmp_path))
    assert metrics["test_size"] == 10
    assert 0 <= metrics["test_right"] <= 10
