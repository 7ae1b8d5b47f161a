"""Labels by Keras's decoder, for several test files."""

import keras
import numpy as np

from support import ctc


def read(logits, **search):
    """Labels as the lessons decode them; without what follows the last label."""
    steps = np.full(len(logits), len(logits[0]), np.int32)
    labels, _ = keras.ops.ctc_decode(np.array(logits), steps, mask_index=ctc.BLANK, **search)
    return [row[row > 0].tolist() for row in keras.ops.convert_to_numpy(labels)[0]]
