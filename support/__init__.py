"""What the lessons need and do not teach, one topic a file."""

import common  # noqa: F401  before Keras, because it keeps TensorFlow's start quiet
