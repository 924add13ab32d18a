"""Checks for the exercises of the chapter on pretraining. The right answers are computed here, never written down."""

import math
from typing import Any

import torch
from torch import Tensor

from companion.exercises._answers import as_number, as_tensor, called, check, expect, near
from companion.nn.losses import IGNORE, token_cross_entropy

# Exercise "Cut it": a small vocabulary.
PIECES = ("un", "##for", "##get", "##table", "##forget", "##t", "##able", "for", "get", "forget", "##s")
# Exercise "A loss on paper": weights whose logarithms are the logits, a row for each position, and the labels.
WEIGHTS = torch.tensor([[1.0, 2, 1], [5, 1, 4], [1, 1, 6], [2, 2, 1]], dtype=torch.float64)
LABELS = torch.tensor([1, IGNORE, 2, 0])
# Exercise "Two micro-batches": summed loss and number of targets of each.
SUMS, COUNTS = (36.0, 10.0), (12, 2)
# Exercise "What does it cost?": a model and a machine.
PARAMETERS, TOKENS, RATE = 25_000_000, 500_000_000, 3e12


@check
def check_cut(answer: Any) -> str:
    """The pieces of "unforgettable", greedily, with PIECES as the vocabulary."""
    expect(
        isinstance(answer, list | tuple) and all(isinstance(piece, str) for piece in answer),
        f"the answer should be a list of pieces; got {type(answer).__name__}",
    )
    given = [piece.strip() for piece in answer]
    plain = "".join(piece.removeprefix("##") for piece in given)
    expect(plain == "unforgettable", f"the pieces must join to 'unforgettable'; yours join to {plain!r}")
    strange = [p for i, p in enumerate(given) if p not in PIECES or p.startswith("##") != (i > 0)]
    expect(not strange, f"{strange} does not fit there: inside a word stand pieces that begin with ##")
    right = _cut("unforgettable")
    expect(len(given) <= len(right), "greedy: at each place take the longest piece that fits")
    expect(given == right, "greedy: the longest piece first, from the left")
    return "at each place the longest piece that fits"


@check
def check_shares(answer: Any) -> str:
    """How many of 2,000 tokens are, on average, chosen, [MASK], random and kept, with BERT's shares."""
    given = as_tensor(answer, "a list of four numbers")
    expect(given.shape == (4,), "give four numbers: chosen, [MASK], random, kept")
    chosen = 0.15 * 2000
    right = torch.tensor([chosen, 0.8 * chosen, 0.1 * chosen, 0.1 * chosen], dtype=torch.float64)
    expect(near(given[0], right[0]), "15 % of all tokens are chosen")
    expect(not near(given[1], 0.8 * 2000), "80 % of the chosen ones, not of all")
    expect(near(given[1:].sum(), right[0]), "the last three numbers must sum to the first")
    expect(near(given, right), "of the chosen ones 80 % become [MASK], 10 % random, 10 % stay")
    return f"{float(right[1] + right[2]):.0f} tokens look different from before"


@check
def check_loss(answer: Any) -> str:
    """The mean loss of WEIGHTS.log() on LABELS, to four decimals."""
    given = as_number(answer, "the mean loss")
    loss = token_cross_entropy(WEIGHTS.log(), LABELS)
    p = WEIGHTS / WEIGHTS.sum(dim=1, keepdim=True)
    expect(not near(given, loss.total), "that is the sum; divide by the number of targets")
    expect(not near(given, loss.total / 4), "one of the four positions has no label, so it does not count")
    expect(given >= 0, "a loss is the negative logarithm of a probability, so it is not negative")
    expect(not near(given, loss.mean / math.log(2)), "that is in bits; use the natural logarithm")
    expect(not near(given, -p[[0, 2, 3], LABELS[LABELS != IGNORE]].mean().log()), "average the logarithms, not p")
    expect(near(given, loss.mean), "p is a weight over the sum of its row; average -ln p over the labeled rows")
    return f"three targets with p = 1/2, 3/4 and 2/5, mean {float(loss.mean):.4f}"


@check
def check_micro_batches(answer: Any) -> str:
    """The mean loss over two micro-batches with SUMS and COUNTS."""
    given = as_number(answer, "the mean loss of both together")
    means = [s / n for s, n in zip(SUMS, COUNTS, strict=True)]
    expect(not near(given, sum(means) / 2), "that is the mean of the two means; the second has two targets only")
    expect(not near(given, sum(SUMS) / 2), "divide by the number of targets, not of micro-batches")
    expect(near(given, sum(SUMS) / sum(COUNTS)), "add the sums, add the counts, divide once")
    return f"46 / 14 = {sum(SUMS) / sum(COUNTS):.4f}; the mean of the means would be {sum(means) / 2:.4f}"


@check
def check_perplexity(answer: Any) -> str:
    """The perplexity of a text of three words that got the probabilities 1/4, 1/2 and 1/32."""
    given = as_number(answer, "a perplexity")
    p = torch.tensor([1 / 4, 1 / 2, 1 / 32], dtype=torch.float64)
    expect(not near(given, -p.log().mean()), "that is the loss; the perplexity is its exponential")
    expect(not near(given, (1 / p).mean()), "that is the arithmetic mean of 1/p; take the geometric one")
    expect(not near(given, 1 / p.prod()), "take the cube root: it is one word's share of 1/p(text)")
    expect(near(given, (-p.log().mean()).exp()), "exp of the mean of -ln p")
    return "the cube root of 256"


@check
def check_schedule(answer: Any) -> str:
    """A function (step, peak, total, warmup): a line up to the peak, then the inverse square root of the step."""
    expect(callable(answer), f"the answer should be a function of (step, peak, total, warmup); got {answer!r}")

    def right(step: int, peak: float, total: int, warmup: int) -> float:
        return peak * min((step + 1) / warmup, math.sqrt(warmup / (step + 1)))

    for step in (0, 3, 4, 9, 99, 999):
        arguments = (step, 0.5, 1000, 10)
        given = as_number(called(answer, *arguments), "a learning rate")
        wanted = right(*arguments)
        expect(
            math.isclose(given, wanted, rel_tol=1e-5),
            f"step {step}, peak 0.5, 10 steps of warm-up: it should be {wanted:.4f}; yours gives {given:.4f}",
        )
    return "the schedule of the first Transformer, with the peak in plain sight"


@check
def check_corrupt(answer: Any) -> str:
    """A function (ids, chosen, u, random_ids, mask_id) that makes BERT's corruption out of ready-made chance."""
    expect(
        callable(answer), f"the answer should be a function of (ids, chosen, u, random_ids, mask_id); got {answer!r}"
    )
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 100, (20, 30), generator=generator)
    chosen = torch.rand(20, 30, generator=generator) < 0.3
    u = torch.rand(20, 30, generator=generator)
    random_ids = torch.randint(5, 100, (20, 30), generator=generator)
    before = ids.clone()
    given = called(answer, ids, chosen, u, random_ids, 4)
    expect(
        isinstance(given, Tensor) and given.shape == ids.shape,
        "it should return a tensor of the shape of ids, the corrupted input",
    )
    expect(torch.equal(ids, before), "leave ids as it is: work on a copy, the labels still need it")
    expect(torch.equal(given[~chosen], ids[~chosen]), "what was not chosen must stay")
    masked, random = chosen & (u < 0.8), chosen & (u >= 0.8) & (u < 0.9)
    expect(bool((given[masked] == 4).all()), "where u < 0.8, a chosen position becomes mask_id")
    expect(torch.equal(given[random], random_ids[random]), "where 0.8 <= u < 0.9, it becomes the random token")
    expect(torch.equal(given[chosen & (u >= 0.9)], ids[chosen & (u >= 0.9)]), "where u >= 0.9, it stays")
    return "80, 10, 10, from one draw a position"


@check
def check_cost(answer: Any) -> str:
    """Hours to train PARAMETERS on TOKENS at RATE operations a second, with six operations a parameter and token."""
    given = as_number(answer, "a number of hours")
    seconds = 6 * PARAMETERS * TOKENS / RATE
    expect(not near(given, seconds, 0.6), "that is in seconds; how many hours?")
    expect(not near(given, seconds / 3 / 3600, 0.01), "that is the forward pass; the backward pass costs double")
    expect(near(given, seconds / 3600, 0.01), "6 operations x parameters x tokens, divided by operations a second")
    return f"{seconds:,.0f} seconds, {seconds / 3600:.2f} hours"


@check
def check_bits(answer: Any) -> str:
    """Which of two models is better, in bits a character: (bits of A, bits of B), to four decimals."""
    given = as_tensor(answer, "two numbers: bits a character of A and of B")
    expect(given.shape == (2,), "give two numbers: bits a character of A and of B")
    right = torch.tensor([math.log2(20) / 4, math.log2(60) / 6], dtype=torch.float64)
    expect(not near(given, right * math.log(2)), "that is in nats; divide by ln 2, or take log2 of the perplexity")
    expect(not near(given, right.flip(0)), "the other way round: A first")
    expect(near(given, right), "log2(perplexity) bits a token, divided by characters a token")
    return "B is better, though its perplexity is three times as high"


def _cut(word: str) -> list[str]:
    parts: list[str] = []
    start = 0
    while start < len(word):
        prefix = "##" if start else ""
        end = max(end for end in range(start + 1, len(word) + 1) if prefix + word[start:end] in PIECES)
        parts.append(prefix + word[start:end])
        start = end
    return parts
