r"""Saliency: how much each word of a text has to do with what a classifier says, by four methods that disagree.

A score F takes the word embeddings x of a text, (T, D), to one number; x' is a baseline, the same text with its words
erased: all zeros, or the embedding of ``[MASK]``. Three methods share F(x) - F(x') out among the words, each by its own
reading of "what if the word were not there"; attention rollout never asks F at all. None of them is the model's reason.

The methods take any F; :class:`companion.models.word_score.WordScore` is that of a classifier and a text.

Letters in the shapes: B batch, T tokens, D d_model, W words, L layers, H heads.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from companion.config import check_at_least
from companion.errors import require

Score = Callable[[Tensor], Tensor]
"""From embeddings (B, T, D) to a number for each text, (B,)."""
TOKENS_AT_ONCE = 8192
"""Tokens that pass through a score at a time."""
MOST_SUBSETS_OF = 12
"""Words of which all subsets are tried, at most: each word more doubles them."""


def leave_one_out(score: Score, x: Tensor, baseline: Tensor, *, words: Tensor | None = None) -> Tensor:
    r"""What is lost with each word: ``F(x) - F(x with word w as in x')``.

    Li, Monroe and Jurafsky (2016) erase in this way, and divide by F(x); here F may be zero, so the difference stays.

    Args:
        score: F.
        x: the embeddings of one text, (T, D).
        baseline: x', (T, D).
        words: (T,), the number of each token's word, -1 for a token of none; by default each token is a word.

    Returns:
        (W,) float64.

    Raises:
        ValueError: the shapes do not fit.

    >>> x = torch.tensor([[1.5], [-0.5], [0.25]], dtype=torch.float64)
    >>> [round(a, 4) for a in leave_one_out(lambda x: x.sum((1, 2)).tanh(), x, 0 * x).tolist()]
    [1.0932, -0.0931, 0.0867]
    """
    words = _check(x, baseline, words)
    out = torch.arange(_count(words))[:, None] == words.cpu()  # (W, T)
    values = _values(score, x, baseline, torch.cat([torch.zeros_like(out[:1]), out]))
    return values[0] - values[1:]


def gradient_x_input(score: Score, x: Tensor, baseline: Tensor, *, words: Tensor | None = None) -> Tensor:
    r"""``Σ_d (x_d - x'_d) ∂F(x)/∂x_d`` over the D numbers of each token, and over the tokens of each word.

    The first-order guess at what the word is worth (Simonyan et al. 2014 take the gradient; Shrikumar et al. 2016
    multiply it by the input). Exact where F is linear; where F saturates, the slope says little. Arguments and errors
    are those of :func:`leave_one_out`.

    >>> x = torch.tensor([[1.5], [-0.5], [0.25]], dtype=torch.float64)
    >>> [round(a, 4) for a in gradient_x_input(lambda x: x.sum((1, 2)).tanh(), x, 0 * x).tolist()]
    [0.4206, -0.1402, 0.0701]
    """
    words = _check(x, baseline, words)
    gradient = _gradients(score, x[None])[0]  # (T, D)
    return by_word((gradient * (x - baseline)).double().sum(dim=-1), words)


def integrated_gradients(
    score: Score, x: Tensor, baseline: Tensor, *, steps: int = 32, words: Tensor | None = None
) -> Tensor:
    r"""``Σ_d (x_d - x'_d) ∫₀¹ ∂F(x' + α (x - x'))/∂x_d dα`` (Sundararajan et al. 2017, equation 1), summed by word.

    The integral is taken by the midpoint rule, at ``α_k = (k + ½) / steps``: the mean slope on the straight way from
    the baseline to the text. In the limit the attributions add up to ``F(x) - F(x')``; see :func:`completeness_gap`.

    Args:
        score: F.
        x: the embeddings of one text, (T, D).
        baseline: x', (T, D).
        steps: points at which the gradient is taken.
        words: as for :func:`leave_one_out`.

    Returns:
        (W,) float64.

    Raises:
        ValueError: the shapes do not fit, or ``steps`` is below 1.

    >>> x = torch.tensor([[1.5], [-0.5], [0.25]], dtype=torch.float64)
    >>> [round(a, 4) for a in integrated_gradients(lambda x: x.sum((1, 2)).tanh(), x, 0 * x).tolist()]
    [1.018, -0.3393, 0.1697]
    """
    words = _check(x, baseline, words)
    check_at_least("steps", steps, 1)
    alpha = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    total = torch.zeros(x.shape, dtype=torch.float64, device=x.device)
    for part in torch.split(alpha, _rows(x)):
        way = baseline + part.to(x)[:, None, None] * (x - baseline)  # (B, T, D)
        total += _gradients(score, way).double().sum(dim=0)
    return by_word((total / steps * (x - baseline).double()).sum(dim=-1), words)


def completeness_gap(attributions: Tensor, score: Score, x: Tensor, baseline: Tensor) -> float:
    r"""``Σ_w a_w - (F(x) - F(x'))``: by how much attributions miss what they share out (Sundararajan et al. 2017).

    Zero for integrated gradients in the limit of many steps. No other method here promises it.

    >>> x = torch.tensor([[1.5], [-0.5], [0.25]], dtype=torch.float64)
    >>> F = lambda x: x.sum((1, 2)).tanh()
    >>> [round(completeness_gap(integrated_gradients(F, x, 0 * x, steps=n), F, x, 0 * x), 6) for n in (4, 32)]
    [0.001932, 3e-05]
    """
    ends = _values(score, x, baseline, torch.tensor([[False], [True]]).expand(2, len(x)))
    return float(attributions.double().sum() - (ends[0] - ends[1]))


def score_subsets(score: Score, x: Tensor, baseline: Tensor, *, words: Tensor | None = None) -> Tensor:
    """F of every selection of words, (2^W,) float64: in number s, word w is as in x' if bit w of s is set.

    Raises:
        ValueError: the shapes do not fit, or there are more than 12 words.

    >>> score_subsets(lambda x: x.sum((1, 2)), torch.tensor([[1.0], [10.0]]), torch.zeros(2, 1)).tolist()
    [11.0, 10.0, 1.0, 0.0]
    """
    words = _check(x, baseline, words)
    n = _count(words)
    require(n <= MOST_SUBSETS_OF, f"{n} words have 2^{n} subsets; take a text of at most {MOST_SUBSETS_OF} words")
    bits = (torch.arange(2**n)[:, None] >> torch.arange(n)) & 1  # (2^W, W)
    out = torch.cat([bits.bool(), torch.zeros(2**n, 1, dtype=torch.bool)], dim=1)[:, words.cpu()]
    return _values(score, x, baseline, out)


def by_word(values: Tensor, words: Tensor) -> Tensor:
    """Sums of the values (T,) of each word's tokens: (W,).

    >>> by_word(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([-1, 0, 0, 1])).tolist()
    [5.0, 4.0]
    """
    kept = words >= 0
    return values.new_zeros(_count(words)).index_add_(0, words[kept], values[kept])


def attention_rollout(maps: Tensor | Sequence[Tensor], *, residual: float = 0.5) -> Tensor:
    r"""How much of each input token is in each output token, if attention and residual paths were all: (T, T).

    ``R = Ã_L ... Ã_2 Ã_1`` with ``Ã_l = r I + (1 - r) mean_h A_{l,h}`` (Abnar and Zuidema 2020, section 3). Row t
    belongs to output t and sums to 1. Values, feed-forward nets and the class itself play no part.

    Args:
        maps: attention weights, (L, H, T, T), or a list of L times (H, T, T), the first layer first.
        residual: r, the share that the residual connection is taken to carry.

    Raises:
        ValueError: other shapes.

    >>> attention_rollout(torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]] * 2)).tolist()
    [[1.0, 0.0], [0.75, 0.25]]
    """
    layers = maps if isinstance(maps, Tensor) else torch.stack(list(maps))
    require(
        layers.dim() == 4 and layers.size(-1) == layers.size(-2),
        lambda: f"maps must have the shape (L, H, T, T); got {tuple(layers.shape)}",
    )
    one = torch.eye(layers.size(-1), dtype=torch.float64)
    rollout = one
    for weights in layers.double().mean(dim=1).cpu():
        rollout = (residual * one + (1.0 - residual) * weights) @ rollout  # (T, T)
    return rollout


def _check(x: Tensor, baseline: Tensor, words: Tensor | None) -> Tensor:
    require(
        x.dim() == 2 and baseline.shape == x.shape,
        lambda: f"x and baseline must both be (T, D); got {tuple(x.shape)} and {tuple(baseline.shape)}",
    )
    if words is None:
        return torch.arange(len(x), device=x.device)
    require(words.shape == x.shape[:1], lambda: f"words must be (T,) = ({len(x)},); got {tuple(words.shape)}")
    return words


def _count(words: Tensor) -> int:
    return int(words.max()) + 1


def _rows(x: Tensor) -> int:
    return max(1, TOKENS_AT_ONCE // len(x))


@torch.no_grad()
def _values(score: Score, x: Tensor, baseline: Tensor, out: Tensor) -> Tensor:
    """F (B,) where of each token, ``out`` (B, T) bool, the baseline is taken; float64, on the CPU."""
    parts = [score(torch.where(rows[:, :, None].to(x.device), baseline, x)) for rows in torch.split(out, _rows(x))]
    return torch.cat(parts).double().cpu()


def _gradients(score: Score, x: Tensor) -> Tensor:
    """∂F/∂x of each text alone, (B, T, D)."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        (gradients,) = torch.autograd.grad(score(x).sum(), x)
    return gradients
