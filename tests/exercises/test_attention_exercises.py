"""Every check knows the right answer, the usual wrong ones, and the untouched stub; none of them raises."""

import inspect
import math

import pytest
import torch
from torch import Tensor

from companion import attention, attention_weights, causal_mask, length_mask
from companion.exercises import attention as exercises
from companion.exercises.attention import W_K, W_Q, X

PADDED = length_mask(torch.tensor([4, 2]))
WINDOW = causal_mask(6) & ~causal_mask(6).tril(-3)
P = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64).softmax(dim=-1)
Q, K = X @ W_Q, X @ W_K
THIRD_ROW = [0.1400, 0.2840, 0.5760]  # WIDGETS: the checks of the bench


def split(a: Tensor, H: int) -> Tensor:
    B, T, D = a.shape
    return a.view(B, T, H, D // H).transpose(1, 2)


def heads_of(layer, x):
    return attention(*(split(p(x), layer.n_heads) for p in (layer.q_proj, layer.k_proj, layer.v_proj)))


def right_heads(layer, x):
    return layer.out_proj(heads_of(layer, x).transpose(1, 2).flatten(-2))


def unprojected(layer, x):
    return heads_of(layer, x).transpose(1, 2).flatten(-2)


def not_swapped_back(layer, x):
    return layer.out_proj(heads_of(layer, x).reshape(x.shape))


def one_wide_head(layer, x):
    return layer.out_proj(attention(layer.q_proj(x), layer.k_proj(x), layer.v_proj(x)))


def scrambled(layer, x):
    B, T, _ = x.shape
    q, k, v = (p(x).reshape(B, layer.n_heads, T, -1) for p in (layer.q_proj, layer.k_proj, layer.v_proj))
    return layer.out_proj(attention(q, k, v).transpose(1, 2).flatten(-2))


def raises(layer, x):
    raise RuntimeError("boom")


RIGHT = [
    ("check_shapes", [(5, 7), (5, 7), (5, 3)]),
    ("check_shapes", [torch.Size([5, 7]), [5, 7], (5, 3)]),
    ("check_weights_by_hand", THIRD_ROW),
    ("check_weights_by_hand", torch.tensor(THIRD_ROW)),
    ("check_possible_outputs", {0, 2, 4}),
    ("check_possible_outputs", [4, 2, 0]),
    ("check_query", [8.0, 0.0]),
    ("check_query", torch.tensor([100, 0])),
    ("check_window_mask", WINDOW),
    ("check_window_mask", WINDOW.tolist()),
    ("check_padded_causal", causal_mask(4) & PADDED[:, None, None, :]),
    ("check_parameters", 1_050_624),  # 4 (512² + 512)
    ("check_crossover", 1024),
    ("check_jacobian", torch.diag(P) - torch.outer(P, P)),
    ("check_jacobian", (torch.diag(P) - torch.outer(P, P)).round(decimals=4).tolist()),
    ("check_heads", right_heads),
]

WRONG = [
    ("check_shapes", [(7, 5), (5, 7), (5, 3)], "transposed"),
    ("check_shapes", [(5, 4), (5, 7), (5, 3)], "how many rows has q"),
    ("check_shapes", [(5, 7), (5, 3), (5, 3)], "changes no shape"),
    ("check_shapes", [(5, 7), (5, 7), (5, 4)], "d_v"),
    ("check_shapes", [(5, 7), (5, 7), (7, 3)], "rows of the weights"),
    ("check_shapes", [(5, 7)], "got 1"),
    ("check_shapes", 5, "three shapes"),
    ("check_weights_by_hand", (Q[2] @ K.mT), "these are the scores"),
    ("check_weights_by_hand", (Q[2] @ K.mT).softmax(-1), "√d_k"),
    ("check_weights_by_hand", [1 / 6, 2 / 6, 3 / 6], "exponentials"),
    ("check_weights_by_hand", [0.1, 0.1, 0.1], "sum to 0.3000"),
    ("check_weights_by_hand", [0.2, 0.3, 0.5], "whole numbers"),
    ("check_weights_by_hand", [0.14, 0.28, 0.58], "four decimals"),
    ("check_weights_by_hand", attention_weights(Q, K), "three weights"),
    ("check_possible_outputs", {0, 1, 2, 4}, "row 1 is not possible: one of its entries leaves"),
    ("check_possible_outputs", {0, 2, 3, 4}, "row 3 is not possible: each entry lies"),
    ("check_possible_outputs", {0}, "2 more"),
    ("check_possible_outputs", {9}, "numbered 0 to 4"),
    ("check_possible_outputs", 3, "numbers of the possible rows"),
    ("check_query", [1.0, 0.0], "key 1 still gets"),
    ("check_query", [-8.0, 0.0], "turn the query round"),
    ("check_query", [0.0, 8.0], "keys 2 and 3 get"),
    ("check_query", [math.inf, 0.0], "finite"),
    ("check_query", [1.0], "two numbers"),
    ("check_window_mask", causal_mask(6), "more has to be closed"),
    ("check_window_mask", ~WINDOW, "wrong way round"),
    ("check_window_mask", WINDOW.mT, "transposed"),
    ("check_window_mask", WINDOW.int(), "bool"),
    ("check_window_mask", causal_mask(6).triu(-1), "query 3, key 1 is closed"),
    ("check_window_mask", causal_mask(6).triu(-3), "query 4, key 1 is open"),
    ("check_window_mask", causal_mask(5), "must broadcast"),
    ("check_padded_causal", causal_mask(4), "causal mask; more"),
    ("check_padded_causal", PADDED[:, None, None, :], "still sees later"),
    ("check_padded_causal", causal_mask(4) & PADDED[:, None, :, None], "close columns"),
    ("check_padded_causal", causal_mask(4) & PADDED[:, None, :], "axis of the heads"),
    ("check_padded_causal", ~(causal_mask(4) & PADDED[:, None, None, :]), "wrong way round"),
    (
        "check_padded_causal",
        causal_mask(4) & length_mask(torch.tensor([4, 3]))[:, None, None],
        "sequence 2, query 3, key 3",
    ),
    ("check_parameters", 4 * 512**2, "also has a bias"),
    ("check_parameters", 3 * 512**2, "fourth"),
    ("check_parameters", 8 * 4 * 512**2, "share d_model"),
    ("check_parameters", 7, "four projections"),
    ("check_crossover", 512, "go longer"),
    ("check_crossover", 2048, "already"),
    ("check_crossover", 10.5, "number of tokens"),
    ("check_crossover", -1, "number of tokens"),
    ("check_crossover", 1e9, "at most 1,000,000"),
    ("check_crossover", math.nan, "got nan"),
    ("check_jacobian", torch.diag(P), "subtract"),
    ("check_jacobian", torch.outer(P, P) - torch.diag(P), "sign"),
    ("check_jacobian", torch.diag(P * (1 - P)), "diagonal is right"),
    ("check_jacobian", torch.eye(3), "the derivative of"),
    ("check_jacobian", P, "shape"),
    ("check_heads", one_wide_head, "one wide head"),
    ("check_heads", scrambled, "mixes tokens with heads"),
    ("check_heads", unprojected, "output projection is missing"),
    ("check_heads", not_swapped_back, "transpose axes 1 and 2 back"),
    ("check_heads", lambda layer, x: layer(x), "should not call the layer itself"),
    ("check_heads", raises, "RuntimeError: boom"),
    ("check_heads", lambda layer, x: None, "got NoneType"),
    ("check_heads", lambda layer, x: x[0], "shape of x"),
    ("check_heads", lambda layer, x: x, "numbers are not"),
    ("check_heads", 3, "function of"),
]

CHECKS = sorted(name for name, _ in inspect.getmembers(exercises, callable) if name.startswith("check_"))


def test_there_are_at_least_eight_exercises_and_each_is_tested_both_ways():
    assert len(CHECKS) >= 8
    assert {name for name, _ in RIGHT} == set(CHECKS) == {name for name, _, _ in WRONG}


@pytest.mark.parametrize(("check", "answer"), RIGHT)
def test_the_right_answer(check, answer):
    assert getattr(exercises, check)(answer).startswith("right: ")


@pytest.mark.parametrize(("check", "answer", "hint"), WRONG)
def test_a_wrong_answer_gets_its_own_hint(check, answer, hint):
    said = getattr(exercises, check)(answer)
    assert said.startswith("not yet: ")
    assert hint in said


@pytest.mark.parametrize("check", CHECKS)
def test_the_untouched_stub(check):
    said = getattr(exercises, check)(...)
    assert said == "not yet: replace the three dots with your answer and run the cell again"


@pytest.mark.parametrize("nonsense", [None, "text", object(), {}, {"a": 1}, [], [[1], [2, 3]], 1j, float("nan"), True])
@pytest.mark.parametrize("check", CHECKS)
def test_nothing_makes_a_check_raise(check, nonsense):
    assert getattr(exercises, check)(nonsense).startswith("not yet: ")


def test_checking_leaves_the_random_state_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    exercises.check_heads(right_heads)
    assert torch.equal(before, torch.get_rng_state())


def test_a_default_dtype_of_the_chapter_does_not_matter():
    torch.set_default_dtype(torch.float64)
    try:
        assert all(getattr(exercises, check)(answer).startswith("right: ") for check, answer in RIGHT)
    finally:
        torch.set_default_dtype(torch.float32)


def test_operations_follow_the_formula_of_the_chapter():
    for n, d in [(3, 8), (64, 16), (100, 512)]:
        assert exercises.count_operations(n, d) == (4 * n * n * d, 8 * n * d * d)
