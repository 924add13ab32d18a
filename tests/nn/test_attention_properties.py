"""What must hold for attention whatever the numbers are."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion import attention, attention_weights, causal_mask, length_mask

sizes = st.integers(1, 6)


def tensor(*shape: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@st.composite
def problems(draw):
    """q, k, v, a random mask or None, of random sizes and with scores from tame to saturated."""
    T, S, DH, DV, seed = draw(sizes), draw(sizes), draw(sizes), draw(sizes), draw(st.integers(0, 10_000))
    scale = draw(st.sampled_from([0.1, 1.0, 30.0]))
    q, k, v = (
        tensor(2, T, DH, seed=seed, scale=scale),
        tensor(2, S, DH, seed=seed + 1, scale=scale),
        tensor(2, S, DV, seed=seed + 2),
    )
    mask = tensor(T, S, seed=seed + 3) < draw(st.floats(-1.0, 2.0)) if draw(st.booleans()) else None
    return q, k, v, mask


@given(problems())
def test_rows_sum_to_one_or_are_empty(problem):
    q, k, _, mask = problem
    weights = attention_weights(q, k, mask=mask)
    assert (weights >= 0).all()
    has_key = torch.ones(q.size(-2)) if mask is None else mask.any(-1)
    torch.testing.assert_close(weights.sum(-1), has_key.to(weights).expand(2, -1))
    assert mask is None or not weights[:, ~mask].any()


@given(problems())
def test_outputs_stay_inside_the_range_of_the_allowed_values(problem):
    q, k, v, mask = problem
    output = attention(q, k, v, mask=mask)
    allowed = torch.ones(q.size(-2), k.size(-2), dtype=torch.bool) if mask is None else mask
    for t in range(q.size(-2)):
        values = v[:, allowed[t]]
        if not allowed[t].any():
            assert not output[:, t].any()
            continue
        assert (output[:, t] <= values.amax(1) + 1e-9).all() and (output[:, t] >= values.amin(1) - 1e-9).all()


@given(problems(), st.randoms(use_true_random=False))
def test_reordering_queries_reorders_outputs_and_reordering_keys_changes_nothing(problem, random):
    q, k, v, mask = problem
    rows = random.sample(range(q.size(-2)), q.size(-2))
    columns = random.sample(range(k.size(-2)), k.size(-2))
    shuffled = None if mask is None else mask[rows][:, columns]
    output = attention(q[:, rows], k[:, columns], v[:, columns], mask=shuffled)
    torch.testing.assert_close(output, attention(q, k, v, mask=mask)[:, rows], rtol=1e-9, atol=1e-9)


@given(problems(), st.floats(-50, 50))
def test_a_constant_added_to_all_scores_of_a_query_changes_nothing(problem, constant):
    q, k, _, mask = problem
    shift = tensor(q.size(-2), 1, seed=0) * constant
    torch.testing.assert_close(
        attention_weights(q, k, mask=mask, bias=shift), attention_weights(q, k, mask=mask), rtol=1e-7, atol=1e-9
    )


@given(problems())
def test_forbidden_keys_could_as_well_be_absent(problem):
    q, k, v, mask = problem
    keep = torch.ones(k.size(-2), dtype=torch.bool) if mask is None else mask[0]
    if not keep.any():
        return
    without = attention(q, k[:, keep], v[:, keep])
    torch.testing.assert_close(attention(q, k, v, mask=keep), without, rtol=1e-9, atol=1e-9)


@settings(max_examples=50)
@given(problems())
def test_formula_equals_fused(problem):
    q, k, v, mask = problem
    for causal in (False, True):
        formula = attention(q, k, v, mask=mask, causal=causal, backend="formula")
        fused = attention(q, k, v, mask=mask, causal=causal, backend="fused")
        torch.testing.assert_close(formula, fused, rtol=1e-9, atol=1e-10)


@given(sizes, sizes)
def test_causal_mask_by_its_definition(T, S):
    mask = causal_mask(T, S)
    assert mask.dtype == torch.bool and mask.shape == (T, S)
    assert all(bool(mask[t, s]) == (s <= t + S - T) for t in range(T) for s in range(S))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.integers(0, 3))
def test_length_mask_by_its_definition(lengths, extra):
    longest = max(lengths) + extra
    mask = length_mask(torch.tensor(lengths), longest)
    assert mask.shape == (len(lengths), longest)
    assert [row.tolist() for row in mask] == [[t < n for t in range(longest)] for n in lengths]
