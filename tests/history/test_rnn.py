"""Back-propagation through time by hand against autograd, and what each net remembers."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from companion.history.rnn import LSTM, Elman, gradient_by_distance, lag_task, recall_accuracy, train_recurrent

T, B, I, H, C = 6, 5, 3, 4, 7


def run_with_torch(net, x):
    """Scores and the states after each step by PyTorch's own layers, with the parameters copied."""
    p = {name: torch.tensor(a, requires_grad=True) for name, a in net.parameters.items()}
    states = [torch.zeros(x.shape[1], len(net.parameters["W"]), dtype=torch.float64)]
    h = states[0]
    for x_t in torch.tensor(x):
        if isinstance(net, Elman):
            h = torch.rnn_tanh_cell(x_t, h, p["U"].T, p["W"].T, p["b"])
            states.append(h)
        else:
            h, c = torch.lstm_cell(x_t, (h, states[-1]), p["U"].T, p["W"].T, p["b"])
            states.append(c)
        states[-1].retain_grad()
    return p, states[1:], h @ p["V"] + p["c"]


@pytest.mark.parametrize("kind", [Elman, LSTM])
def test_scores_gradients_and_state_gradients_are_those_of_pytorch(kind):
    generator = np.random.default_rng(0)
    net = kind(I, H, C, generator=generator)
    for name, a in net.parameters.items():
        net.parameters[name] = a + generator.normal(size=a.shape)
    x, labels = generator.normal(size=(T, B, I)), generator.integers(0, C, size=B)
    p, states, scores = run_with_torch(net, x)
    loss = F.cross_entropy(scores, torch.tensor(labels))
    loss.backward()
    np.testing.assert_allclose(net.scores(x), scores.detach().numpy(), atol=1e-12)
    back = net.backward(x, labels)
    assert back.loss == pytest.approx(loss.item(), abs=1e-12)
    assert back.gradients.keys() == p.keys() and back.state.shape == (T, B, H)
    for name, gradient in back.gradients.items():
        np.testing.assert_allclose(gradient, p[name].grad.numpy(), atol=1e-12, err_msg=name)
    for t, state in enumerate(states):
        np.testing.assert_allclose(back.state[t], state.grad.numpy(), atol=1e-12)


def test_the_first_symbol_is_the_answer_and_the_others_say_nothing():
    x, labels = lag_task(4000, 3, generator=np.random.default_rng(0))
    assert x.shape == (4, 4000, 4) and (x.sum(axis=-1) == 1).all()
    assert np.array_equal(x[0].argmax(axis=-1), labels)
    assert x[0, :, 2:].sum() == x[1:, :, :2].sum() == 0
    assert labels.mean() == pytest.approx(0.5, abs=0.03)
    for label in range(2):
        np.testing.assert_allclose(x[1:, labels == label, 2].mean(axis=1), 0.5, atol=0.04)


@pytest.mark.parametrize("seed", range(5))
def test_the_lstm_remembers_what_the_elman_net_forgets(seed):
    """The same recipe for both; the answer stands 20 steps before the end, and chance is 0.5."""
    found = {}
    for kind in (Elman, LSTM):
        net = kind(4, 12, 2, generator=np.random.default_rng(seed))
        train_recurrent(net, 20, steps=150, generator=np.random.default_rng(seed))
        found[kind] = recall_accuracy(net, 20, generator=np.random.default_rng(100))
    assert found[LSTM] >= 0.98
    assert found[Elman] <= 0.6


@pytest.mark.parametrize("lag", [3, 6])
def test_elman_learns_short_lags(lag):
    net = Elman(4, 12, 2, generator=np.random.default_rng(0))
    losses = train_recurrent(net, lag, steps=300, generator=np.random.default_rng(0))
    assert losses[0] > 0.4 > 0.05 > losses[-1]
    assert recall_accuracy(net, lag, generator=np.random.default_rng(1)) == 1.0


def test_lags_are_drawn_between_the_two_bounds(monkeypatch):
    from companion.history import rnn

    seen = []
    original = rnn.lag_task
    monkeypatch.setattr(
        rnn, "lag_task", lambda n, lag, generator: seen.append(lag) or original(n, lag, generator=generator)
    )
    train_recurrent(
        Elman(4, 3, 2, generator=np.random.default_rng(0)), 6, min_lag=4, steps=60, generator=np.random.default_rng(0)
    )
    assert set(seen) == {4, 5, 6}


def test_gradients_vanish_in_the_elman_net_and_stay_in_the_lstm():
    measured = {
        kind: np.mean(
            [
                gradient_by_distance(
                    kind(4, 16, 2, generator=np.random.default_rng(s)), 40, generator=np.random.default_rng(9)
                )
                for s in range(5)
            ],
            axis=0,
        )
        for kind in (Elman, LSTM)
    }
    elman, lstm = measured[Elman], measured[LSTM]
    assert (np.diff(elman) < 0).all()  # smaller with every step back
    assert elman[40] < 1e-4 * elman[0]
    assert lstm[40] > 0.1 * lstm[0]


def test_what_cannot_be_asked_is_refused():
    net = Elman(4, 3, 2, generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match="no negative lag"):
        lag_task(2, -1, generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match="from 5 to 4"):
        train_recurrent(net, 4, min_lag=5, steps=1, generator=np.random.default_rng(0))
