"""The house: imports point down only, and no room grows out of its bounds."""

import ast

import pytest
from lessons import SMALL
from script_runs import ROOT

FILES = [*sorted(ROOT.glob("*.py")), *sorted(ROOT.glob("support/*.py"))]
by_name = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def imports(path):
    """The files of this project that a file imports, as `support.digits` or `common`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    ours = {".".join(file.relative_to(ROOT).with_suffix("").parts) for file in FILES}
    return names & ours


@by_name
def test_imports_point_down(path):
    seen = imports(path)
    if path.stem == "common":
        assert not seen
    elif path.parent.name == "support":
        assert not seen & SMALL.keys()
    else:
        assert seen & SMALL.keys() <= ({"classic"} if path.stem == "standardize" else set())


def test_no_rooms_import_each_other_in_a_circle():
    left = {f"support.{path.stem}": imports(path) for path in ROOT.glob("support/*.py")}
    while left:
        ground = [room for room, seen in left.items() if not seen & left.keys()]
        assert ground, f"a circle among {sorted(left)}"
        for room in ground:
            del left[room]


@by_name
def test_files_and_functions_are_short_and_no_call_unpacks_a_tuple_written_out(path):
    tree = ast.parse(path.read_text())
    assert len(path.read_text().splitlines()) <= (500 if path.stem == "common" else 400)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            is_main = path.stem in SMALL and node.name == "main"
            lines = node.end_lineno - node.lineno + 1
            assert lines <= (60 if is_main else 50), node.name
        if isinstance(node, ast.Call):
            unpacked = [value.value for value in node.args if isinstance(value, ast.Starred)]
            assert not any(isinstance(value, ast.Tuple) for value in unpacked), node.lineno


@pytest.mark.parametrize("lesson", SMALL)
def test_a_lesson_is_120_to_230_lines_with_at_most_22_settings(lesson):
    source = (ROOT / f"{lesson}.py").read_text()
    assert 120 <= len(source.splitlines()) <= 230
    (config,) = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    assert sum(isinstance(node, ast.AnnAssign) for node in config.body) <= 22
