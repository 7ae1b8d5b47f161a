"""support/side_by_side.py: a table of runs, and what is said of the last."""

from pathlib import Path

import numpy as np
import pytest

from support import side_by_side


def run(name, right, *, figures=("accuracy",), history=(), **settings):
    """A run with 100 test examples: the numbers of those that it read right."""
    hits = np.isin(np.arange(100), list(right))
    return side_by_side.FinishedRun(
        folder=Path("runs", name),
        settings=settings,
        test=("0", *"7" * 100),
        seconds=12.34,
        figures={figure: float(hits.mean()) for figure in figures},
        right=dict.fromkeys(figures, hits),
        histories={figure: {"loss": list(history)} for figure in figures},
    )


def test_the_table_names_the_settings_that_differ_and_no_others():
    alike = {"seed": 0, "cell": "GRU", "patience": None}
    one = run("one", range(90), **alike, units=64, learning_rate=0.009, output="a", data="b")
    other = run("other", range(95), **alike, units=128, learning_rate=0.00225, output="c", data="d")
    assert side_by_side.table([one, other]) == [
        ("run", "units", "learning_rate", "accuracy", "seconds"),
        ("one", "64", "0.009", "90.00%", "12.3"),
        ("*other", "128", "0.00225", "95.00%", "12.3"),
    ]


@pytest.mark.parametrize(
    ("figures", "columns"), [(["accuracy"], 3), (["raw", "unit", "standardized"], 2)]
)
def test_a_table_of_runs_that_differ_in_much_fits_a_terminal(figures, columns):
    """First come the settings in which the last run differs from the one before it."""
    runs = [
        run(
            f"2026-11-29_10-00-{n:02}_2",
            [n],
            figures=figures,
            **{"start_from": f"/a/long/name/of/a/folder/{n}", "units": n, "learning_rate": n / 7e5},
            **{"batch_size": n // 9, "bidirectional": n > 3, "clip_norm": None, "depth": -n},
        )
        for n in range(1, 11)
    ]
    runs[-1] = runs[-1]._replace(settings=runs[-2].settings | {"depth": -10, "epochs": 3})
    rows = side_by_side.table(runs)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    assert sum(widths) + 2 * (len(widths) - 1) <= 80
    settings = rows[0][1 : -len(figures) - 1]
    assert settings[0] == "depth"
    assert rows[-1][1] == "-10"
    assert len(settings) == (4 if len(figures) == 1 else 2)


def test_a_run_without_a_scaling_has_no_figure_of_it():
    every, only_unit = run("every", [1], figures=["raw", "unit"]), run("one", [1], figures=["unit"])
    rows = side_by_side.table([only_unit, every])
    assert rows[0] == ("run", "unit", "raw", "seconds")
    assert rows[1] == ("one", "1.00%", "-", "12.3")
    assert "on unit pixels" in side_by_side.against_the_best([only_unit, every])
    assert side_by_side.against_the_best([run("a", [], figures=["raw"]), only_unit]) == ""


@pytest.mark.parametrize(
    ("right", "only_last", "only_other", "how_often", "verdict"),
    [
        (range(80), 0, 10, "at most 0.59%", "the other is better"),  # 3 * 2 / 2**10
        (range(85, 95), 5, 85, "at most 0.01%", "the other is better"),
        (range(84), 0, 6, "at most 9.38%", "this may be luck"),  # 3 * 2 / 2**6
        (range(90), 0, 0, "at most 100.00%", "this may be luck"),
        (range(97), 7, 0, "at most 4.69%", "the last is better"),  # 3 * 2 / 2**7
    ],
)
def test_the_last_is_set_against_the_best_other(right, only_last, only_other, how_often, verdict):
    said = side_by_side.against_the_best(
        [run("good", range(89)), run("best", range(90)), run("bad", range(10)), run("new", right)]
    )
    assert "The last against best, the best other: of 100 test examples, " in said
    assert f"only the last has {only_last} right, and only the other {only_other}." in said
    assert f" in {how_often} of all tests (exact McNemar test, times the number" in said
    assert f" of others, 3), so {verdict}." in said


def test_the_best_labeller_reads_most_strips_right_and_of_those_most_labels():
    figure = "label error rate"
    runs = [
        run(name, range(right), figures=[figure])._replace(figures={figure: rate})
        for name, right, rate in (
            ("few_strips", 80, 0.1),
            ("high", 90, 0.5),
            ("low", 90, 0.3),
            ("new", 70, 0.2),
        )
    ]
    said = side_by_side.against_the_best(runs)
    assert "against low, the best other in whole strips: of 100 test" in said
    assert said.endswith("so the other is better in whole strips. ", 0, said.index("These"))


def test_curves_are_labelled_by_what_differs():
    runs = [run("a", [], history=[1], units=1), run("b", [], history=[2], units=2)]
    runs.append(run("c", [], history=[3], units=2))
    expected = {"a, units 1": [1], "b, units 2": [2], "c, units 2": [3]}
    assert side_by_side.curves(runs) == {name: {"loss": loss} for name, loss in expected.items()}
    parts = [run(name, [], figures=["raw", "unit"]) for name in "ab"]
    expected = ["raw pixels a", "unit pixels a", "raw pixels b", "unit pixels b"]
    assert list(side_by_side.curves(parts)) == expected
