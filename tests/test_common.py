"""common.py: the quiet start, loading pickles, helpers of the models."""

import copyreg
import gc
import gzip
import importlib
import io
import json
import lzma
import os
import pickle
import signal
import struct
import subprocess
import sys
from pathlib import Path

import common
from common import DataError, SettingError

import keras
import numpy as np
import pytest
from lessons import SMALL, small
from small_data import PICKLES, TEST, TRAIN, assert_same, write

from classic import classif_rnn_network
from support import digits

ROOT = Path(__file__).parent.parent


def import_noisily(error=None):
    with common.hold_back_output():
        os.write(2, b"noise\n")
        if error:
            raise error


def test_held_back_lines_are_shown_only_after_an_error(capfd):
    import_noisily()
    assert capfd.readouterr().err == ""
    with pytest.raises(ImportError):
        import_noisily(ImportError())
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "noise\nafter\n"


on_unix = pytest.mark.skipif(os.name == "nt", reason="it is about a Unix system")


@on_unix
def test_where_a_library_aborts_the_process_the_screen_says_where():
    code = "import common, os\nwith common.hold_back_output():\n    os.abort()"
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in ran.stderr
    assert 'File "<string>", line 3' in ran.stderr


def test_after_loading_garbage_is_collected_again(tmp_path):
    digits.load_mnist(write(tmp_path / "d.pkl", (TRAIN, TEST)))
    assert gc.isenabled()
    with pytest.raises(DataError):
        digits.load_mnist(write(tmp_path / "bad.pkl", b"N"))
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("variable", "named", "installed", "chosen"),
    [
        ("jax", "tensorflow", "tensorflow jax", "jax"),  # the user's word counts
        ("", "jax", "tensorflow jax", "jax"),
        ("", "tensorflow", "jax", "jax"),  # as Keras writes it unasked
        ("", "jax", "tensorflow", "tensorflow"),
        ("", "torch", "tensorflow jax torch", "torch"),
        ("", None, "tensorflow jax", "tensorflow"),
        ("", None, "jax", "jax"),
        ("", ["jax"], "tensorflow jax", "tensorflow"),  # damaged
        ("", "numpy", "tensorflow numpy", "tensorflow"),
        ("", "", "jax", "jax"),
    ],
)
def test_the_backend_is_one_that_is_installed(
    variable, named, installed, chosen, tmp_path, monkeypatch
):
    only(installed, variable, tmp_path, monkeypatch)
    if named is not None:
        (tmp_path / "keras.json").write_text(json.dumps({"backend": named}))
    common.choose_backend()
    assert os.environ["KERAS_BACKEND"] == chosen


def only(installed, variable, folder, monkeypatch):
    """Pretend that of all backends only some are installed, and that Keras's folder is another."""
    monkeypatch.setattr(common, "find_spec", lambda name: name.lower() in installed.split())
    monkeypatch.setenv("KERAS_BACKEND", variable)
    monkeypatch.setenv("KERAS_HOME", str(folder))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '"backend"', '{"backend": null}'])
def test_a_damaged_choice_of_keras_is_none(content, tmp_path, monkeypatch):
    only("jax", "", tmp_path, monkeypatch)
    (tmp_path / "keras.json").write_text(content)
    common.choose_backend()
    assert os.environ["KERAS_BACKEND"] == "jax"


@pytest.mark.parametrize(
    ("variable", "named"),
    [
        ("", "tensorflow or jax"),
        ("jax", "jax"),
        ("numpy", "numpy"),  # Keras has it, but it cannot train
        ("os", "os"),
        ("a.b", "a.b"),
    ],
)
def test_a_backend_that_is_missing_is_one_line(variable, named, tmp_path, monkeypatch, capsys):
    only("torch numpy os", variable, tmp_path, monkeypatch)
    with pytest.raises(SystemExit, match="2"):
        common.choose_backend()
    message = f"{named} is not installed, or cannot train: see README.md\n"
    assert capsys.readouterr().err == message


def test_one_cycle_climbs_and_falls():
    schedule = common.one_cycle(0.01, steps=200, warmup=0.3)
    rates = np.array([float(schedule(step)) for step in range(201)])
    assert rates[0] == pytest.approx(0.01 / 25)
    assert rates.argmax() == 60
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
    random = np.random.default_rng(0)
    before = network.get_weights()
    gradients = [
        keras.ops.convert_to_tensor(random.normal(size=weights.shape), "float32")
        for weights in before
    ]
    variables = network.trainable_variables
    common.optimizer(config, updates=1).apply(gradients, variables)
    after = network.get_weights()
    for variable, old, new in zip(variables, before, after, strict=True):
        update = new - old
        if "logits" in variable.path or update.ndim == 1:
            np.testing.assert_allclose(np.abs(update), 0.01, rtol=0.02)
        else:
            values = np.linalg.svd(update, compute_uv=False)
            assert 0 < values.max() < 2 * values.min()
    matrices = [variable.path for variable in variables if len(variable.shape) == 2]
    assert sum("bias" in path for path in matrices) == (2 if cell == "GRU" else 0)


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


RATES = {"Muon": (0.008, 0.006), "SGD": (1.0, 0.3)}


@pytest.mark.parametrize(
    ("settings", "rate"),
    [
        ({}, 0.008),
        ({"cell": "LSTM"}, 0.008),
        ({"cell": "SimpleRNN"}, 0.006),
        ({"optimizer": "SGD"}, 1.0),
        ({"optimizer": "SGD", "cell": "SimpleRNN", "schedule": "constant"}, 0.075),
        ({"schedule": "constant", "learning_rate": 0.5}, 0.5),
        ({"learning_rate": 0.5}, 0.5),
    ],
)
def test_the_learning_rate_is_named_or_that_of_the_table(settings, rate):
    config = small("classic", **{"learning_rate": None} | settings)
    chosen = common.with_learning_rate(config, RATES)
    assert chosen.learning_rate == rate
    assert chosen == config.model_copy(update={"learning_rate": rate})


@pytest.mark.parametrize("lesson", SMALL)
def test_every_lesson_knows_a_rate_for_every_optimizer(lesson):
    module = importlib.import_module(lesson)
    names = module.Config.model_fields["optimizer"].annotation.__args__
    assert tuple(module.LEARNING_RATES) == names
    assert all(rate > 0 for rates in module.LEARNING_RATES.values() for rate in rates)


def test_patience_goes_with_a_constant_rate():
    for settings in {"patience": 2, "schedule": "constant"}, {"patience": None}:
        common.with_learning_rate(small("classic", **settings), RATES)
    with pytest.raises(SettingError, match="--patience 2 goes with --schedule constant"):
        common.with_learning_rate(small("classic", patience=2), RATES)


def test_the_schedule_is_one_cycle_of_all_updates_or_constant():
    config = small("classic", learning_rate=0.5, warmup=0.2)
    schedule = common.optimizer(config, updates=100).get_config()["learning_rate"]["config"]
    one_cycle = common.one_cycle(0.5, steps=100, warmup=0.2)
    assert schedule == one_cycle.get_config()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("end", "compress"), [(".pkl", bytes), (".pkl.gz", gzip.compress), (".pkl.xz", lzma.compress)]
)
def test_protocols_and_archives(tmp_path, protocol, end, compress):
    path = write(tmp_path / f"digits{end}", compress(pickle.dumps((TRAIN, TEST), protocol)))
    train, test = digits.load_mnist(path)
    assert_same(train, TRAIN)
    assert_same(test, TEST)


@pytest.mark.parametrize(
    "name", ["numpy1_images_protocol4", "numpy1_images_protocol5", "python2_images_protocol0"]
)
def test_files_of_older_writers(name):
    train, test = digits.load_mnist(PICKLES / f"{name}.pkl.gz")
    assert_same(train, TRAIN)
    assert_same(test, TEST)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *((code + b"9" * 50 + b"\n.", "a line of 40 bytes") for code in (b"I", b"F", b"g", b"Np")),
        (b"Vabc\\u0394\n.", "text that is not latin1"),
        (b"\x80\x02" + pickle.dumps("\u0394", 2)[2:], "text that is not latin1"),
        (b"cnumpy\nndarray\n0" * 1001 + b"N.", "asks for numpy.ndarray"),
        (b"c_codecs\nencode\n(Vabc\nVutf-8\ntR.", "encodes 3 characters"),
    ],
)
def test_instructions_that_take_more_than_their_size_are_refused(content, message):
    with pytest.raises(common.RefusedContent, match=message):
        common.load_pickle(io.BytesIO(content))


def test_text_of_python_3_bytes_keeps_every_byte(tmp_path):
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16).repeat(12, axis=0)
    for protocol in range(6):
        path = tmp_path / "d.pkl"
        path.write_bytes(pickle.dumps(((every, TEST[1]), (every, TEST[1])), protocol))
        train, _ = digits.load_mnist(path)
        np.testing.assert_array_equal(train.x, every)


def test_every_flipped_bit_of_an_archive_is_found(tmp_path):
    content = (PICKLES / "numpy1_images_protocol4.pkl.gz").read_bytes()
    # The header of gzip holds a time, flags and the system, which its checksum does not cover.
    for position in range(10, len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        with pytest.raises(DataError):
            digits.load_mnist(write(tmp_path / "d.pkl.gz", bytes(flipped)))


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(DataError, match="does not exist: check --data"):
        digits.load_mnist(tmp_path / "missing.pkl")
    (tmp_path / "folder.pkl").mkdir()
    with pytest.raises(DataError, match="can't be read"):
        digits.load_mnist(tmp_path / "folder.pkl")


class Calls:
    """Pickles to a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def call_by_name(module, name, argument):
    """A pickle, protocol 4, that calls module.name(argument)."""
    strings = [module.encode(), name.encode(), argument.encode()]
    module, name, argument = (b"\x8c" + bytes([len(s)]) + s for s in strings)
    return b"\x80\x04" + module + name + b"\x93" + argument + b"\x85R."


HUGE = pickle.dumps((10**6, 10**6, 10**6), 2)[2:-1]
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"


UINT8 = (
    b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)


def attacks(mark):
    """Pickles by name that make the file `mark`, or fill the memory, if anything obeys them."""
    command = f"touch {mark}"
    return {
        "os.system": pickle.dumps(Calls(os.system, command)),
        "nested in the layout": pickle.dumps(((Calls(os.system, command), TRAIN[1]), TEST)),
        "subprocess": pickle.dumps(Calls(subprocess.check_call, ["touch", str(mark)])),
        "eval": pickle.dumps(Calls(eval, f"open({str(mark)!r}, 'w')")),
        "protocol 0": b"cposix\nsystem\n(V" + command.encode() + b"\ntR.",
        "INST": b"(V" + command.encode() + b"\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\nV" + command.encode() + b"\no.",
        "NEWOBJ": b"\x80\x02cos\nsystem\nV" + command.encode() + b"\n\x85\x81.",
        "through numpy": call_by_name("numpy", "os.system", command),
        "through numpy's attributes": call_by_name("numpy.core.multiarray", "os.system", command),
        "numpy.f2py": call_by_name("numpy.f2py.diagnose", "run_command", command),
        "numpy runstring": call_by_name("numpy.testing._private.utils", "runstring", command),
        "numpy.load": call_by_name("numpy", "load", str(mark)),
        "numpy.memmap": call_by_name("numpy", "memmap", str(mark)),
        "attribute of a stand-in": call_by_name("numpy", "dtype.__init__.__globals__", "x"),
        "common": call_by_name("common", "os.system", command),
        "extension registry": b"\x80\x02\x82\xf0V" + command.encode() + b"\n\x85R.",
        "persistent id": b"Pos.system\n.",
        "stop before anything": b".",
        "BUILD on a stand-in": b"cnumpy\ndtype\n}U\x09set_statecnumpy\ndtype\nsb.",
        "APPEND to a stand-in": b"cnumpy\ndtype\nK\x01a.",
        "huge array": b"\x80\x02cnumpy\nndarray\n" + HUGE + b"\x85R.",
        "huge _reconstruct": ARRAY.replace(b"K\x00\x85", HUGE) + b".",
        "forged shape": b"((" + ARRAY + b"(K\x01" + HUGE + UINT8 + b"\x89U\x04abcdtb]t(]]tt.",
        "huge bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"abc.",
        "huge bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"abc.",
        "huge frame": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
        "huge memo": b"\x80\x02Nr" + struct.pack("<I", 2**31) + b".",
        "contains itself": b"\x80\x02]q\x00(h\x00h\x00e.",
        "deeply nested": b"(" * 100_000 + b"t" * 100_000 + b".",
        "lists of lists of lists": b"](K\x07" + b"e]q\x00(h\x00h\x00h\x00" * 60 + b"e.",
        "labels that contain themselves": b"]q\x00(h\x00h\x00e\x86q\x01h\x01\x86.",
    }


@pytest.mark.parametrize("name", attacks("mark"))
def test_attacks_run_nothing(tmp_path, name):
    mark = tmp_path / "mark"
    path = write(tmp_path / "attack.pkl", attacks(mark)[name])
    copyreg.add_extension("os", "system", 240)
    try:
        with pytest.raises(DataError) as error:
            digits.load_mnist(path)
    finally:
        copyreg.remove_extension("os", "system", 240)
    assert "\n" not in str(error.value)
    assert not mark.exists()


@on_unix
@pytest.mark.parametrize("name", ["os.system", "protocol 0", "extension registry"])
def test_attacks_work_on_an_ordinary_unpickler(tmp_path, name):
    """Otherwise the test above would prove nothing."""
    mark = tmp_path / "mark"
    copyreg.add_extension("os", "system", 240)
    try:
        pickle.loads(attacks(mark)[name])
    finally:
        copyreg.remove_extension("os", "system", 240)
    assert mark.exists()


def test_an_archive_that_expands_without_end_is_refused_early(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "LARGEST_DATA", 2**20)
    for end, compress in {".gz": gzip.compress, ".xz": lzma.compress}.items():
        string = b"\x80\x04\x8e" + struct.pack("<Q", 2**24) + bytes(2**24) + b"."
        path = write(tmp_path / f"bomb.pkl{end}", compress(string))
        with pytest.raises(DataError, match="more than 1 MiB"):
            digits.load_mnist(path)


def test_one_text_encoded_many_times_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "LARGEST_DATA", 2**20)
    once = b"c_codecs\nencode\nq\x00V" + b"a" * 1000 + b"\nq\x01Vlatin1\nq\x02\x86"
    content = b"\x80\x02" + once + b"00(" + b"h\x00h\x01h\x02\x86R" * 1100 + b"l."
    with pytest.raises(DataError, match="encodes 1000 characters"):
        digits.load_mnist(write(tmp_path / "many.pkl", content))


def limited(content):
    return common._LimitedLines(common.LimitedFile(io.BytesIO(content)))


def test_a_limited_file_reads_like_a_file(monkeypatch):
    reader = limited(b"one\ntwo\nthree\n")
    reader.longest = 5
    buffer = bytearray(3)
    assert reader.readline() == b"one\n"
    assert reader.readinto(buffer) == 3
    assert buffer == b"two"
    assert reader.read(1) == b"\n"
    with pytest.raises(common.RefusedContent, match="a line of"):
        reader.readline()
    monkeypatch.setattr(common, "LARGEST_DATA", 3 * 2**20)
    content = np.arange(3 * 2**17).astype("f8").tobytes()
    assert limited(content).read(len(content)) == content
    with pytest.raises(common.RefusedContent, match="more than 3 MiB"):
        limited(content + b".").read(2**30)
