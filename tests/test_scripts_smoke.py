"""Each script run as a user runs it, in a process of its own: what it prints and writes."""

import json
import re

import keras
import numpy as np
import pytest
from lessons import options, small
from script_runs import ROOT, TENSORFLOW, run

import variable_length_seq
from support import digits

pytestmark = pytest.mark.slow
SIZES = {"train_size": 256, "test_size": 100, "seed": 1, "units": 32, "batch_size": 64}
# With JAX it takes long to compile a wide search, many layers, and the figures of each length.
READING = SIZES | {"bidirectional": True, "columns": 4, "beam_width": 2}
SETTINGS = {
    "classic": SIZES,
    "seq_labelling": READING,
    "variable_length_seq": READING | {"longest": 3},
    "standardize": SIZES | {"scaling": "all"},
}
# What others left: a project with half precision and another format, a notebook, one with Keras 2.
LEFT = {"floatx": "float16", "image_data_format": "channels_first", "epsilon": 1e-7}
LEFT["backend"] = keras.backend.backend()
VARIABLES = {"MPLBACKEND": "module://a_notebook_of_others", "TF_USE_LEGACY_KERAS": "1"}
COMMON_FILES = {
    *("config.json", "history.csv", "metrics.json", "model.keras", "checkpoint.keras"),
    *("learning_curves.png", "misread.png", "answers.csv"),
}
FILES = {
    "classic": COMMON_FILES | {"versions.json", "confusion_matrix.png", "reading.png"},
    "seq_labelling": COMMON_FILES | {"versions.json", "alignment.png"},
    "variable_length_seq": COMMON_FILES | {"versions.json", "alignment.png", "padding.png"},
    "standardize": COMMON_FILES | {"confusion_matrix.png"},
}
if TENSORFLOW:
    FILES["standardize"] |= {"train", "validation", "batches"}  # for TensorBoard
SCRIPTS = list(FILES)


def smoke_run(script, output):
    """A small run of a script: what it printed and where it wrote; of standardize.py one network's.

    That is the second of its three networks.
    """
    arguments = options(script, **SETTINGS[script], output=output)
    (output / "keras.json").write_text(json.dumps(LEFT))
    ran = run(output, ROOT / f"{script}.py", *arguments, KERAS_HOME=str(output), **VARIABLES)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    (folder,) = output.glob(f"{script}/*")
    if script == "standardize":
        end = f'to see the training: tensorboard --logdir "{folder.as_posix()}"\n'
        if not TENSORFLOW:
            end = "nothing was written for TensorBoard: its logs need TensorFlow and TensorBoard\n"
        assert ran.stdout.endswith(f"\n{end}")
        assert (folder / "versions.json").exists()
        assert len(re.findall(r"^ *(?:raw|unit|standardized) .*%", ran.stdout, re.M)) == 3
        folder /= "unit"
        _, training, _, _, test, _ = re.split(r"t(?:raining|est) on \w+ pixels\n", ran.stdout)[1:]
        ran.stdout = training + test.removesuffix("\n")
    return ran, folder


@pytest.fixture(scope="module", params=SCRIPTS)
def smoke(request, tmp_path_factory):
    output = tmp_path_factory.mktemp(f"Läufe von {request.param}")  # as a user may call it
    return request.param, *smoke_run(request.param, output)


@pytest.mark.smoke
def test_it_prints_what_a_student_needs_and_nothing_else(smoke):
    _, ran, folder = smoke
    assert re.search(r"Total params: [\d,]+ ", ran.stdout)
    assert re.search(r"loss: \d.* - val_\w+: \d", ran.stdout)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert f"test loss {metrics['test_loss']:.4f}\n" in ran.stdout
    assert re.search(r"\(\d+ of 100\), 95% interval| \d+ of 100\n", ran.stdout)
    table = ran.stdout.split("probability\n")[1].splitlines()[:10]
    assert all(re.search(r" \d+\.\d\d%$", line) for line in table)
    seconds = metrics["training_seconds"]
    assert ran.stdout.endswith(f"\ntrained in {seconds} s\nwrote {folder}\n")


@pytest.mark.smoke
def test_it_writes_every_file(smoke):
    script, _, folder = smoke
    names = {file.name for file in folder.iterdir()}
    assert {name for name in names if not name.startswith("events.")} == FILES[script]
    for picture in folder.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
    config = json.loads((folder / "config.json").read_text())
    part = {"scaling": "unit"} if script == "standardize" else {}
    given = small(script, **SETTINGS[script] | part, output=config["output"])
    assert config == given.of_the_run()
    network = keras.saving.load_model(folder / "model.keras")
    assert {weight.dtype for weight in network.weights} == {"float32"}


LOAD = """
import sys, keras, numpy as np
test = np.load("test.npz")
model = keras.saving.load_model(sys.argv[1])
sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(loss=sparse if test["y"].ndim == 1 else keras.losses.CTC())
print(model.evaluate(test["x"], test["y"], batch_size=500, verbose=0))
"""


@pytest.mark.parametrize("smoke", ["classic", "variable_length_seq"], indirect=True)
def test_the_saved_model_reads_raw_pixels_in_a_new_process(smoke, tmp_path):
    """With Keras alone: nothing of this project is needed to load it."""
    script, _, folder = smoke
    config = small(script, **SETTINGS[script])
    if script == "classic":
        *_, test = digits.load_digits(config.data, test_size=config.test_size)
    else:
        *_, test = variable_length_seq.load_data(config)
    np.savez(tmp_path / "test.npz", x=test.x, y=test.y)
    ran = run(tmp_path, "-c", LOAD, folder / "model.keras")
    assert ran.returncode == 0, ran.stderr
    expected = json.loads((folder / "metrics.json").read_text())["test_loss"]
    assert float(ran.stdout) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("script", SCRIPTS)
def test_it_runs_with_torch(script, tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="no torch is installed: see docs/machines.md")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    smoke_run(script, tmp_path)
