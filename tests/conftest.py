"""What several test files share."""

import contextlib
import gc
import os
import pickle
import tempfile
from importlib.metadata import PackageNotFoundError, version

# JAX compiles every step for every shape, which takes most of a short test. So it does not make
# the code faster than it needs to be; and what one test has compiled, the next need not, in the
# processes that the tests start and in those that share the tests, which read this file later.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
with contextlib.suppress(PackageNotFoundError):
    if version("jax").startswith("0.10."):  # later ones compile faster, and do not know this
        os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    compiled = tempfile.TemporaryDirectory()
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

# On a GPU, each process of the tests takes the memory that it needs, not nearly all that there is.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

import common  # before Keras, and before all test files

import pytest

from support import digits

LONG = (
    "test_scripts_in_processes",
    "test_scripts_called",
    "test_scripts_smoke",
    "test_own_digits",
    "test_variable_length_seq",
)


def pytest_collection_modifyitems(items):
    """Begin with what takes long, so that no process has it to do when the others have ended."""
    items.sort(key=lambda item: item.path.stem not in LONG)
    for item in items:
        # Keras's variables do not know a new keyword of NumPy, which they meet where one is saved.
        item.add_marker(pytest.mark.filterwarnings("ignore:__array__ implementation doesn't"))
        # As common.py does, whose filter pytest sets aside.
        item.add_marker(pytest.mark.filterwarnings(f"ignore:{common.MASK_WARNING}"))
    gc.freeze()  # before each run Keras collects garbage, but never what libraries hold


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """The first digits of MNIST, so that the validation is quick too."""
    path = tmp_path_factory.mktemp("data") / "small.pkl"
    train, test = digits.load_mnist()
    parts = [(part.x[:size], part.y[:size]) for part, size in ((train, 1200), (test, 200))]
    path.write_bytes(pickle.dumps(parts))
    return path
