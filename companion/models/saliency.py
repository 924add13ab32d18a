r"""Saliency: how much each word of a text has to do with what a classifier says, by four methods that disagree.

A score F takes the word embeddings x of a text, (T, D), to one number; x' is a baseline, the same text with its words
erased: all zeros, or the embedding of ``[MASK]``. Three methods share F(x) - F(x') out among the words, each by its own
reading of "what if the word were not there"; attention rollout never asks F at all. None of them is the model's reason.

Letters in the shapes: B batch, T tokens, D d_model, W words, L layers, H heads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from companion.config import check_at_least, check_choice
from companion.data.tokenizer import special_ids
from companion.errors import require
from companion.nn.attention import record_attention

if TYPE_CHECKING:
    from companion.models.text_classifier import TextClassifier

Score = Callable[[Tensor], Tensor]
"""From embeddings (B, T, D) to a number for each text, (B,)."""
Baseline = Literal["zero", "mask"]
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


class WordScore:
    r"""What a classifier makes of one text, as a function of its word embeddings: ``F = log(p / (1 - p))``.

    p is the probability of the target class, with the classifier's temperature; for two classes F is the difference of
    their logits, divided by it. Segments, positions and what follows are the model's own. ``[CLS]`` and ``[SEP]`` are
    the same in text and baseline, so they have no share. A word is what stands between spaces.

    Args:
        classifier: the model with its tokenizer.
        text: at most as long as the model reads.
        target: the name of the class; by default the last one, which of ``neg`` and ``pos`` is ``pos``.

    Attributes:
        text_words: the words.
        words: (T,) the number of each token's word, -1 at the two special tokens.
        x: (T, D) the word embeddings.

    Raises:
        ValueError: there is no word, the text is too long, or there is no such class.

    >>> from companion import TransformerClassifier, TransformerConfig, load_tokenizer, TextClassifier
    >>> network = TransformerClassifier(TransformerConfig(vocab_size=8192, d_model=8), 2).eval()
    >>> score = WordScore(TextClassifier(network, load_tokenizer(), ("neg", "pos")), "An unhurried film.")
    >>> score.text_words, score.words.tolist()
    (['An', 'unhurried', 'film.'], [-1, 0, 1, 1, 1, 2, 2, -1])
    """

    def __init__(self, classifier: TextClassifier, text: str, *, target: str | None = None) -> None:
        labels = classifier.labels
        self.target = labels[-1] if target is None else target
        require(self.target in labels, f"target={target!r} must be one of {list(labels)}")
        self.model, self.temperature = classifier.model, classifier.temperature
        pieces, self.text_words, numbers = _cut(classifier, text)
        special = special_ids(classifier.tokenizer)
        device = next(self.model.parameters()).device
        self.ids = torch.tensor([[special.cls, *pieces, special.sep]], device=device)
        self.words = torch.tensor([-1, *numbers, -1], device=device)
        self._mask, self._class = special.mask, labels.index(self.target)
        self._others = [c for c in range(len(labels)) if c != self._class]
        self.x = self._embed(self.ids)[0]

    def _embed(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.model.transformer.embedding.token(ids).detach()
        return embedded

    def baseline(self, kind: Baseline = "zero") -> Tensor:
        """(T, D): the text with all its words erased, to zeros or to ``[MASK]``."""
        check_choice("baseline", kind, Baseline)
        erased = torch.zeros_like(self.x)
        if kind == "mask":
            erased = self._embed(torch.full_like(self.ids, self._mask))[0]
        return torch.where((self.words >= 0)[:, None], erased, self.x)

    def __call__(self, x: Tensor) -> Tensor:
        """F (B,) of embeddings (B, T, D)."""
        ids, was_training = self.ids.expand(len(x), -1), self.model.training
        hook = self.model.transformer.embedding.token.register_forward_hook(lambda *_: x)
        self.model.eval()
        try:
            z = self.model(ids) / self.temperature
        finally:
            hook.remove()
            self.model.train(was_training)
        odds: Tensor = z[:, self._class] - z[:, self._others].logsumexp(dim=-1)
        return odds

    @torch.no_grad()
    def rollout(self) -> Tensor:
        """(W,) float64: the share of each word in what the head reads; what is missing from 1 is at the special tokens.

        With the mean as pooling that is the mean of all rows of :func:`attention_rollout`, else its first row.
        """
        with record_attention(self.model) as maps:
            self(self.x[None])
        rollout = attention_rollout([weights[0] for weights in maps])
        read = rollout.mean(dim=0) if self.model.pooling == "mean" else rollout[0]
        return by_word(read, self.words.cpu())


def _cut(classifier: TextClassifier, text: str) -> tuple[list[int], list[str], list[int]]:
    """The ids of a text's pieces, its words, and the number of each piece's word."""
    tokenizer, room = classifier.tokenizer, classifier.max_len - 2
    before = tokenizer.encode_special_tokens
    tokenizer.encode_special_tokens = True  # a text that spells [SEP] is text like any other
    try:
        encoded = tokenizer.encode(text, add_special_tokens=False)
    finally:
        tokenizer.encode_special_tokens = before
    require(bool(encoded.ids), f"there is no word in {text!r}")
    require(len(encoded.ids) <= room, f"{len(encoded.ids)} tokens, but the classifier reads {room}; shorten the text")
    spans = [(found.end(), found[0]) for found in re.finditer(r"\S+", text)]
    places = [next(i for i, (end, _) in enumerate(spans) if start < end) for start, _ in encoded.offsets]
    used = sorted(set(places))  # a word of characters that the tokenizer drops has no piece
    return encoded.ids, [spans[i][1] for i in used], [used.index(place) for place in places]


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
