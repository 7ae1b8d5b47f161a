"""The formulas of lessons 1 and 2 in plain NumPy, with which the tests compare Keras.

To be read beside docs/lesson_1.md and docs/lesson_2.md: the names are those of their formulas. All
is about one sequence. Vectors are rows here, so what the page writes W x_t is `x_t @ W`. Weights
are what `get_weights` of a Keras layer returns; those of several gates stand side by side.
"""

import collections
import itertools

import numpy as np

# -- Lesson 1: recurrent layers. x has T timesteps of D features; the states h are n numbers each.
# The state before the first timestep is 0: it stands in a last row, h[-1], which is cut off.


def simple_rnn(x, W, U, b):
    """Return the states h of a SimpleRNN, (T, n), of weights (D, n), (n, n), (n,).

    Source: J. L. Elman, Finding structure in time (1990).
    """
    h = np.zeros((len(x) + 1, len(U)))
    for t, x_t in enumerate(x):
        h[t] = np.tanh(x_t @ W + h[t - 1] @ U + b)
    return h[:-1]


def simple_rnn_gradients(x, W, U, b, dh):
    """Return dL/dW, dL/dU, dL/db of a loss L, by backpropagation through time.

    h_t = tanh(a_t) acts on L directly and through a_{t+1} = W x_{t+1} + U h_t + b. So, from the
    last timestep back to the first, dL/da_t = (1 - h_t^2) * (dh_t + U^T dL/da_{t+1}).

    Args:
        x, W, U, b: as above.
        dh: derivatives of L by the h_t that it sees directly, (T, n); 0 for those that it does not.

    Source: P. J. Werbos, Backpropagation through time: what it does and how to do it (1990).
    """
    h = simple_rnn(x, W, U, b)
    da = np.zeros((len(x) + 1, len(U)))  # after the last timestep: 0
    for t in reversed(range(len(x))):
        da[t] = (1 - h[t] ** 2) * (dh[t] + da[t + 1] @ U.T)
    # The same weights serve every timestep: their gradients are sums over all of them.
    return x.T @ da[:-1], h[:-1].T @ da[1:-1], da.sum(axis=0)


def sigmoid(x):
    """Return the logistic function of each number, from 0 to 1."""
    return 1 / (1 + np.exp(-x))


def lstm(x, W, U, b):
    """Return the states h of an LSTM, (T, n), of weights (D, 4n), (n, 4n), (4n,): i, f, c, o.

    Source: S. Hochreiter and J. Schmidhuber (1997); F. Gers et al. (2000) for the forget gate.
    """
    h, c = np.zeros((2, len(x) + 1, len(U)))
    for t, x_t in enumerate(x):
        i, f, candidate, o = np.split(x_t @ W + h[t - 1] @ U + b, 4)
        c[t] = sigmoid(f) * c[t - 1] + sigmoid(i) * np.tanh(candidate)
        h[t] = sigmoid(o) * np.tanh(c[t])
    return h[:-1]


def gru(x, W, U, b):
    """Return the states h of a GRU, (T, n), of weights (D, 3n), (n, 3n), (2, 3n): z, r, h.

    The first row of b goes with W, the second with U: b'_h of the page is in the second.

    Source: K. Cho et al. (2014), https://arxiv.org/abs/1406.1078
    """
    h = np.zeros((len(x) + 1, len(U)))
    for t, x_t in enumerate(x):
        z_x, r_x, h_x = np.split(x_t @ W + b[0], 3)
        z_h, r_h, h_h = np.split(h[t - 1] @ U + b[1], 3)
        z, r = sigmoid(z_x + z_h), sigmoid(r_x + r_h)
        h[t] = z * h[t - 1] + (1 - z) * np.tanh(h_x + r * h_h)
    return h[:-1]


# -- Lesson 2: CTC. Class 0 is the blank, the labels y are classes from 1 ----------------------


def log_softmax(logits):
    """Return ln p_t(k), (T, classes). The product of many p_t may be too small for a float."""
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True, dtype=float)


def ctc_forward(log_p, z):
    """Return ln alpha_t(s), (T, len(z)), where alpha_t(s) is the probability of all beginnings of
    paths that have come to z_s at step t.
    """
    jump = np.zeros(len(z), bool)
    jump[2:] = z[2:] != z[:-2]
    alpha = np.full((len(log_p), len(z)), -np.inf)
    alpha[0, :2] = log_p[0, z[:2]]
    for t in range(1, len(log_p)):
        before = np.pad(alpha[t - 1], (2, 0), constant_values=-np.inf)
        # A path stays, goes to the next place, or jumps over a blank to a label that is another.
        arriving = before[2:], before[1:-1], np.where(jump, before[:-2], -np.inf)
        alpha[t] = log_p[t, z] + np.logaddexp.reduce(arriving)
    return alpha


def ctc(logits, y):
    """Return the loss L of labels y that fit into logits (T, classes), and its gradient dL/dlogits.

    Source: A. Graves et al., Connectionist temporal classification (2006), section 4.
    """
    z = np.zeros(2 * len(y) + 1, int)  # the labels, and a blank before, between and after them
    z[1::2] = y
    log_p = log_softmax(logits)
    alpha = ctc_forward(log_p, z)
    # beta_t(s), of all ends of paths from z_s on, is alpha of the sequence turned round.
    beta = ctc_forward(log_p[::-1], z[::-1])[::-1, ::-1]
    L = -np.logaddexp.reduce(alpha[-1, -2:])
    # Share of the paths, by probability, that are at z_s at step t. Alpha and beta both have p_t.
    share = np.exp(alpha + beta - log_p[:, z] + L)
    return L, np.exp(log_p) - share @ np.eye(logits.shape[1])[z]


def collapse(path):
    """Return what a path says: merge equal neighbours, then drop blanks."""
    return tuple(int(k) for k, _ in itertools.groupby(path) if k)


def greedy(logits):
    """Return the labelling that the most probable path through logits (T, classes) says."""
    return collapse(logits.argmax(axis=1))


def beam_search(logits, beam_width):
    """Return {labelling: probability} of the best labellings of logits (T, classes), best first.

    Source: A. Graves and N. Jaitly, Towards end-to-end speech recognition (2014), section 4.
    """
    # Of the paths of a labelling: the probability of those that end in a blank, and of the others.
    beam = {(): np.array([1.0, 0.0])}
    for p in np.exp(log_softmax(logits)):
        longer = collections.defaultdict(lambda: np.zeros(2))
        for y, (blank, label) in beam.items():
            longer[y] += (blank + label) * p[0], label * p[y[-1]] if y else 0
            for k in range(1, len(p)):
                # Only after a blank does an equal label count as another one.
                longer[*y, k][1] += (blank if y[-1:] == (k,) else blank + label) * p[k]
        beam = dict(sorted(longer.items(), key=lambda item: -item[1].sum())[:beam_width])
    return {y: float(p.sum()) for y, p in beam.items()}
