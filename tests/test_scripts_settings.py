"""Every setting of a script reaches its training, and nothing of the test data does."""

import importlib

import keras
import numpy as np
import pytest
from lessons import small

from support import training
from support.settings import RunConfig

pytestmark = pytest.mark.slow
LESSONS = {  # the figure whose least or greatest value is the best
    "classic": ("val_accuracy", "max"),
    "seq_labelling": ("val_label_error_rate", "min"),
    "variable_length_seq": ("val_label_error_rate", "min"),
    "standardize": ("val_accuracy", "max"),
}
DATA = {"digits": 2, "shortest": 1, "longest": 3, "buckets": False, "seed": 1, "train_size": 48}
DISTORTION = {"distortion": 0.4, "shift": 3.0, "elastic": 1.0}
NETWORK = {"cell": "LSTM", "units": 3, "depth": 3, "bidirectional": True, "dropout": 0.5}
NETWORK |= {"columns": 7, "mask": False, "update_bias": 2.0, "scaling": "unit"}
TRAINING = {"epochs": 2, "batch_size": 16, "optimizer": "SGD", "schedule": "constant"}
TRAINING |= {"learning_rate": 0.02, "warmup": 0.9, "clip_norm": 0.5, "patience": 1}
CHANGES = DATA | DISTORTION | NETWORK | TRAINING  # to values that are not the small ones
OF_THE_TEST = {"beam_width", *RunConfig.model_fields} - {"seed", "train_size"}


class Given(Exception):
    """What fit was given."""


@pytest.fixture(scope="module", params=LESSONS)
def lesson(request, data, tmp_path_factory):
    """The name of a lesson, and a function that calls it as far as fit: what it gave to that."""
    module = importlib.import_module(request.param)
    output = tmp_path_factory.mktemp("output")

    def stop(network, batches, **settings):
        raise Given(network, batches, settings)

    def call(**settings):
        where = {"train_size": 64, "test_size": 20, "data": data, "output": output}
        config = small(request.param, **where | settings)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(keras.Model, "fit", stop)
            with pytest.raises(Given) as given:
                module.main(config)
        return given.value.args

    return request.param, call


def content(batches):
    return [(x.tobytes(), y.tobytes()) for x, y in (batches[i] for i in range(len(batches)))]


def weights(network):
    return [weight.tobytes() for weight in network.get_weights()]


def compared(network, batches, settings):
    """What fit was given, as values to compare: validation apart from the rest."""
    validation = content(settings.pop("validation_data"))
    callbacks = [
        [type(callback), *(item for item in vars(callback).items() if isinstance(item[1], float))]
        for callback in settings.pop("callbacks")
    ]
    given = {
        "network": network.to_json(),
        "weights": weights(network),
        "optimizer": network.optimizer.get_config(),
        "batches": content(batches),
        "callbacks": callbacks,
        "settings": settings,
    }
    return given, validation


@pytest.fixture(scope="module")
def plain(lesson):
    """What fit was given by the settings that the tests change, at each of the schedules."""
    _, call = lesson
    return {schedule: compared(*call(schedule=schedule)) for schedule in ("one-cycle", "constant")}


def test_each_setting_makes_a_difference(lesson, plain):
    name, call = lesson
    fields = importlib.import_module(name).Config.model_fields
    for setting in fields.keys() - OF_THE_TEST:
        schedule = "constant" if setting == "patience" else "one-cycle"
        changed, _ = compared(*call(**{"schedule": schedule, setting: CHANGES[setting]}))
        assert changed != plain[schedule][0], setting
        if setting in NETWORK:
            assert changed["network"] != plain[schedule][0]["network"], setting


def test_the_seed_is_that_of_the_weights_and_of_the_batches(lesson, plain):
    _, call = lesson
    given, _ = compared(*call(seed=1))
    before, _ = plain["one-cycle"]
    different = {name for name in given if given[name] != before[name]}
    assert different == {"weights", "batches"}


@pytest.mark.parametrize("lesson", ["classic", "seq_labelling"], indirect=True)
def test_digits_are_distorted_anew_in_every_epoch(lesson):
    """Else an epoch has as much ink as every other: all digits, in another order."""

    def ink(batches):
        return sum(int(np.maximum(batches[i].x, 0).sum(dtype=int)) for i in range(len(batches)))

    _, call = lesson
    _, batches, _ = call()
    first = ink(batches)
    batches.start_epoch(1)
    assert ink(batches) != first


def test_the_test_data_make_none_and_validation_is_apart(lesson, plain):
    _, call = lesson
    assert compared(*call(test_size=10)) == plain["one-cycle"]
    given, validation = compared(*call(train_size=32))
    assert given != plain["one-cycle"][0]
    assert validation == plain["one-cycle"][1]


def test_every_lesson_has_the_callbacks_and_takes_all_epochs(lesson):
    name, call = lesson
    network, batches, settings = call(epochs=4, warmup=0.25)
    start, *others, keep, checkpoint = settings["callbacks"]
    assert isinstance(start, training.StartEpoch)
    assert isinstance(keep, training.KeepBest)
    assert isinstance(checkpoint, training.Checkpoint)
    assert training.StopOnInfiniteLoss in map(type, others)
    assert (keep.monitor, keep.mode) == LESSONS[name]
    schedule = network.optimizer.get_config()["learning_rate"]["config"]
    assert (schedule["warmup_steps"], schedule["decay_steps"]) == (len(batches), 3 * len(batches))


def test_a_second_training_begins_with_saved_weights_and_can_be_resumed(lesson, tmp_path):
    _, call = lesson
    saved, *_ = call(seed=1)
    saved.save(tmp_path / "model.keras")
    second = {"start_from": tmp_path / "model.keras", "epochs": 2}
    network, batches, settings = call(**second)
    assert weights(network) == weights(saved)
    network.set_weights([weight + 1 for weight in network.get_weights()])
    network.optimizer.iterations.assign(len(batches))
    run = settings["callbacks"][-1].run
    run.epochs = [{"loss": 1.0}]
    run.save(network)
    network.save(run.folder / "model.keras")
    resumed, _, settings = call(**second, resume=run.whole.folder)
    assert weights(resumed) == weights(network)
    assert settings["initial_epoch"] == 1
