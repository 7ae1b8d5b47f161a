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


def settings_callback(config: RunConfig, run: Run) -> keras.callbacks.Callback:
    """Make the callback that writes a row of the table of settings and results."""
    settings = {name: getattr(config, name) for name in SETTINGS_SHOWN}
    trial = f"{config.scaling} {run.whole.folder.name}"
    return hparams.KerasCallback(str(run.folder), settings, trial_id=trial)


class LogBatches(keras.callbacks.Callback):
    """Write figures after every tenth batch, and the learning rate.

    The figures are means since the epoch began. keras.callbacks.TensorBoard(update_freq=10) writes
    them too, but leaves out those of an epoch whose last batch is not a tenth one.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.writer = tf.summary.create_file_writer(str(folder / "batches"))

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations.value))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.step += 1  # counted here, because it takes long to ask the optimizer with JAX
        if self.step % 10 == 0:
            with self.writer.as_default(self.step):
                for name, value in logs.items():
                    tf.summary.scalar(f"batch_{name}", value)
                tf.summary.scalar("batch_learning_rate", float(self.model.optimizer.learning_rate))

    def on_train_end(self, logs: dict | None = None) -> None:
        self.writer.close()


def log_graph(network: keras.Model, run: Run) -> None:
    """Write the graph of the network's operations."""
    if not AVAILABLE or run.epochs:  # it was written before the run was interrupted
        return
    if keras.backend.backend() != "tensorflow":
        print("in TensorBoard, choose the conceptual graph: that of operations needs TensorFlow")
        return
    pixels = tf.TensorSpec(network.input_shape, network.inputs[0].dtype)
    answer = tf.function(lambda pixels: network(pixels, training=False))
    with tf.summary.create_file_writer(str(run.folder / "train")).as_default():  # as Keras does
        tf.summary.graph(answer.get_concrete_function(pixels).graph)


def add_result(run: Run, metrics: dict[str, float]) -> None:
    """Write the figures of the test and the pictures of a run."""
    if not AVAILABLE:
        return
    with tf.summary.create_file_writer(str(run.folder)).as_default(step=0):
        hparams.hparams_config(
            hparams=[hparams.HParam(name) for name in SETTINGS_SHOWN],
            metrics=[hparams.Metric(name) for name in FIGURES_SHOWN],
        )
        for name, value in metrics.items():
            if value is not None:
                tf.summary.scalar(name, value)
        for picture in sorted(run.folder.glob("*.png")):
            tf.summary.image(picture.stem, tf.io.decode_png(picture.read_bytes(), channels=3)[None])


def how_to_see(whole: Run) -> str:
    """Say how to start TensorBoard, or why it has nothing to show."""
    if not AVAILABLE:
        return "nothing was written for TensorBoard: its logs need TensorFlow and TensorBoard"
    command = command_line.spelt("tensorboard", "--logdir", whole.folder.as_posix())
    return f"to see the training: {command}"
