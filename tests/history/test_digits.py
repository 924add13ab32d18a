"""The real data: all there, nothing twice, the same for a seed."""

import numpy as np
import pytest

from companion.history.digits import N_DIGITS, accuracy, load_digits, one_hot


def test_the_two_parts_are_all_the_digits_that_scikit_learn_ships():
    from sklearn.datasets import load_digits as bundled

    digits = load_digits(n_test=300, seed=3)
    assert digits.train_x.shape == (1497, 64) and digits.test_y.shape == (300,)
    rows = np.hstack(
        [np.vstack([digits.train_x, digits.test_x]) * 16, np.hstack([digits.train_y, digits.test_y])[:, None]]
    )
    expected = np.hstack([bundled().data, bundled().target[:, None]])
    assert len(expected) == N_DIGITS
    assert sorted(map(tuple, rows)) == sorted(map(tuple, expected))


def test_a_seed_gives_the_same_parts_and_another_seed_others():
    one, same, other = load_digits(seed=1), load_digits(seed=1), load_digits(seed=2)
    assert np.array_equal(one.test_x, same.test_x)
    assert not np.array_equal(one.test_x, other.test_x)
    assert set(one.test_y.tolist()) == set(range(10))


@pytest.mark.parametrize("n_test", [0, N_DIGITS])
def test_a_part_must_not_be_empty(n_test):
    with pytest.raises(ValueError, match="leave at least one for each part"):
        load_digits(n_test=n_test)


def test_one_hot_is_what_accuracy_reads():
    labels = np.array([3, 1, 4])
    assert accuracy(one_hot(labels, 5), labels) == 1.0
    assert accuracy(one_hot(labels, 5), np.array([3, 1, 0])) == pytest.approx(2 / 3)
