"""What the lessons need and do not teach, one topic in each file."""

import common  # noqa: F401  before Keras: it chooses the backend and keeps its start quiet
