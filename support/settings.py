"""The settings that every run has."""

import hashlib
from pathlib import Path
from typing import Annotated

import common

import pydantic
from pydantic import Field, PositiveInt

Seed = Annotated[int, Field(ge=0, lt=2**32)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Pixels = Annotated[float, Field(ge=0, le=1000)]


class RunConfig(
    pydantic.BaseModel, frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
):
    """Settings of a run, the same in all four scripts."""

    seed: Seed = 0  # start of all random numbers; the same seed repeats a run
    train_size: PositiveInt | None = None  # number of training examples, the first ones; None: all
    test_size: PositiveInt | None = None  # number of test examples, the first ones; None: all
    data: Path = common.DATA_FILE  # file of ((x_train, y_train), (x_test, y_test)): see data/README
    output: Path = Path("runs")  # folder of all runs; each writes to OUTPUT/SCRIPT/TIME
    start_from: Path | None = None  # saved network, a model.keras, with whose weights to begin
    resume: Path | None = None  # folder of an interrupted run to go on with
    predict: tuple[Path, ...] | None = None  # pictures to read instead of training
    draw: bool = False  # read what you write in a window instead of training
    model: Path | None = None  # network that --predict or --draw uses, a model.keras; None: newest
    seen: Path | None = None  # file for a picture of what the network saw, with --predict
    compare: tuple[Path, ...] | None = None  # folders of runs to set side by side; none named: all

    def of_the_run(self) -> dict:
        """Return the settings that make a run what it is, not those that say what to do with it.

        Data count by their content, not their path: the beginning of the file's SHA-256 is added.
        """
        settings = self.model_dump(
            mode="json", exclude={"resume", "predict", "draw", "model", "seen", "compare"}
        )
        with self.data.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return settings | {"data_sha256": digest[:16]}
