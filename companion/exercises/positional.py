"""Checks for the exercises of the chapter on positions. The right answers are computed here, never written down."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from companion.config import TransformerConfig
from companion.exercises._answers import HALF_A_DIGIT, as_number, as_tensor, called, check, expect
from companion.nn.positional import alibi_slopes, apply_rope, rope_angles, sinusoidal_table
from companion.nn.transformer import TransformerBlock

# Query and key of the chapter's rotary example, and of the rotary dial when it opens.
QUERY = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
KEY = torch.tensor([1.0, -1.0, 0.5, 2.0], dtype=torch.float64)


@check
def check_table_row(answer: Any) -> str:
    """The row of position 3 in the sinusoidal table with d_model = 4, to four decimals."""
    given = as_tensor(answer, "a list of four numbers")
    expect(given.shape == (4,), "the row has four numbers, one for each dimension")
    table = _in_float64(lambda: sinusoidal_table(5, 4))
    right = table[3]
    misread = torch.tensor([math.sin(3), math.cos(3 / 100), math.sin(3 / 1e4), math.cos(3 / 1e6)], dtype=torch.float64)
    expect(not _near(given, table[2]), "positions count from 0: this is the row of position 2")
    expect(not _near(given, right[[1, 0, 3, 2]]), "sines stand in the even columns, cosines in the odd ones")
    expect(
        not _near(given[[0, 3]], right[[0, 3]]) or _near(given[1], right[1]),
        "columns 0 and 1 are one pair and share one frequency",
    )
    expect(not _near(given, misread), "i counts the pairs, not the columns: here i is 0, 0, 1, 1")
    expect(_near(given, right), "the frequencies are 1 and 1/100; angles in radians")
    return "two clock hands, one a hundred times slower"


@check
def check_wavelength(answer: Any) -> str:
    """The first pair i, for d_model = 512 and base 10,000, whose wavelength exceeds 1,000 positions."""
    i = as_number(answer, "the number of a pair")
    expect(i == int(i) and 0 <= i < 256, f"pairs are numbered 0 to 255; got {i:g}")

    def wavelength(i: float) -> float:
        return 2 * math.pi / float(_in_float64(lambda: rope_angles(2, 512))[1, int(i)])

    expect(wavelength(i) > 1000, f"pair {i:.0f} comes round after {wavelength(i):.1f} positions already; go higher")
    expect(i == 0 or wavelength(i - 1) <= 1000, f"pair {i - 1:.0f} is longer than 1000 positions too; go lower")
    return f"its wavelength is {wavelength(i):.1f} positions"


@check
def check_shift(answer: Any) -> str:
    """The 4 x 4 matrix M with PE(t + 5) = M PE(t) for every t, d_model = 4."""
    given = as_tensor(answer, "a matrix of the shape (4, 4)")
    expect(given.shape == (4, 4), f"the answer should be a matrix of the shape (4, 4); got {tuple(given.shape)}")
    table = _in_float64(lambda: sinusoidal_table(64, 4))
    now, later = table[:-5], table[5:]
    expect(not _near(later @ given.mT, now), "that one goes back: it takes PE(t + 5) to PE(t)")
    expect(not _near(now @ given, later), "transpose it: M stands on the left of a column PE(t)")
    fits = [_near((now @ given.mT)[t], later[t]) for t in range(len(now))]
    expect(all(fits) or not any(fits), "it fits at some positions only; M may not depend on t")
    expect(all(fits), "sin(a + b) = sin a cos b + cos a sin b, cos(a + b) = cos a cos b - sin a sin b; b = 5 ω")
    return "two rotations, by 5 and by 5/100 of a radian"


@check
def check_rotary_score(answer: Any) -> str:
    """The score q·k of the chapter's query at position 9 and key at position 4, to four decimals."""
    given = as_number(answer, "the score")

    def score(m: int, n: int, **options: Any) -> float:
        angles = _in_float64(lambda: rope_angles(16, 4))
        turned = (apply_rope(x[None], angles[[p]], **options) for x, p in ((QUERY, m), (KEY, n)))
        q, k = turned
        return float((q * k).sum())

    expect(abs(given - float(QUERY @ KEY)) > HALF_A_DIGIT, "that is the score without positions; turn both first")
    expect(abs(given - score(4, 9)) > HALF_A_DIGIT, "you exchanged the positions: query at 9, key at 4")
    expect(abs(given - score(9, 4, pairing="half")) > HALF_A_DIGIT, "that is the half pairing; here (1, 2) and (3, 4)")
    expect(abs(given - score(9, 4)) <= HALF_A_DIGIT, "only 9 - 4 matters: turn the query by 5, leave the key")
    return "five steps apart, wherever they stand"


@check
def check_slopes(answer: Any) -> str:
    """The ALiBi slopes of 12 heads, in the order of the published code."""
    given = as_tensor(answer, "a list of 12 slopes").flatten()
    expect(given.shape == (12,), f"there is one slope for each of the 12 heads; got {given.numel()}")
    right = _in_float64(lambda: alibi_slopes(12))
    naive = torch.tensor([2 ** (-8 * (h + 1) / 12) for h in range(12)], dtype=torch.float64)
    expect(not _near(given, naive), "12 is no power of two: take the 8 slopes of 8 heads, then 4 of those of 16 heads")
    expect(bool((given > 0).all()), "slopes are positive; the minus sign stands in the bias")
    expect(_near(given[:8], right[:8]), "the first eight are those of 8 heads: 1/2, 1/4, ..., 1/256")
    expect(not _near(given.sort().values, right.sort().values) or _near(given, right), "right slopes, another order")
    expect(_near(given, right), "the last four: of the 16 slopes 2^(-1/2), 2^(-1), ... every other one, from the first")
    return "eight, and four between them"


@check
def check_layer_norm(answer: Any) -> str:
    """A function of (x, gain, bias) that is LayerNorm with epsilon 1e-5, without nn.LayerNorm."""
    expect(callable(answer), f"the answer should be a function of (x, gain, bias); got {type(answer).__name__}")
    x, gain, bias = _draw((3, 5, 6), (6,), (6,))
    x = x * 0.01  # so small that the place of epsilon shows
    right = nn.functional.layer_norm(x, (6,), gain, bias, 1e-5)
    given = _call(answer, x, gain, bias)
    expect(given.shape == x.shape, f"the output should have the shape of x, {tuple(x.shape)}; got {tuple(given.shape)}")
    centered = x - x.mean(-1, keepdim=True)
    deviation = x.std(-1, keepdim=True, correction=0)
    wrong: list[tuple[Tensor, str]] = [
        (centered / (x.var(-1, keepdim=True) + 1e-5).sqrt() * gain + bias, "divide the squares by D, not by D - 1"),
        (centered / (deviation + 1e-5) * gain + bias, "epsilon is added to the variance, under the root"),
        (centered / (deviation**2 + 1e-5).sqrt(), "gain and bias are missing"),
        (centered * gain + bias, "the mean is gone; now divide by the standard deviation"),
        (centered / deviation * gain + bias, "epsilon is missing: add it to the variance"),
    ]
    for value, hint in wrong:
        expect(not _near(given, value, 1e-9), hint)
    expect(_near(given, right, 1e-9), "mean and variance over the last axis, each token by itself")
    return "each token by itself, whatever stands beside it"


@check
def check_block_parameters(answer: Any) -> str:
    """How many parameters a block with d_model = 128 and d_ff = 512 has, biases and norms included."""
    given = as_number(answer, "the number of parameters")
    block = TransformerBlock(TransformerConfig(vocab_size=2, d_model=128, d_ff=512, n_heads=4))

    def count(part: nn.Module) -> int:
        return sum(p.numel() for p in part.parameters())

    right, attention, ffn = count(block), count(block.attention), count(block.ffn)
    norm = count(block.attention_norm)
    matrices = sum(p.numel() for p in block.parameters() if p.dim() == 2)
    expect(given != matrices, "the matrices are right; add the biases, and gain and bias of both norms")
    expect(given != attention + ffn, "attention and feed-forward are right; the two norms have a gain and a bias each")
    expect(given != right - norm, "there are two norms in a block, one before each sub-layer")
    expect(given == right, "4 (d² + d) for attention, 2 d f + f + d for the feed-forward net, 2 · 2 d for the norms")
    return f"{attention:,} + {ffn:,} + {2 * norm:,} = {right:,}"


@check
def check_half_pairing(answer: Any) -> str:
    """A function of x (T, D) that turns coordinates i and i + D/2 by t / 10000^(2i/D)."""
    expect(callable(answer), f"the answer should be a function of x; got {type(answer).__name__}")
    (x,) = _draw((7, 6))
    angles = _in_float64(lambda: rope_angles(7, 6))
    right = apply_rope(x, angles, pairing="half")
    given = _call(answer, x)
    expect(given.shape == x.shape, f"the output should have the shape of x, {tuple(x.shape)}; got {tuple(given.shape)}")
    expect(not _near(given, apply_rope(x, angles)), "these are neighbors turned together; pair i with i + D/2")
    expect(not _near(given, apply_rope(x, -angles, pairing="half")), "turned the wrong way round: a cos - b sin first")
    expect(_near(given[0], right[0]), "position 0 is not turned at all; yours changes it")
    expect(_near(given.norm(dim=-1), x.norm(dim=-1)), "a rotation keeps the length of every row; yours does not")
    expect(_near(given, right), "lengths are right, angles are not: pair i turns by t / 10000^(2i/D)")
    return "the pairing of most published weights"


@check
def check_pre_norm(answer: Any) -> str:
    """A function of (block, x) that gives block(x) for a pre-norm block, out of its parts."""
    expect(callable(answer), f"the answer should be a function of (block, x); got {type(answer).__name__}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        block = TransformerBlock(TransformerConfig(vocab_size=2, d_model=8, n_heads=2, d_ff=16, dropout=0.0)).double()
    (x,) = _draw((2, 5, 8))
    given = _call(answer, block, x)
    expect(given.shape == x.shape, f"the output should have the shape of x, {tuple(x.shape)}; got {tuple(given.shape)}")
    attention, ffn, first, second = block.attention, block.ffn, block.attention_norm, block.ffn_norm
    middle = x + attention(first(x))
    post = first(x + attention(x))
    wrong: list[tuple[Tensor, str]] = [
        (second(post + ffn(post)), "that is post-norm: here the norm comes before the sub-layer, inside the residual"),
        (middle + ffn(middle), "the second norm is missing"),
        (ffn(second(attention(first(x)))), "both residual connections are missing: x + ..."),
        (middle, "that is the first half; the feed-forward net is missing"),
        (x + attention(first(x)) + ffn(second(x)), "the feed-forward net should read the sum after attention, not x"),
    ]
    for value, hint in wrong:
        expect(not _near(given, value), hint)
    expect(_near(given, block(x)), "x = x + attention(norm(x)), then x = x + ffn(norm(x))")
    return "two lines, twice the same shape"


def _in_float64(make: Callable[[], Tensor]) -> Tensor:
    """A table in float64, whatever the default dtype is."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return make()
    finally:
        torch.set_default_dtype(before)


def _draw(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def _call(function: Callable[..., Any], *arguments: Any) -> Tensor:
    given = called(function, *arguments)
    expect(isinstance(given, Tensor), f"the function should return a tensor; got {type(given).__name__}")
    tensor: Tensor = given
    return tensor.detach()


def _near(given: Tensor, right: Tensor, tolerance: float = HALF_A_DIGIT) -> bool:
    return given.shape == right.shape and torch.allclose(given.double(), right.detach(), rtol=0, atol=tolerance)
