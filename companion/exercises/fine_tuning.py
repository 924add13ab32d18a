"""Checks for the exercises of the chapter on fine-tuning. The right answers are computed here, never written down."""

import math
from typing import Any

import torch
from torch import Tensor

from companion.exercises._answers import as_number, as_tensor, called, check, expect, near
from companion.models.classifier import masked_mean
from companion.nn.losses import token_cross_entropy
from companion.training.calibration import expected_calibration_error

# Exercise "A mean that knows what is padding": one text of four positions, the last two of them padding.
HIDDEN = torch.tensor([[[1.0, 4], [6, -2], [5, 5], [9, 1]]], dtype=torch.float64)
REAL = torch.tensor([[True, True, False, False]])
# Exercises "A loss on paper" and "Its gradient": weights whose logarithms are the logits, and the right classes.
WEIGHTS = torch.tensor([[3.0, 1], [1, 4], [1, 1]], dtype=torch.float64)
LABELS = torch.tensor([0, 0, 1])
# Exercise "What LoRA trains": width, blocks, rank, classes.
WIDTH, BLOCKS, RANK, CLASSES = 256, 6, 4, 3
# Exercise "A rate for each layer".
PEAK, DECAY = 8e-4, 0.5
# Exercise "When to stop": held-out loss after each epoch, and the patience.
HELD_OUT, PATIENCE = (0.61, 0.48, 0.41, 0.43, 0.40, 0.42, 0.45, 0.39), 2
# Exercise "Too sure": the logit of its guess stands this much above the other, and this share of guesses is right.
MARGIN, SHARE = 3.0, 0.8
# Exercise "How honest?": probabilities of the guesses, and which of them were right.
SURE = (0.95, 0.95, 0.95, 0.95, 0.65, 0.65)
RIGHT = (True, True, True, False, True, True)
# Exercise "Your own pooling": which of five positions are real; padding nowhere, at the end, in front, in between.
MASKS = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 1, 0]]).bool()


@check
def check_mean(answer: Any) -> str:
    """The masked mean of HIDDEN over its REAL positions: two numbers."""
    given = as_tensor(answer, "two numbers").flatten()
    expect(given.shape == (2,), "the answer should be two numbers, one for each column")
    right = masked_mean(HIDDEN, REAL)[0]
    expect(not near(given, HIDDEN[0].mean(dim=0)), "that is the mean over all four positions, padding included")
    expect(not near(given, right * REAL.sum() / 4), "divide by the number of real positions, not by four")
    expect(near(given, right), "add the rows of the two real positions and divide by two")
    return "the padding could hold anything"


@check
def check_loss(answer: Any) -> str:
    """The mean cross-entropy of WEIGHTS.log() with LABELS."""
    given = as_number(answer, "the mean loss")
    loss = token_cross_entropy(WEIGHTS.log(), LABELS)
    expect(not near(given, loss.total), "that is the sum; divide by the number of texts")
    expect(not near(given, loss.total / 2), "divide by the three texts, not by the two classes")
    expect(given >= 0, "a loss is the negative logarithm of a probability, so it is not negative")
    expect(near(given, loss.mean), "p is a weight over the sum of its row; average -ln p of the right classes")
    return f"p = 3/4, 1/5 and 1/2, their product is 3/40, mean {float(loss.mean):.4f}"


@check
def check_gradient(answer: Any) -> str:
    """The gradient of the MEAN loss by the logits, (3, 2): (p - y) / 3."""
    given = as_tensor(answer, "a table of three rows and two columns")
    expect(given.shape == (3, 2), f"it has the shape of the logits, (3, 2); yours has {tuple(given.shape)}")
    p = WEIGHTS / WEIGHTS.sum(dim=1, keepdim=True)
    y = torch.nn.functional.one_hot(LABELS, 2).double()
    expect(not near(given, p - y), "that is the gradient of the sum; the mean divides it by the number of texts")
    expect(not near(given, (y - p) / 3), "the sign: p - y, so that a step against it raises the right logit")
    expect(not near(given, p / 3), "subtract 1 from the right class first")
    expect(near(given, (p - y) / 3), "each row is p - y, divided by three")
    return "every row sums to 0, and the worst guess pulls hardest"


@check
def check_lora(answer: Any) -> str:
    """Parameters that LoRA trains in queries and values of BLOCKS blocks, and the head."""
    given = as_number(answer, "a number of parameters")
    adapters, head = BLOCKS * 2 * RANK * 2 * WIDTH, WIDTH * CLASSES + CLASSES
    expect(given != BLOCKS * 2 * WIDTH**2 + head, "that trains the whole matrices; an adapter has rank 4")
    expect(given != adapters, "those are the adapters; the head is trained, too")
    expect(given != adapters + WIDTH * CLASSES, "the head has a bias for each class")
    expect(given != adapters // 2 + head, "an adapter is two matrices, A and B; or: queries and values")
    expect(given == adapters + head, "each of the 12 adapters has A of 4 x 256 and B of 256 x 4")
    return f"{adapters:,} in the adapters and {head:,} in the head"


@check
def check_rates(answer: Any) -> str:
    """The rates of the head, of the three blocks from the top down, and of the embedding."""
    given = as_tensor(answer, "five rates")
    expect(given.shape == (5,), "give five rates: the head's, those of three blocks from the top down, the embedding's")
    right = PEAK * torch.tensor([1.0, 0.5, 0.25, 0.125, 0.0625], dtype=torch.float64)
    expect(not near(given.flip(0), right, 1e-9), "from the top down: the head moves fastest")
    expect(
        not near(given, torch.tensor([1.0, 1, 0.5, 0.25, 0.125]) * PEAK, 1e-9), "the top block is one below the head"
    )
    expect(near(given, right, 1e-9), "each layer's rate is half of that of the layer above it")
    return "the embedding moves at a sixteenth of the head's rate"


@check
def check_stop(answer: Any) -> str:
    """(the epoch that is kept, the last one that is trained), counted from 1, with HELD_OUT and PATIENCE."""
    given = as_tensor(answer, "two whole numbers: the epoch whose weights are kept, and the last one that is trained")
    expect(given.shape == (2,), "give two numbers: the epoch whose weights are kept, and the last one that is trained")
    best, last = _stopped(HELD_OUT, PATIENCE)
    kept, trained = given.tolist()
    expect((kept, trained) != (best - 1, last - 1), "count epochs from 1")
    expect(kept != trained, "the weights that are kept are older than the last ones")
    expect(trained < len(HELD_OUT), "patience ends the training before the last number of the list")
    expect(kept != 3, "epoch 4 is worse, but that is one evaluation only, and epoch 5 is better again")
    expect((kept, trained) == (best, last), "two evaluations without an improvement end it; keep the best until then")
    return "epoch 8 would have been better still: patience is a bet, too"


@check
def check_temperature(answer: Any) -> str:
    """The T at which a margin of MARGIN gives the probability SHARE."""
    given = as_number(answer, "a temperature")
    right = MARGIN / math.log(SHARE / (1 - SHARE))
    expect(not near(given, 1 / right), "the other way round: logits are divided by the temperature")
    expect(given > 1, "the model is too sure, so its logits must shrink: the temperature is above 1")
    expect(near(given, right), "4 to 1 is the odds that are due, so the margin of the logits should be ln 4")
    return f"3 / ln 4 = {right:.4f}"


@check
def check_honesty(answer: Any) -> str:
    """The expected calibration error of SURE and RIGHT with ten bins."""
    given = as_number(answer, "the calibration error")
    sure = torch.tensor(SURE, dtype=torch.float64)
    right = expected_calibration_error(torch.stack([sure, 1 - sure], dim=1), (~torch.tensor(RIGHT)).long(), bins=10)
    plain = float((torch.tensor(RIGHT).double().mean() - sure.mean()).abs())
    expect(not near(given, (0.2 + 0.35) / 2), "the first bin holds four texts, the second two: weigh the gaps")
    expect(not near(given, plain), "first by bin, then weighed; not over all texts at once")
    expect(near(given, right), "two bins: the gap of accuracy and mean probability in each, weighed by its texts")
    return f"4/6 of 0.2000 and 2/6 of 0.3500: {right:.4f}"


@check
def check_pool(answer: Any) -> str:
    """A function (h, real) that gives the masked mean (B, D) of h (B, T, D), whatever stands in the padding."""
    expect(callable(answer), f"the answer should be a function of (h, real); got {answer!r}")
    h = torch.randn(5, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    given = called(answer, h.clone(), MASKS.clone())
    expect(isinstance(given, Tensor) and given.shape == (5, 4), "it should return a tensor (B, D): one row for a text")
    right = masked_mean(h, MASKS)
    expect(not near(given, h.mean(dim=1)), "the padding must not count: neither in the sum nor in the number")
    expect(not near(given, (h * MASKS[:, :, None]).mean(dim=1)), "divide by how many positions are real, not by T")
    firsts = torch.stack([x[:n].mean(dim=0) for x, n in zip(h, MASKS.sum(dim=1).tolist(), strict=True)])
    expect(not near(given, firsts), "padding may stand anywhere: take what is real, not the first so many")
    expect(near(given, right), "sum over the real positions, divided by their number")
    other = called(answer, h.masked_fill(~MASKS[:, :, None], 1e9), MASKS.clone())
    expect(near(other, right, 1e-3), "what stands in the padding changes your answer")
    return "the mean of the real positions, one row for each text"


@check
def check_both(answer: Any) -> str:
    """A function (ids, room) that keeps the first quarter of the room and fills the rest from the end."""
    expect(callable(answer), f"the answer should be a function of (ids, room); got {answer!r}")
    ids = list(range(1, 21))
    for n, room in ((20, 8), (5, 8), (8, 8), (9, 8), (20, 10), (20, 3), (20, 0)):
        given = called(answer, ids[:n], room)
        expect(isinstance(given, list), f"it should return a list; got {type(given).__name__}")
        head = room // 4
        right = ids[:n] if n <= room else ids[:head] + ids[n - (room - head) : n]
        asked = f"{n} tokens, room for {room}"
        expect(given != [] or not right, f"{asked}: yours is empty")
        expect(given == [] or room > 0, f"{asked}: nothing should stay; ids[-0:] is not empty, it is the whole list")
        expect(len(given) <= room, f"{asked}: yours keeps {len(given)}")
        expect(given == right, f"{asked}: it should be {right}; yours gives {given}")
    return "short texts whole, long ones from both ends"


def _stopped(losses: tuple[float, ...], patience: int) -> tuple[int, int]:
    """The epoch that is kept, and the last one, both from 1."""
    best, waited = 0, 0
    for epoch, loss in enumerate(losses):
        best, waited = (epoch, 0) if loss < losses[best] or epoch == 0 else (best, waited + 1)
        if waited == patience:
            return best + 1, epoch + 1
    return best + 1, len(losses)
