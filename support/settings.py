"""The settings that every run has."""

from pathlib import Path
from typing import Annotated, NoReturn

import common

import pydantic
from pydantic import Field, PositiveInt

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(ge=0, lt=1)]
Pixels = Annotated[float, Field(ge=0, le=1000)]


class MissingSettingError(common.SettingError, AttributeError):
    """A lesson asks for a setting that its class Config does not have."""


class RunConfig(
    pydantic.BaseModel, frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
):
    """Settings of a run, the same in all four scripts."""

    seed: Seed = 0  # the same seed repeats a run exactly
    train_size: PositiveInt | None = None  # training examples to use, the first ones; None: all
    test_size: PositiveInt | None = None  # test examples to use, the first ones; None: all
    data: Path = common.DATA_FILE  # pickle of ((x_train, y_train), (x_test, y_test))
    output: Path = Path("runs")  # the run writes to OUTPUT/SCRIPT/TIME
    start_from: Path | None = None  # begin with the weights of this network, a model.keras
    resume: Path | None = None  # folder of a run that was interrupted; it goes on there
    predict: tuple[Path, ...] | None = None  # pictures to read, in place of training
    model: Path | None = None  # the network that --predict uses; None: that of the newest run
    seen: Path | None = None  # with --predict: write what the network saw to this picture

    @classmethod
    def __pydantic_init_subclass__(cls, **options: object) -> None:
        """Let --help name a lesson's own settings first, those of every run after them."""
        own = [name for name in cls.model_fields if name not in RunConfig.model_fields]
        names = [*own, *RunConfig.model_fields]
        cls.__pydantic_fields__ = {name: cls.model_fields[name] for name in names}

    def of_the_run(self) -> dict:
        """Return the settings that make a run what it is, not those that say what to do with it."""
        return self.model_dump(mode="json", exclude={"resume", "predict", "model", "seen"})

    def __getattr__(self, name: str) -> NoReturn:
        """Name a setting that is missing, as after a typing mistake in class Config."""
        raise MissingSettingError(f"class Config has no setting {name!r}: is it misspelt?")
