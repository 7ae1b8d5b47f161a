"""common.py: the quiet start, loading pickles, helpers of the models."""

import contextlib
import gc
import importlib
import os
import pickle
import signal
import struct

import common
from common import DataError

import keras
import numpy as np
import pytest
from lessons import SMALL, small
from script_runs import ROOT, run
from small_data import PICKLES, write

from classic import classif_rnn_network
from support import digits


@common.hold_back_output()
def write_noise(name):
    os.write(2, b"noise\n")
    importlib.import_module(name)


def test_held_back_lines_are_shown_only_after_an_error(capfd):
    write_noise("os")
    assert capfd.readouterr().err == ""
    with pytest.raises(ModuleNotFoundError):
        write_noise("no_such_module")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "noise\nafter\n"


@pytest.mark.skipif(os.name == "nt", reason="it is about a Unix system")
def test_where_a_library_aborts_the_process_the_screen_says_where():
    code = "import common, os\nwith common.hold_back_output():\n    os.abort()"
    ran = run(ROOT, "-c", code)
    assert ran.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in ran.stderr
    assert 'File "<string>", line 3' in ran.stderr


@pytest.mark.parametrize("content", [b"N.", b"N"])
def test_after_a_file_is_loaded_or_refused_garbage_is_collected_as_before(content, tmp_path):
    assert gc.isenabled()
    with contextlib.suppress(DataError):
        digits.load_mnist(write(tmp_path / "d.pkl", content))
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("variable", "keras_json", "installed", "chosen"),
    [
        ("jax", '{"backend": "tensorflow"}', "tensorflow jax", "jax"),  # the user's word counts
        ("", '{"backend": "jax"}', "tensorflow jax", "jax"),
        ("", '{"backend": "tensorflow"}', "jax", "jax"),  # as Keras writes it unasked
        ("", '{"backend": "jax"}', "tensorflow", "tensorflow"),
        ("", '{"backend": "torch"}', "tensorflow jax torch", "torch"),
        ("", '{"backend": "numpy"}', "tensorflow numpy", "tensorflow"),  # it cannot train
        ("", "", "tensorflow jax", "tensorflow"),  # there is no such file
        *(("", damaged, "jax", "jax") for damaged in ("{", "[]", "{}", '{"backend": null}')),
        *((variable, "", "torch numpy", None) for variable in ("", "jax", "numpy")),
    ],
)
def test_the_backend_is_one_that_is_installed_or_one_line_says_which_is_missing(
    variable, keras_json, installed, chosen, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(common, "find_spec", lambda name: name in installed.split())
    monkeypatch.setenv("KERAS_BACKEND", variable)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    if keras_json:
        (tmp_path / "keras.json").write_text(keras_json)
    with contextlib.nullcontext() if chosen else pytest.raises(SystemExit, match="2"):
        common.choose_backend()
    assert os.environ["KERAS_BACKEND"] == (chosen or variable)
    wanted = variable or "tensorflow or jax"
    missing = f"{wanted} is not installed, or cannot train: see README.md\n"
    assert capsys.readouterr().err == ("" if chosen else missing)


def test_one_cycle_climbs_and_falls():
    schedule = common.one_cycle(0.01, steps=200, warmup=0.3)
    rates = np.array([float(schedule(step)) for step in range(201)])
    assert rates[0] == pytest.approx(0.01 / 25)
    assert rates.max() == pytest.approx(0.01)
    assert rates[130] == pytest.approx(0.005)  # the middle of the cosine
    assert rates[200] == pytest.approx(0, abs=1e-9)
    assert (np.diff(rates[:61]) > 0).all()
    assert (np.diff(rates[60:]) < 0).all()


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 0.9), (2, 0.3), (10, 0.0)])
def test_one_cycle_of_few_steps_is_finite(steps, warmup):
    schedule = common.one_cycle(0.01, steps=steps, warmup=warmup)
    rates = [float(schedule(step)) for step in range(steps)]
    assert np.isfinite(rates).all()
    assert max(rates) > 0


@pytest.mark.parametrize("cell", ["SimpleRNN", "GRU", "LSTM"])
def test_which_updates_are_orthogonal(cell):
    """An orthogonal update has equal singular values, Adam's first one has equal entries."""
    config = small("classic", cell=cell, units=6, depth=2, schedule="constant", update_bias=0.0)
    network = classif_rnn_network(5, 7, config)
    before, variables = network.get_weights(), network.trainable_variables
    random = np.random.default_rng(0)
    gradients = [random.normal(size=weights.shape).astype(np.float32) for weights in before]
    gradients = [*map(keras.ops.convert_to_tensor, gradients)]
    common.optimizer(config, updates=1).apply(gradients, variables)
    for variable, old, new in zip(variables, before, network.get_weights(), strict=True):
        update = new - old
        if "logits" in variable.path or update.ndim == 1:
            np.testing.assert_allclose(np.abs(update), 0.01, rtol=0.02)
        else:
            values = np.linalg.svd(update, compute_uv=False)
            assert 0 < values.max() < 2 * values.min()
            assert not np.allclose(np.abs(update), 0.01, rtol=0.02)


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adam", "AdamW", "Muon"])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_optimizers_are_those_of_keras(name, clip_norm):
    constant = {"schedule": "constant", "learning_rate": 0.25, "clip_norm": clip_norm}
    optimizer = common.optimizer(small("classic", optimizer=name, **constant), updates=9)
    assert type(optimizer) is getattr(keras.optimizers, name)
    assert float(optimizer.learning_rate) == 0.25
    assert optimizer.global_clipnorm == clip_norm
    assert getattr(optimizer, "momentum", 0.0) in (0.0, 0.95)  # Muon's own
    assert bool(optimizer.weight_decay) == (name == "AdamW")


@pytest.mark.parametrize(
    ("settings", "rate"),
    [
        ({}, 0.008),
        ({"cell": "LSTM"}, 0.008),
        ({"cell": "SimpleRNN"}, 0.006),
        ({"optimizer": "SGD"}, 1.0),
        ({"optimizer": "SGD", "cell": "SimpleRNN", "schedule": "constant", "patience": 2}, 0.075),
        ({"schedule": "constant", "learning_rate": 0.5}, 0.5),
    ],
)
def test_the_learning_rate_is_named_or_that_of_the_table(settings, rate):
    config = small("classic", **{"learning_rate": None} | settings)
    rates = {"Muon": (0.008, 0.006), "SGD": (1.0, 0.3)}
    chosen = common.with_learning_rate(config, rates)
    assert chosen == config.model_copy(update={"learning_rate": rate})


@pytest.mark.parametrize("lesson", SMALL)
def test_every_lesson_knows_a_rate_for_every_optimizer(lesson):
    module = importlib.import_module(lesson)
    names = module.Config.model_fields["optimizer"].annotation.__args__
    assert tuple(module.LEARNING_RATES) == names
    assert all(rate > 0 for rates in module.LEARNING_RATES.values() for rate in rates)


HUGE = pickle.dumps((10**6, 10**6, 10**6), 2)[2:-1]
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
UINT8 = (
    b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cos\nsystem\n(Vtrue\ntR.", "asks for os.system, which is not data"),
        (b"\x8c\x02os\x8c\x06system\x93.", "asks for os.system, which is not data"),
        (b"cnumpy\ndtype.__init__.__globals__\n.", "asks for numpy.dtype.__init__.__globals__"),
        (b"\x82\xf0Vtrue\n\x85R.", "its instruction b'.x82' is not one of plain data"),
        *((code + b"9" * 50 + b"\n.", "a line of 40 bytes") for code in (b"I", b"F", b"g", b"Np")),
        (b"Vabc\\u0394\n.", "text that is not latin1"),
        (pickle.dumps("\u0394", 2), "text that is not latin1"),
        (b"cnumpy\nndarray\n0" * 1001 + b"N.", "asks for numpy.ndarray"),
        (b"c_codecs\nencode\n(Vabc\nVutf-8\ntR.", "it encodes 3 characters"),
        (b"\x96" + struct.pack("<Q", 2**62) + b"abc.", "is damaged"),
        (b"cnumpy\nndarray\n" + HUGE + b"\x85R.", "is damaged"),
        (b"((" + ARRAY + b"(K\x01" + HUGE + UINT8 + b"\x89U\x04abcdtb]t(]]tt.", "type uint8"),
        (ARRAY.replace(b"K\x00\x85", HUGE) + b".", "expected .* found array"),
        (b"cnumpy\ndtype\nK\x01a.", "is damaged"),
        (b"](K\x07" + b"e]q\x00(h\x00h\x00h\x00" * 60 + b"e.", "found a list of 3"),
        (b"]q\x00(h\x00h\x00e\x86q\x01h\x01\x86.", "is damaged"),
    ],
)
def test_what_would_run_or_fill_the_memory_is_refused(tmp_path, content, message):
    """Many more such files: tests/test_fuzz.py."""
    with pytest.raises(DataError, match=message):
        digits.load_mnist(write(tmp_path / "d.pkl", b"\x80\x02" + content))


def test_every_flipped_bit_of_an_archive_is_found(tmp_path):
    content = (PICKLES / "numpy1_images_protocol4.pkl.gz").read_bytes()
    # The header of gzip holds a time, flags and the system, which its checksum does not cover.
    for position in range(10, len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        with pytest.raises(DataError):
            digits.load_mnist(write(tmp_path / "d.pkl.gz", bytes(flipped)))
