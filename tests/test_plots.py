"""support/plots.py."""

import numpy as np

from support import plots


def test_pictures_of_no_mistakes_and_of_many(tmp_path):
    truth = np.arange(10)
    plots.confusion_matrix(truth, truth, tmp_path / "right.png")
    plots.confusion_matrix(truth, truth[::-1], tmp_path / "wrong.png")
    plots.images(np.zeros((0, 28, 28), np.uint8), [], tmp_path / "none.png")
    plots.images(np.zeros((24, 28, 28), np.uint8), ["one"] * 24, tmp_path / "many.png")
    assert len(list(tmp_path.iterdir())) == 4
