"""Positions: definitions from the papers, one seam each, and what must hold for each scheme."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from companion import TransformerConfig, alibi_slopes, apply_rope, rope_angles, sinusoidal_table
from companion.nn.positional import ALiBi, Learned, NoPosition, RoPE, Sinusoidal, build_position

B, H, T, S, DH, D = 2, 3, 5, 7, 4, 12
F64 = torch.float64
SCHEMES = ["sinusoidal", "learned", "rope", "alibi", "none"]


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


# --- sinusoidal


@given(st.integers(1, 40), st.integers(1, 8), st.sampled_from([10.0, 500.0, 10_000.0]))
def test_sinusoidal_table_by_its_definition(positions, pairs, base):
    d = 2 * pairs
    table = sinusoidal_table(positions, d, base=base, dtype=F64)
    assert table.shape == (positions, d)
    for t in (0, positions // 2, positions - 1):
        for i in range(pairs):
            angle = t / base ** (2 * i / d)
            assert math.isclose(table[t, 2 * i], math.sin(angle), abs_tol=1e-12)
            assert math.isclose(table[t, 2 * i + 1], math.cos(angle), abs_tol=1e-12)


def test_the_sources_own_numbers():
    table = sinusoidal_table(3, 4, dtype=F64)
    assert f"{table[1, 3]:.4f}" == "1.0000" and f"{table[2, 3]:.4f}" == "0.9998"  # the source prints 0.0995, 0.1980


def test_computed_in_float64_and_rounded_once():
    table = sinusoidal_table(5000, 64)
    assert table.dtype == torch.float32
    assert torch.equal(table, sinusoidal_table(5000, 64, dtype=F64).float())
    angles = rope_angles(5000, 64)
    assert torch.equal(angles, rope_angles(5000, 64, dtype=F64).float())


def test_moving_on_is_a_linear_map_and_products_depend_on_distance():
    table = sinusoidal_table(40, 8, dtype=F64)
    shift = torch.zeros(8, 8, dtype=F64)
    for i in range(4):
        angle = torch.tensor(3 / 10_000 ** (2 * i / 8), dtype=F64)
        c, s = angle.cos(), angle.sin()
        shift[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = torch.tensor([[c, s], [-s, c]], dtype=F64)
    torch.testing.assert_close(table[:-3] @ shift.T, table[3:])
    products = table @ table.T
    for distance in range(5):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))


# --- rotary


@pytest.mark.parametrize("pairing", ["interleaved", "half"])
@given(m=st.integers(0, 60), n=st.integers(0, 60), shift=st.integers(0, 60), seed=st.integers(0, 99))
def test_rotary_products_depend_on_the_distance_only(pairing, m, n, shift, seed):
    angles = rope_angles(121, DH, dtype=F64)
    q, k = randn(2, 1, DH, seed=seed)

    def product(m, n):
        turned_q = apply_rope(q, angles[m : m + 1], pairing=pairing)
        return (turned_q @ apply_rope(k, angles[n : n + 1], pairing=pairing).T).item()

    assert math.isclose(product(m, n), product(m + shift, n + shift), rel_tol=1e-9, abs_tol=1e-9)


def test_rotary_products_do_change_with_the_distance():
    angles = rope_angles(9, DH, dtype=F64)
    q, k = randn(2, 1, DH)
    products = {round((apply_rope(q, angles[:1]) @ apply_rope(k, angles[n : n + 1]).T).item(), 6) for n in range(9)}
    assert len(products) == 9


@pytest.mark.parametrize("pairing", ["interleaved", "half"])
def test_rotary_keeps_lengths_and_leaves_position_0(pairing):
    x, angles = randn(B, H, T, DH), rope_angles(T, DH, dtype=F64)
    turned = apply_rope(x, angles, pairing=pairing)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[:, :, 0], x[:, :, 0]) and not torch.allclose(turned[:, :, 1:], x[:, :, 1:])


def test_rotary_is_multiplication_by_a_complex_number():
    x, angles = randn(B, H, T, DH), rope_angles(T, DH, dtype=F64)
    turn = torch.polar(torch.ones_like(angles), angles)
    interleaved = torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2))) * turn).flatten(-2)
    torch.testing.assert_close(apply_rope(x, angles), interleaved)
    a, b = x.chunk(2, -1)
    half = torch.complex(a, b) * turn
    torch.testing.assert_close(apply_rope(x, angles, pairing="half"), torch.cat([half.real, half.imag], -1))


def test_the_pairings_are_one_up_to_the_order_of_coordinates():
    x, angles = randn(B, H, T, DH), rope_angles(T, DH, dtype=F64)
    order = torch.tensor([0, 2, 1, 3])  # interleaved (0,1),(2,3) -> half (0,2),(1,3)
    half = apply_rope(x[..., order], angles, pairing="half")
    torch.testing.assert_close(half, apply_rope(x, angles)[..., order])


def test_half_pairing_is_what_llama_does():
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    q, k = randn(B, H, T, DH), randn(B, H, T, DH, seed=1)
    angles = rope_angles(T, DH, dtype=F64)
    doubled = torch.cat([angles, angles], -1)[None]
    theirs = apply_rotary_pos_emb(q, k, doubled.cos(), doubled.sin())
    for x, expected in zip((q, k), theirs, strict=True):
        torch.testing.assert_close(apply_rope(x, angles, pairing="half"), expected, rtol=1e-12, atol=1e-12)


def test_interleaved_pairing_is_what_gptj_does():
    from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb

    x, angles = randn(B, T, H, DH), rope_angles(T, DH, dtype=F64)
    theirs = apply_rotary_pos_emb(x, angles.sin()[None], angles.cos()[None])
    torch.testing.assert_close(apply_rope(x.transpose(1, 2), angles), theirs.transpose(1, 2), rtol=1e-12, atol=1e-12)


# --- ALiBi


def test_slopes_from_the_paper():
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]
    assert alibi_slopes(16).tolist() == pytest.approx([2.0 ** (-0.5 * i) for i in range(1, 17)])
    assert alibi_slopes(1).tolist() == [2.0**-8]


@pytest.mark.parametrize("n_heads", range(1, 33))
def test_slopes_for_any_number_of_heads_as_in_the_papers_code(n_heads):
    def power_of_two(n):  # from the authors' repository, attention_with_linear_biases
        start = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [start * start**i for i in range(n)]

    def slopes(n):
        if math.log2(n).is_integer():
            return power_of_two(n)
        closest = 2 ** math.floor(math.log2(n))
        return power_of_two(closest) + slopes(2 * closest)[0::2][: n - closest]

    assert alibi_slopes(n_heads).tolist() == pytest.approx(slopes(n_heads), rel=1e-6)


def test_bias_falls_with_distance_and_ends_at_the_last_key():
    position = ALiBi(H)
    square, wide = position.score_bias(S, S), position.score_bias(T, S)
    assert torch.equal(square[:, -T:], wide)  # fewer queries than keys: the queries are the last
    for h, slope in enumerate(position.slopes.tolist()):
        for t in range(S):
            assert square[h, t].tolist() == pytest.approx([-slope * abs(t - s) for s in range(S)])


# --- the seams


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_acts_at_exactly_one_seam(scheme):
    position = build_position(TransformerConfig(vocab_size=9, d_model=D, n_heads=H, position=scheme))
    x, q, k = randn(B, T, D).float(), randn(B, H, T, DH).float(), randn(B, H, T, DH).float()
    turned_q, turned_k = position.rotate(q, k)
    acts = {
        "add_to": not torch.equal(position.add_to(x), x),
        "rotate": not (torch.equal(turned_q, q) and torch.equal(turned_k, k)),
        "score_bias": position.score_bias(T, T) is not None,
    }
    seam = {"sinusoidal": "add_to", "learned": "add_to", "rope": "rotate", "alibi": "score_bias"}.get(scheme)
    assert [name for name, did in acts.items() if did] == ([seam] if seam else [])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_only_learned_positions_are_weights(scheme):
    position = build_position(TransformerConfig(vocab_size=9, d_model=D, n_heads=H, position=scheme))
    assert list(position.state_dict()) == (["table.weight"] if scheme == "learned" else [])


def test_modules_do_what_the_functions_do():
    x = randn(B, T, D)
    torch.testing.assert_close(Sinusoidal(S, D).double().add_to(x), x + sinusoidal_table(T, D).double())
    learned = Learned(S, D).double()
    torch.testing.assert_close(learned.add_to(x), x + learned.table.weight[:T])
    q, k = randn(B, H, T, DH), randn(B, H, S, DH, seed=1)
    angles = rope_angles(S, DH, dtype=F64)
    for pairing in ("interleaved", "half"):
        turned_q, turned_k = RoPE(9, DH, pairing=pairing).double().rotate(q, k)
        expected_q = apply_rope(q, angles[S - T :], pairing=pairing)  # the queries are the last positions
        torch.testing.assert_close(turned_q, expected_q, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(turned_k, apply_rope(k, angles, pairing=pairing), rtol=1e-6, atol=1e-6)


def test_the_base_reaches_the_tables():
    config = {"vocab_size": 9, "d_model": D, "n_heads": H, "max_len": S, "position_base": 50.0}
    sinusoidal = build_position(TransformerConfig(**config, position="sinusoidal"))
    assert torch.equal(sinusoidal.table, sinusoidal_table(S, D, base=50.0))
    rope = build_position(TransformerConfig(**config, position="rope", rope_pairing="half"))
    assert torch.allclose(rope.cos, rope_angles(S, DH, base=50.0).cos()) and rope.pairing == "half"


@pytest.mark.parametrize("position", [Sinusoidal(T, D), Learned(T, D), RoPE(T, DH)], ids=lambda p: type(p).__name__)
def test_too_long_a_sequence_is_refused(position):
    with pytest.raises(ValueError, match=r"sequence of 7 tokens, but max_len=5; raise max_len or truncate"):
        position.add_to(torch.zeros(B, S, D))
        position.rotate(torch.zeros(B, H, S, DH), torch.zeros(B, H, S, DH))


def test_alibi_and_none_have_no_longest_length():
    assert ALiBi(H).score_bias(1000, 1000).shape == (H, 1000, 1000)
    assert NoPosition().add_to(torch.zeros(1, 1000, 1)).shape == (1, 1000, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: sinusoidal_table(5, 7),
            "d_model=7 is odd; use d_model=8 and drop the last column, or an even d_model",
        ),
        (lambda: rope_angles(5, 3), "d_head=3 is odd; use an even d_head"),
        (lambda: RoPE(5, 3), "d_head=3 is odd; use an even d_head"),
        (lambda: sinusoidal_table(0, 4), "max_len=0 must be a whole number of at least 1"),
        (lambda: rope_angles(5, 4, base=0.5), "base=0.5 must be greater than 1"),
        (lambda: alibi_slopes(0), "n_heads=0 must be a whole number of at least 1"),
        (lambda: apply_rope(torch.zeros(5, 4), rope_angles(6, 4)), r"shape \(T, Dh/2\).*got \(6, 2\) for \(5, 4\)"),
        (lambda: apply_rope(torch.zeros(5, 3), torch.zeros(5, 1)), "Dh even"),
        (lambda: apply_rope(torch.zeros(5, 4), rope_angles(5, 4), pairing="x"), "pairing='x' is not known"),
        (lambda: RoPE(9, 4).rotate(torch.zeros(1, 5, 4), torch.zeros(1, 3, 4)), "5 queries at the last of 3 positions"),
    ],
)
def test_wrong_input_is_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()
