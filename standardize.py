"""Lesson 4: what the scale of the input does to training, and how to watch a training.

The network of lesson 1 is trained three times with the same seed and the same settings: on pixels
as they are (0 to 255), on pixels from 0 to 1, and on standardized pixels, each column of the image
with mean 0 and variance 1. TensorBoard shows the three trainings side by side.

    python standardize.py
    python standardize.py --scaling standardized --learning-rate 0.002
"""

from pathlib import Path
from typing import Literal, NamedTuple

import common  # before Keras, because it keeps TensorFlow's start quiet

import keras
import numpy as np
from keras import layers
from pydantic import PositiveFloat, PositiveInt
from tensorboard.plugins.hparams import api as hparams

from classic import classif_rnn_network

SCALINGS = "raw", "unit", "standardized"
GOALS = 0.97, 0.985  # validation accuracies, to compare how soon they are reached


class Config(common.RunConfig):
    """What you can change, here or on the command line."""

    scaling: Literal["raw", "unit", "standardized", "all"] = "all"  # of the pixels
    cell: Literal["SimpleRNN", "GRU", "LSTM"] = "GRU"  # kind of recurrent layer
    units: PositiveInt = 192  # units of each recurrent layer
    layers: PositiveInt = 1  # recurrent layers, one on top of the other
    bidirectional: bool = False  # read the rows in both directions
    dropout: common.Share = 0.0  # share of each recurrent layer's outputs dropped in training
    epochs: PositiveInt = 3  # times that the network sees every training image
    batch_size: PositiveInt = 128  # images of one weight update
    learning_rate: PositiveFloat = 0.003  # at its peak
    warmup: common.Share = 0.3  # share of the training in which the learning rate climbs
    clip_norm: PositiveFloat = 1.0  # longest gradient; a longer one is shortened to it


def scaling_layer(scaling: str, images: np.ndarray) -> keras.Layer:
    """Make the layer that scales pixels (batch, T, D), 0 to 255.

    Args:
        scaling: "raw" leaves them as they are; "unit" brings them to 0 to 1; "standardized" brings
            each of the D features to mean 0 and variance 1, a constant one to 0.
        images: the training images, (n, T, D), whose mean and variance count.
    """
    if scaling == "standardized":
        normalization = layers.Normalization(axis=-1)
        normalization.adapt(images)
        return normalization
    return layers.Rescaling({"raw": 1, "unit": 1 / 255}[scaling])


class Trained(NamedTuple):
    """A trained network, the figures of its every epoch and the seconds that it took."""

    network: keras.Model
    history: dict[str, list[float]]
    seconds: float


def train_network(
    config: Config,
    architecture: tuple,
    train: common.Examples,
    validation: common.Examples,
    folder: Path,
) -> Trained:
    """Train the network on one scaling of the pixels."""
    common.set_seed(config.seed)
    batches = common.EpochBatches(
        lambda random: common.shuffled(train, random), config.batch_size, config.seed
    )
    scaling = scaling_layer(config.scaling, train.x)
    network = classif_rnn_network(*train.x.shape[1:], *architecture, scaling=scaling)
    schedule = common.one_cycle(config.learning_rate, config.epochs * len(batches), config.warmup)
    network.compile(
        optimizer=common.muon(schedule, config.clip_norm),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    common.save_config(config, folder)
    network.summary()
    history, seconds = common.train(
        *(network, batches, validation, config.epochs, folder),
        best="val_accuracy",
        callbacks=[
            keras.callbacks.TensorBoard(folder, histogram_freq=1),
            common.LogBatches(folder),
            hparams.KerasCallback(str(folder), config.of_the_run(exclude_none=True)),
        ],
    )
    return Trained(network, history, seconds)


def test_network(
    trained: Trained, train: common.Examples, test: common.Examples, folder: Path
) -> dict[str, float]:
    """Test a network; return its figures, with what it sees of the training images."""
    metrics = common.test_classifier(trained.network, test, folder)
    seen = keras.ops.convert_to_numpy(trained.network.layers[0](train.x))
    metrics |= {"input_mean": float(seen.mean()), "input_variance": float(seen.var())}
    accuracies = trained.history["val_accuracy"]
    for goal in GOALS:
        reached = [epoch + 1 for epoch, accuracy in enumerate(accuracies) if accuracy >= goal]
        metrics[f"epochs_to_{goal}"] = reached[0] if reached else None
    metrics = common.finish(folder, trained.history, metrics, trained.seconds)
    common.log_result(folder, metrics)
    return metrics


def main(config: Config) -> dict[str, dict[str, float]]:
    """Train and test a network on each scaling; return the figures of each test."""
    train, validation, test = common.load_digits(config)
    architecture = config.cell, config.units, config.layers, config.bidirectional, config.dropout
    folder = common.run_folder(__file__, config)
    trained, metrics = {}, {}
    for scaling in SCALINGS if config.scaling == "all" else [config.scaling]:
        print(f"\ntraining on {scaling} pixels\n")
        try:
            trained[scaling] = train_network(
                config.model_copy(update={"scaling": scaling}),
                *(architecture, train, validation, folder / scaling),
            )
        except common.Interrupted:  # to be resumed as a whole
            raise common.Interrupted(str(folder)) from None
    # The test set is used from here on, once for each network.
    for scaling in trained:
        print(f"\ntest on {scaling} pixels")
        metrics[scaling] = test_network(trained[scaling], train, test, folder / scaling)
    histories = {scaling: trained[scaling].history for scaling in trained}
    common.plot_comparison(histories, folder / "learning_curves.png")
    common.write_json(metrics, folder / "metrics.json")

    first, second = (f"epochs to {goal:.1%}" for goal in GOALS)
    print(f"\nscaling       input mean  variance  {first}  {second}  test accuracy  seconds")
    for scaling, figures in metrics.items():
        first, second = (figures[f"epochs_to_{goal}"] or "-" for goal in GOALS)
        print(
            f"{scaling:12}  {figures['input_mean']:z10.4f}  {figures['input_variance']:8,.2f}  "
            f"{first:>15}  {second:>15}  {figures['test_accuracy']:13.2%}  "
            f"{figures['training_seconds']:7.1f}"
        )
    print(f"\nTo look at the training, type: tensorboard --logdir {folder}")
    return metrics


if __name__ == "__main__":
    common.run(main, Config)
