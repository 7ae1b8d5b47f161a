"""support/devices.py: batches that devices share."""

from common import SettingError

import keras
import pytest

from support import devices


def test_a_batch_that_the_devices_cannot_divide_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0", "gpu:1", "gpu:2"])
    with pytest.raises(SettingError, match=r"--batch-size 128: 3 devices .* a multiple of 3"):
        devices.distribute(128)
    assert devices.count() == 1
