"""Checks for the exercises of the chapter on attention. The right answers are computed here, never written down."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from companion.exercises._answers import HALF_A_DIGIT, NotYet, as_number, as_tensor, check, expect
from companion.nn.attention import MultiHeadAttention, attention, attention_weights, causal_mask, length_mask

# The small example of the chapter, and of the attention bench when it opens.
X = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
W_Q = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
W_K = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
W_V = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)


@check
def check_shapes(answer: Any) -> str:
    """Shapes of scores, weights and output for five queries, seven keys, d_k = 4 and d_v = 3."""
    q, k, v = torch.zeros(5, 4), torch.zeros(7, 4), torch.zeros(7, 3)
    right = [tuple((q @ k.mT).shape), tuple(attention_weights(q, k).shape), tuple(attention(q, k, v).shape)]
    try:
        given = [tuple(int(n) for n in shape) for shape in answer]
    except (TypeError, ValueError):
        raise NotYet("give three shapes, [(rows, columns), (rows, columns), (rows, columns)]") from None
    expect(len(given) == 3, f"give three shapes: scores, weights, output; got {len(given)}")
    expect(given[0] != right[0][::-1], "the scores have one row a query and one column a key; yours are transposed")
    expect(given[0] == right[0], "the scores are q kᵀ: how many rows has q, how many columns has kᵀ?")
    expect(given[1] == right[1], "the softmax changes no shape: the weights have the shape of the scores")
    expect(
        given[2] != (right[2][0], q.size(-1)),
        "the output takes its width from the values (d_v), not from queries and keys (d_k)",
    )
    expect(given[2] == right[2], "the output is weights times v: rows of the weights, columns of v")
    return "one row a query, and the width of a value"


@check
def check_weights_by_hand(answer: Any) -> str:
    """The third row of the small example's weights, to four decimals."""
    given = as_tensor(answer, "a list of three weights")
    expect(given.shape == (3,) and given.dtype != torch.bool, "the answer should be three weights, one for each key")
    q, k = X @ W_Q, X @ W_K
    right = attention_weights(q, k)[2]
    raw = q[2] @ k.mT
    unscaled = attention_weights(q * q.size(-1) ** 0.5, k)[2]
    expect(not _near(given, raw), "these are the scores; scale them by 1/√d_k and take the softmax")
    expect(not _near(given, unscaled), "divide the scores by √d_k before the softmax")
    expect(not _near(given, raw / raw.sum()), "a softmax divides the exponentials by their sum, not the scores")
    expect(abs(float(given.sum()) - 1) < 2e-3, f"weights sum to 1; yours sum to {float(given.sum()):.4f}")
    expect(
        _near(given, right) or not bool(((given - right).abs() < 6e-3).all()),
        "close, but rounded too early: give four decimals",
    )
    expect(_near(given, right), "start from q₃ = x₃ W_Q; its products with k₁, k₂, k₃ are whole numbers")
    return "scores, divided by √2, exponentials, divided by their sum"


POSSIBLE_VALUES = torch.tensor([[0.0, 1.0], [2.0, 5.0], [4.0, 3.0]], dtype=torch.float64)
POSSIBLE_OUTPUTS = torch.tensor([[2.0, 3.0], [4.5, 3.0], [2.5, 4.0], [1.0, 4.5], [0.5, 1.5]], dtype=torch.float64)


@check
def check_possible_outputs(answer: Any) -> str:
    """Which rows of POSSIBLE_OUTPUTS can attention over POSSIBLE_VALUES give? Their numbers, 0 to 4."""
    try:
        given = {int(n) for n in answer}
    except (TypeError, ValueError):
        raise NotYet("give the numbers of the possible rows, for example {0, 3}") from None
    rows = POSSIBLE_OUTPUTS.size(0)
    expect(all(0 <= n < rows for n in given), f"the rows are numbered 0 to {rows - 1}; got {sorted(given)}")
    # w V = o and sum(w) = 1 fix the three weights: a softmax makes all of them positive.
    ones = torch.ones(3, 1, dtype=torch.float64)
    system = torch.cat([POSSIBLE_VALUES, ones], dim=1).mT
    targets = torch.cat([POSSIBLE_OUTPUTS, ones.new_ones(rows, 1)], dim=1).mT
    weights = torch.linalg.solve(system, targets).mT
    right = {n for n in range(rows) if bool((weights[n] > 0).all())}
    for n in sorted(given - right):
        outside = (POSSIBLE_OUTPUTS[n] > POSSIBLE_VALUES.amax(0)) | (POSSIBLE_OUTPUTS[n] < POSSIBLE_VALUES.amin(0))
        reason = (
            "one of its entries leaves the range of its column of V"
            if bool(outside.any())
            else "each entry lies in its column's range, but the point lies outside the triangle of the values"
        )
        raise NotYet(f"row {n} is not possible: {reason}")
    expect(given == right, f"{len(right - given)} more can be had; solve w V = o with w₁ + w₂ + w₃ = 1 and look at w")
    return "inside the triangle that the values span, and nowhere else"


@check
def check_query(answer: Any) -> str:
    """A query that gives key 1 less than 0.01 and splits the rest evenly between keys 2 and 3."""
    given = as_tensor(answer, "a query of two numbers")
    expect(given.shape == (2,) and given.dtype != torch.bool, "the answer should be a query of two numbers, [q1, q2]")
    expect(bool(given.isfinite().all()), "the numbers must be finite")
    w = attention_weights(given[None], X @ W_K)[0]
    expect(abs(float(w[1] - w[2])) < 0.01, f"keys 2 and 3 get {w[1]:.4f} and {w[2]:.4f}; which direction splits them?")
    expect(float(w[0]) < 1 / 3, f"key 1 gets {w[0]:.4f}, more than the others: turn the query round")
    expect(float(w[0]) < 0.01, f"key 1 still gets {w[0]:.4f}; a longer query in the same direction decides harder")
    return f"the weights are {w[0]:.4f}, {w[1]:.4f} and {w[2]:.4f}"


@check
def check_window_mask(answer: Any) -> str:
    """The mask of six tokens, each of which may attend itself and the two before it."""
    given = as_tensor(answer, "a bool tensor of the shape (6, 6)")
    right = causal_mask(6).triu(-2)
    return _compare_masks(given, right, causal=causal_mask(6))


@check
def check_padded_causal(answer: Any) -> str:
    """A mask for two sequences of four and two tokens, padded to four: causal, and no padding as a key."""
    given = as_tensor(answer, "a bool tensor that broadcasts to (2, 1, 4, 4)")
    padding = length_mask(torch.tensor([4, 2]))
    right = causal_mask(4) & padding[:, None, None, :]
    expect(given.shape != (2, 4, 4), "the axis of the heads is missing: index the padding with [:, None, None, :]")
    expect(not _same(given, padding[:, None, None, :]), "the padding is hidden, but a token still sees later ones")
    expect(
        not _same(given, causal_mask(4) & padding[:, None, :, None]),
        "you closed rows (queries); padding must be hidden as a key, so close columns",
    )
    return _compare_masks(given, right, causal=causal_mask(4))


@check
def check_parameters(answer: Any) -> str:
    """The number of parameters of MultiHeadAttention(d_model=512, n_heads=8)."""
    given = as_number(answer, "the number of parameters")
    with torch.device("meta"):  # shapes only: nothing is allocated
        layer = MultiHeadAttention(512, 8)
    right = sum(p.numel() for p in layer.parameters())
    matrices = sum(p.numel() for p in layer.parameters() if p.dim() == 2)
    expect(given != matrices, "the four matrices are right; each projection also has a bias")
    expect(given != matrices * 3 // 4 and given != right * 3 // 4, "there is a fourth projection, after the heads")
    expect(given not in (right * 8, matrices * 8), "the heads share d_model: each is d_model / H wide")
    expect(given == right, "count four projections, each from d_model to d_model, and their biases")
    return f"4 (d² + d) = {right:,} whatever the number of heads"


@check
def check_crossover(answer: Any) -> str:
    """The length n at which the products with n² cost as much as the projections, for d_model = 512."""
    n = as_number(answer, "a number of tokens")
    expect(
        n == int(n) and 1 <= n <= 1_000_000,
        f"the answer should be a whole number of tokens, at most 1,000,000; got {n:g}",
    )
    products, projections = count_operations(int(n), 512)
    ratio = products / projections
    expect(ratio >= 1, f"at n = {n:.0f} the products cost only {ratio:.3f} times what the projections cost; go longer")
    expect(ratio <= 1, f"at n = {n:.0f} the products already cost {ratio:.3f} times what the projections cost")
    return f"{products:,} operations each, counted in the layer itself"


@check
def check_jacobian(answer: Any) -> str:
    """The 3 x 3 matrix of the derivatives of the weights softmax(z) with respect to z = (1, 2, 3)."""
    given = as_tensor(answer, "a matrix of the shape (3, 3)")
    expect(given.shape == (3, 3) and given.dtype != torch.bool, "the answer should be a matrix of the shape (3, 3)")
    z = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    keys = torch.eye(3, dtype=torch.float64)

    def softmax(scores: Tensor) -> Tensor:
        return attention_weights(scores[None] * 3**0.5, keys)[0]  # unit keys: the scaled scores are the scores

    right: Tensor = torch.autograd.functional.jacobian(softmax, z)  # type: ignore[no-untyped-call]
    p = softmax(z)
    expect(not _near(given, torch.diag(p)), "raising one score also lowers the other weights: subtract p pᵀ")
    expect(not _near(given, -right), "the sign is turned round: a higher score raises its own weight")
    expect(not _near(given, torch.diag(p * (1 - p))), "the diagonal is right; off it stands -pᵢ pⱼ")
    expect(_near(given, right), "the derivative of pᵢ by zⱼ is pᵢ (1 - pᵢ) where i = j, and -pᵢ pⱼ elsewhere")
    return "every row sums to 0, because the weights always sum to 1"


@check
def check_heads(answer: Any) -> str:
    """A function of (layer, x) that does what the layer does, out of its projections and ``attention``."""
    expect(callable(answer), f"the answer should be a function of (layer, x); got {type(answer).__name__}")
    B, T, D, H = 2, 5, 12, 3
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer, x = MultiHeadAttention(D, H).double(), torch.randn(B, T, D, dtype=torch.float64)
    given = _run(answer, layer, x)
    expect(isinstance(given, Tensor), f"the function should return a tensor; got {type(given).__name__}")
    expect(given.shape == x.shape, f"the output should have the shape of x, {tuple(x.shape)}; got {tuple(given.shape)}")
    q, k, v = (project(x) for project in (layer.q_proj, layer.k_proj, layer.v_proj))
    expect(not _near(given, layer.out_proj(attention(q, k, v))), "that is one wide head: split the width into H parts")

    def split(a: Tensor, axes: tuple[int, ...]) -> Tensor:
        return a.reshape(axes)

    cut = [split(a, (B, H, T, D // H)) for a in (q, k, v)]
    scrambled = layer.out_proj(attention(*cut).transpose(1, 2).flatten(-2))
    expect(
        not _near(given, scrambled),
        "view(B, H, T, Dh) mixes tokens with heads: view as (B, T, H, Dh), then transpose axes 1 and 2",
    )
    heads = attention(*(split(a, (B, T, H, D // H)).transpose(1, 2) for a in (q, k, v)))
    joined = heads.transpose(1, 2).flatten(-2)
    expect(not _near(given, joined), "the heads are joined; the output projection is missing")
    expect(
        not _near(given, layer.out_proj(heads.reshape(B, T, D))),
        "the heads are right; before joining them, transpose axes 1 and 2 back",
    )
    expect(_near(given, layer(x)), "shapes are right, numbers are not; compare q of head 0 with q_proj(x)[..., :Dh]")
    return "split, attend, join, project"


def _run(answer: Callable[..., Any], layer: MultiHeadAttention, x: Tensor) -> Any:
    """What the reader's function gives; it may use the parts of the layer, not the layer."""

    def refuse(*_: object) -> None:
        raise NotYet("the function should not call the layer itself; use its projections and attention")

    hook = layer.register_forward_pre_hook(refuse)
    try:
        return answer(layer, x)
    except NotYet:
        raise
    except Exception as error:  # the reader's code may raise anything; what it was belongs into the hint
        raise NotYet(f"your function raised {type(error).__name__}: {error}") from None
    finally:
        hook.remove()


def count_operations(n: int, d_model: int, n_heads: int = 8) -> tuple[int, int]:
    """Operations of one MultiHeadAttention on n tokens: (both products with n², the four projections).

    A multiplication and an addition count as two; softmax and biases are left out. Nothing is computed: the layer runs
    on PyTorch's meta device, which knows shapes only.

    >>> count_operations(10, 16)  # 4 n² d and 8 n d²
    (6400, 20480)
    """
    with torch.device("meta"):
        layer, x = MultiHeadAttention(d_model, n_heads, backend="formula"), torch.empty(1, n, d_model)
    with FlopCounterMode(display=False) as counter:
        layer(x)
    by_kind = counter.get_flop_counts()["Global"]
    products = sum(int(count) for kind, count in by_kind.items() if kind is torch.ops.aten.bmm)
    return products, counter.get_total_flops() - products


def _near(given: Tensor, right: Tensor) -> bool:
    return given.shape == right.shape and bool(torch.allclose(given.double(), right, rtol=0.0, atol=HALF_A_DIGIT))


def _same(given: Tensor, right: Tensor) -> bool:
    """Whether two masks say the same wherever they are broadcast."""
    try:
        a, b = torch.broadcast_tensors(given, right)  # type: ignore[no-untyped-call]
    except RuntimeError:
        return False
    return a.dtype == torch.bool and torch.equal(a, b)


def _compare_masks(given: Tensor, right: Tensor, *, causal: Tensor) -> str:
    expect(given.dtype == torch.bool, "a mask is bool, True = may attend; compare with == 1 or call .bool()")
    fits = given.dim() <= right.dim() and all(
        n in (1, m) for n, m in zip(given.shape[::-1], right.shape[::-1], strict=False)
    )
    expect(fits, f"the mask must broadcast to {tuple(right.shape)}; got {tuple(given.shape)}")
    expect(not _same(given, ~right), "it is the wrong way round: True means may attend")
    expect(not _same(given, causal), "that is the causal mask; more has to be closed")
    expect(not _same(given, right.mT), "rows are queries and columns are keys; yours is transposed")
    full = given.expand(right.shape)
    wrong = (full != right).nonzero()
    if len(wrong):
        *_, query, key = wrong[0].tolist()
        state = "open, but must be closed" if bool(full[tuple(wrong[0])]) else "closed, but must be open"
        where = f"sequence {wrong[0][0].item() + 1}, " if right.dim() == 4 else ""
        raise NotYet(f"{where}query {query + 1}, key {key + 1} is {state} (counting from 1)")
    return f"{int(right.sum())} of {right.numel()} pairs are open"
