"""The restricted Boltzmann machine against the sum over all its states."""

import numpy as np
import pytest
import torch

from companion.history.boltzmann import RBM, bars_and_stripes, binary_states, gibbs, sample, train_rbm


def machine(V: int, H: int) -> RBM:
    generator = np.random.default_rng(5)
    rbm = RBM(V, H, generator=generator, std=1.0)
    rbm.a, rbm.b = generator.normal(size=V), generator.normal(size=H)
    return rbm


@pytest.fixture(params=[(5, 3), (3, 5)], ids=["fewer hidden", "fewer visible"])
def small(request):
    return machine(*request.param)


def joint(rbm: RBM) -> np.ndarray:
    """exp(-E) of every visible and every hidden state, term by term from the definition."""
    V, H = rbm.w.shape
    table = np.zeros((2**V, 2**H))
    for i, v in enumerate(binary_states(V)):
        for j, h in enumerate(binary_states(H)):
            e = -sum(rbm.a[k] * v[k] for k in range(V)) - sum(rbm.b[k] * h[k] for k in range(H))
            e -= sum(v[k] * rbm.w[k, m] * h[m] for k in range(V) for m in range(H))
            table[i, j] = np.exp(-e)
            assert rbm.energy(v[None], h[None])[0] == pytest.approx(e, abs=1e-12)
    return table


def test_partition_function_free_energy_and_conditionals_are_those_of_the_whole_table(small):
    table = joint(small)
    V, H = small.w.shape
    v, h = binary_states(V), binary_states(H)
    assert small.log_partition() == pytest.approx(np.log(table.sum()), abs=1e-12)
    np.testing.assert_allclose(small.free_energy(v), -np.log(table.sum(axis=1)), atol=1e-12)
    np.testing.assert_allclose(small.hidden(v), (table @ h) / table.sum(axis=1, keepdims=True), atol=1e-12)
    np.testing.assert_allclose(small.visible(h), (table.T @ v) / table.sum(axis=0)[:, None], atol=1e-12)
    p = table.sum(axis=1) / table.sum()
    assert small.log_likelihood(v[2:4]) == pytest.approx(np.log(p[2:4]).mean(), abs=1e-12)


def test_the_exact_gradient_is_that_of_autograd(small):
    v = binary_states(len(small.a))[[1, 4, 6]]
    w, a, b = (torch.tensor(p, requires_grad=True) for p in (small.w, small.a, small.b))

    def minus_free_energy(x):
        return x @ a + torch.nn.functional.softplus(x @ w + b).sum(-1)

    everything = torch.tensor(binary_states(len(small.a)))
    (minus_free_energy(torch.tensor(v)).mean() - minus_free_energy(everything).logsumexp(0)).backward()
    found = small.exact_gradient(v)
    for gradient, parameter in ((found.w, w), (found.a, a), (found.b, b)):
        np.testing.assert_allclose(gradient, parameter.grad.numpy(), atol=1e-12)


def test_contrastive_divergence_points_up_hill_and_more_steps_come_nearer():
    rbm = machine(6, 4)
    v = np.repeat(binary_states(6)[[3, 12, 48]], 2000, axis=0)
    exact = rbm.exact_gradient(v).w
    one, many = (rbm.cd_gradient(v, generator=np.random.default_rng(0), k=k).w for k in (1, 100))
    assert (one * exact).sum() > 0
    assert np.linalg.norm(many - exact) < 0.1 * np.linalg.norm(exact) < np.linalg.norm(one - exact)


def test_gibbs_sampling_reaches_the_distribution_of_the_machine():
    rbm = machine(4, 3)
    table = joint(rbm)
    p = table.sum(axis=1) / table.sum()
    reached = gibbs(rbm, np.zeros((20_000, 4)), steps=30, generator=np.random.default_rng(0))
    np.testing.assert_allclose(reached.mean(axis=0), p @ binary_states(4), atol=0.01)


def test_samples_have_the_probabilities_asked_for():
    drawn = sample(np.full((10_000, 2), [0.2, 0.7]), generator=np.random.default_rng(0))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_allclose(drawn.mean(axis=0), [0.2, 0.7], atol=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_the_exact_likelihood_rises_in_training(seed):
    v, generator = bars_and_stripes(3), np.random.default_rng(seed)
    rbm = RBM(9, 12, generator=generator)
    curve = [rbm.log_likelihood(v)]
    for _ in range(3):
        train_rbm(rbm, v, epochs=350, batch_size=7, generator=generator)
        curve.append(rbm.log_likelihood(v))
    assert curve[0] == pytest.approx(-9 * np.log(2), abs=0.01)  # untrained: all 512 pictures alike
    assert curve[0] < curve[1] < curve[2] and curve[3] > -3.6
    assert curve[3] < -np.log(14)  # nothing can do better than the 14 pictures alike
    assert rbm.free_energy(v).max() < np.median(rbm.free_energy(binary_states(9)))


def test_bars_and_stripes_are_what_they_say():
    pictures = bars_and_stripes(4)
    assert len(pictures) == 2**5 - 2
    for picture in pictures.reshape(-1, 4, 4):
        assert (picture == picture[:, :1]).all() or (picture == picture[:1]).all()


def test_too_many_states_to_list_are_refused():
    with pytest.raises(ValueError, match="ends at 16 units"):
        RBM(20, 17, generator=np.random.default_rng(0)).log_partition()
