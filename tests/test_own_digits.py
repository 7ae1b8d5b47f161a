"""The walk of docs/running.md: read one's own digits, collect, train a second time, read again."""

import pickle
import re
import shlex
from pathlib import Path

from common import DataError

import numpy as np
import pytest
from script_runs import ROOT, run_in_process

from support import digits, predict
from tests.benchmarks import second_training


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    second_training.draw_all(folder / "mine", each=10, seed=0)
    second_training.draw_all(folder / "new", each=5, seed=1)
    return folder


def test_pictures_become_a_data_set(folder, tmp_path, capsys):
    predict.collect_digits(str(folder / "mine"), str(tmp_path / "mine.pkl"))
    assert capsys.readouterr().out == (
        f"wrote {tmp_path / 'mine.pkl'}: 80 pictures to train on, 20 to test on\n"
    )
    (x, y), _ = pickle.loads((tmp_path / "mine.pkl").read_bytes())
    assert (x.dtype, x.shape, y.shape) == (np.uint8, (80, 28, 28), (80,))
    train, test = digits.load_mnist(tmp_path / "mine.pkl")
    assert len(test.x) == 20
    collected = {
        (image.tobytes(), int(label))
        for part in (train, test)
        for image, label in zip(part.x, part.y, strict=True)
    }
    assert collected == {
        (predict.to_digit(predict.find_ink(path)).tobytes(), int(path.parent.name))
        for path in folder.glob("mine/*/*.png")
    }
    assert set(train.y[-6:]) != {9}  # the last ones, which validate, are not of one kind


def test_too_few_pictures_and_one_that_cannot_be_read_are_refused(folder, tmp_path):
    with pytest.raises(DataError, match="0 pictures in the folders 0 to 9; at least 15 are needed"):
        predict.collect_digits(folder, tmp_path / "mine.pkl")
    second_training.draw_all(tmp_path / "mine", each=2, seed=0)
    (tmp_path / "mine" / "3" / ".DS_Store").touch()  # as some systems leave there
    predict.collect_digits(tmp_path / "mine", tmp_path / "few.pkl")
    (tmp_path / "mine" / "3" / "note.txt").write_text("this is no picture")
    with pytest.raises(DataError, match=r"3/note.txt: not a picture"):
        predict.collect_digits(tmp_path / "mine", tmp_path / "mine.pkl")
    assert not (tmp_path / "mine.pkl").exists()


def walk():
    """The commands of the page."""
    section = (ROOT / "docs" / "running.md").read_text().split("### Teach it your own digits")[1]
    (block,) = re.findall(r"```sh\n(.+?)```", section.split("\n#")[0], re.DOTALL)
    return block.splitlines()


def share_right(printed):
    answers = re.findall(r"^\w+/(\d)/\d+\.png: (\d) \(", printed, re.MULTILINE)
    assert len(answers) == 50
    return sum(truth == answer for truth, answer in answers) / len(answers)


@pytest.mark.slow
def test_the_walk_of_the_page_leads_to_a_better_network(folder, monkeypatch, capsys):
    """As it stands there, but for a smaller network and a first training that is shorter."""
    monkeypatch.chdir(folder)

    def run(command, more=""):
        _, script, *words = shlex.split(f"{command} {more}")
        if script == "-c":
            exec(*words)
        else:
            assert run_in_process(ROOT / script, words, monkeypatch) == 0
        return capsys.readouterr().out

    train, look, collect, train_again, read = walk()
    assert train == "python classic.py"
    network = "--cell GRU --units 64 --depth 1 --no-bidirectional --dropout 0 --update-bias 1"
    network += " --optimizer Muon --schedule one-cycle --distortion 0.2 --shift 0.5 --elastic 0"
    sizes = "--train-size 6000 --test-size 200 --epochs 3 --batch-size 48 --learning-rate 0.009"
    printed = run(train, f"{network} {sizes}")
    model = str(Path(re.findall(r"^wrote (.+)$", printed, re.MULTILINE)[0]) / "model.keras")
    assert run(look).count("mine/") == 100
    assert (folder / "seen.png").read_bytes().startswith(b"\x89PNG")
    before = share_right(run(read, f"--model {model}"))
    run(collect)
    run(train_again.replace("runs/classic/TIME/model.keras", model), network)
    after = share_right(run(read))
    assert after > max(before, 0.9)
