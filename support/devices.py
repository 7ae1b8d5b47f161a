"""Several devices that share every batch: those of one machine, or of all processes."""

import common

import keras

from support import processes


def distribute(batch_size: int) -> None:
    """Spread the networks that are built from here on over all devices of all processes.

    Each device holds the whole network and trains on its share of every batch. With a single
    device, this does nothing.

    Raises:
        SettingError: a batch of this size cannot be divided by the devices.
    """
    number = len(keras.distribution.list_devices()) if keras.backend.backend() == "jax" else 1
    if batch_size % number:
        raise common.SettingError(
            f"--batch-size {batch_size}: {number} devices share each batch, so it must be a "
            f"multiple of {number}"
        )
    if number > 1:
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(auto_shard_dataset=False)
        )


def count() -> int:
    """Count the devices of all processes that share a batch: one, where nothing is distributed."""
    distribution = keras.distribution.distribution()
    return distribution.device_mesh.devices.size if distribution else 1


def share(size: int) -> slice:
    """Return which examples of a batch are for the devices of this process.

    Args:
        size: number of examples in the batch, a multiple of `count()`.
    """
    size //= processes.count()
    return slice(processes.process_id() * size, (processes.process_id() + 1) * size)
