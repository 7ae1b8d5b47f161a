"""What TensorBoard shows of a training: figures, weights, graph, settings beside results."""

from pathlib import Path

import common  # noqa: F401  before Keras

import keras

from support import command_line
from support.run_folder import Run
from support.settings import RunConfig

try:  # TensorFlow writes what TensorBoard reads, with any backend
    import tensorflow as tf
    from tensorboard.plugins.hparams import api as hparams
except ModuleNotFoundError:
    tf = None
AVAILABLE = tf is not None

# Columns of the table of settings and results.
SETTINGS_SHOWN = "scaling", "optimizer", "learning_rate", "cell", "units", "epochs", "seed"
FIGURES_SHOWN = "test_accuracy", "test_loss", "training_seconds"


class LogMore(keras.callbacks.Callback):
    """Write what keras.callbacks.TensorBoard leaves out: figures within an epoch, and the graph.

    The figures are means since the epoch began, and the learning rate, after every tenth batch.
    keras.callbacks.TensorBoard(update_freq=10) writes them too, but then leaves out those of an
    epoch whose last batch is not a tenth one. The graph is that of the operations, which only
    TensorFlow can write; Keras writes that of the layers, with any backend.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.writer = tf.summary.create_file_writer(str(folder / "batches"))

    def on_train_begin(self, logs: dict | None = None) -> None:
        if keras.backend.backend() == "tensorflow":
            pixels = tf.TensorSpec(self.model.input_shape, self.model.inputs[0].dtype)
            answer = tf.function(lambda pixels: self.model(pixels, training=False))
            with tf.summary.create_file_writer(str(self.folder / "train")).as_default():  # Keras's
                tf.summary.graph(answer.get_concrete_function(pixels).graph)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if batch % 10 == 9:
            optimizer = self.model.optimizer
            with self.writer.as_default(int(optimizer.iterations.value)):
                for name, value in logs.items():
                    tf.summary.scalar(f"batch_{name}", value)
                tf.summary.scalar("batch_learning_rate", float(optimizer.learning_rate))

    def on_train_end(self, logs: dict | None = None) -> None:
        self.writer.close()


def add_result(config: RunConfig, run: Run, metrics: dict[str, float]) -> None:
    """Write the pictures of a run, the figures of its test, and its settings beside them."""
    if not AVAILABLE:
        return
    with tf.summary.create_file_writer(str(run.folder)).as_default(step=0):
        hparams.hparams_config(
            hparams=[hparams.HParam(name) for name in SETTINGS_SHOWN],
            metrics=[hparams.Metric(name) for name in FIGURES_SHOWN],
        )
        hparams.hparams(
            {name: getattr(config, name) for name in SETTINGS_SHOWN},
            trial_id=f"{config.scaling} {run.whole.folder.name}",
        )
        for name in FIGURES_SHOWN:
            tf.summary.scalar(name, metrics[name])
        for picture in sorted(run.folder.glob("*.png")):
            tf.summary.image(picture.stem, tf.io.decode_png(picture.read_bytes(), channels=3)[None])


def how_to_see(folder: Path) -> str:
    """Say how to start TensorBoard on the folder of a run, or why it has nothing to show."""
    if not AVAILABLE:
        return "nothing was written for TensorBoard: its logs need TensorFlow and TensorBoard"
    return "to see the training: " + command_line.spelt(
        "tensorboard", "--logdir", folder.as_posix()
    )
