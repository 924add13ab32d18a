r"""The real data of the first two chapters: 1,797 handwritten digits of 8x8 pixels, which scikit-learn ships.

They are the test part of the Optical Recognition of Handwritten Digits set (Alpaydin & Kaynak 1998): 13 writers, each
pixel a count from 0 to 16.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from companion.errors import require

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
N_DIGITS = 1797


@dataclass(frozen=True)
class Digits:
    """Images as rows of 64 numbers from 0 to 1, in two parts.

    Attributes:
        train_x: (N, 64).
        train_y: which digit each is, (N,).
        test_x: (M, 64).
        test_y: (M,).
    """

    train_x: Array
    train_y: Labels
    test_x: Array
    test_y: Labels


def load_digits(*, n_test: int = 500, seed: int = 0) -> Digits:
    """The digits in a random order given by ``seed``, the last ``n_test`` of them kept for the test.

    Both parts hold digits of the same writers, so the figures are better than they would be on an unknown hand.
    The pixels are multiples of 1/16: sums of them are exact.

    Raises:
        ValueError: nothing would be left for one of the parts.

    >>> digits = load_digits()
    >>> digits.train_x.shape, digits.test_x.shape
    ((1297, 64), (500, 64))
    >>> (digits.train_x[0].reshape(8, 8) * 16).astype(int)[2].tolist(), int(digits.train_y[0])
    ([0, 0, 13, 5, 0, 0, 0, 0], 6)
    """
    from sklearn.datasets import load_digits as bundled

    require(0 < n_test < N_DIGITS, f"n_test={n_test} of {N_DIGITS} digits; leave at least one for each part")
    x, y = bundled(return_X_y=True)
    order = np.random.default_rng(seed).permutation(N_DIGITS)
    train, test = order[:-n_test], order[-n_test:]
    return Digits(x[train] / 16, y[train].astype(np.int64), x[test] / 16, y[test].astype(np.int64))


def one_hot(labels: Labels, n_classes: int = 10) -> Array:
    """(N, C): 1 in the column of each row's label, 0 elsewhere.

    >>> one_hot(np.array([2, 0]), 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    return np.eye(n_classes)[labels]


def accuracy(scores: Array, labels: Labels) -> float:
    """The share of the rows of ``scores`` (N, C) whose largest number stands in the column of the label (N,).

    >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """
    return float(np.mean(scores.argmax(axis=1) == labels))
