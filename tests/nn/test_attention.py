"""The formula, the fused kernel and PyTorch agree, in values and in gradients; wrong input is refused in words."""

import math

import pytest
import torch
from torch.nn import functional as F

from companion import attention, attention_weights, causal_mask, length_mask
from companion.nn.attention import faster_backend

B, H, T, S, DH, DV = 2, 3, 5, 7, 4, 6  # pairwise different: a swapped axis cannot hide
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def random_qkv(*leading: int, dtype: torch.dtype = torch.float64, dv: int = DV, keys: int = S) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((T, DH), (keys, DH), (keys, dv))
    return [torch.randn(*leading, *shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


def random_mask(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) < 0.6


MASKS = {
    "none": None,
    "causal": causal_mask(T, S),
    "padding": length_mask(torch.tensor([7, 4]))[:, None, None, :],
    "all padding in one row": length_mask(torch.tensor([7, 0]))[:, None, None, :],
    "empty rows": torch.ones(T, S, dtype=torch.bool).index_fill(0, torch.tensor([0, 3]), False),
    "strictly earlier": torch.ones(T, S, dtype=torch.bool).tril(-1),
    "random": random_mask(B, H, T, S),
    "one axis": random_mask(S),
}


def value_and_gradients(q, k, v, **options):
    inputs = [q, k, v] + ([options["bias"]] if options.get("bias") is not None else [])
    output = attention(q, k, v, **options)
    weighting = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    return [output.detach(), *torch.autograd.grad(output, inputs, weighting)]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("with_bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("causal", [False, True], ids=["", "causal flag"])
@pytest.mark.parametrize("mask", MASKS)
def test_formula_equals_fused_in_values_and_gradients(mask, causal, with_bias, dtype):
    q, k, v = random_qkv(B, H, dtype=dtype)
    bias = torch.linspace(-2, 2, H * T * S, dtype=dtype).view(H, T, S).requires_grad_() if with_bias else None
    formula, fused = (
        value_and_gradients(q, k, v, mask=MASKS[mask], bias=bias, causal=causal, backend=backend)
        for backend in ("formula", "fused")
    )
    for a, b in zip(formula, fused, strict=True):
        assert a.isfinite().all()
        torch.testing.assert_close(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("leading", [(), (2,), (2, 3), (2, 3, 2)], ids=str)
@pytest.mark.parametrize("dv", [DH, DV])
@pytest.mark.parametrize("keys", [T, S])
@pytest.mark.parametrize("causal", [False, True])
def test_any_leading_axes_widths_and_lengths(leading, dv, keys, causal):
    q, k, v = random_qkv(*leading, dv=dv, keys=keys)
    formula, fused, auto = (
        value_and_gradients(q, k, v, causal=causal, backend=backend) for backend in ("formula", "fused", "auto")
    )
    assert formula[0].shape == (*leading, T, dv)
    for a, b, c in zip(formula, fused, auto, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(a, c, rtol=1e-12, atol=1e-12)


def test_leading_axes_broadcast():
    q, k, v = random_qkv(B, H)
    one_head = attention(q, k[:, :1], v[0, :1], backend="formula")
    torch.testing.assert_close(one_head, attention(q, k[:, :1].expand_as(k), v[0, :1].expand_as(v)))
    torch.testing.assert_close(one_head, attention(q, k[:, :1], v[0, :1], backend="fused"))


def test_formula_is_the_equation():
    q, k, v = random_qkv(B, H)
    weights = torch.softmax(q @ k.mT / math.sqrt(DH), dim=-1)
    torch.testing.assert_close(attention_weights(q, k), weights, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(attention(q, k, v), weights @ v, rtol=1e-12, atol=1e-12)


def test_by_hand_one_number_at_a_time():
    q, k, v = (x.detach() for x in random_qkv())
    for t in range(T):
        scores = [sum(float(q[t, i] * k[s, i]) for i in range(DH)) / math.sqrt(DH) for s in range(S)]
        total = sum(math.exp(score) for score in scores)
        for j in range(DV):
            expected = sum(math.exp(scores[s]) / total * float(v[s, j]) for s in range(S))
            assert math.isclose(float(attention(q, k, v)[t, j]), expected, rel_tol=1e-10, abs_tol=1e-12)


@pytest.mark.parametrize("backend", ["formula", "fused"])
def test_the_causal_flag_is_the_causal_mask(backend):
    for keys in (T, S, T - 2):  # the last gives the first queries no key at all
        q, k, v = random_qkv(B, H, keys=keys)
        flag = value_and_gradients(q, k, v, causal=True, backend=backend)
        mask = value_and_gradients(q, k, v, mask=causal_mask(T, keys), backend=backend)
        for a, b in zip(flag, mask, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        weights = attention_weights(q, k, causal=True)
        torch.testing.assert_close(weights, attention_weights(q, k, mask=causal_mask(T, keys)))
        assert not weights[..., ~causal_mask(T, keys)].any()


@pytest.mark.parametrize("backend", ["formula", "fused"])
def test_a_query_without_keys_gets_zeros_and_no_gradient(backend):
    q, k, v = random_qkv(B, H)
    mask = MASKS["empty rows"]
    output, q_grad, k_grad, v_grad = value_and_gradients(q, k, v, mask=mask, backend=backend)
    assert not output[:, :, [0, 3]].any() and not q_grad[:, :, [0, 3]].any()
    assert k_grad.isfinite().all() and v_grad.isfinite().all() and k_grad.any() and v_grad.any()
    weights = attention_weights(q, k, mask=mask)
    assert not weights[:, :, [0, 3]].any()
    torch.testing.assert_close(weights[:, :, [1, 2, 4]].sum(-1), torch.ones(B, H, 3, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_masked_keys_count_for_nothing_however_large_their_scores(dtype):
    q, k, v = torch.ones(1, 4, dtype=dtype), torch.ones(3, 4, dtype=dtype), torch.eye(3, dtype=dtype)
    k[2] = 5000.0  # a score of 10,000, near the end of float16's range
    mask = torch.tensor([True, True, False])
    assert attention(q, k, v, mask=mask, backend="formula").tolist() == [[0.5, 0.5, 0.0]]
    assert attention_weights(q, -k, mask=~mask).tolist() == [[0.0, 0.0, 1.0]]


def test_dropout_zeroes_the_promised_share_and_keeps_the_mean():
    torch.manual_seed(0)
    q, k = torch.zeros(1, 400, 4), torch.zeros(1, 500, 4)
    for backend in ("formula", "fused"):
        weights = attention(q, k, torch.eye(500), dropout=0.2, backend=backend)  # (1, 400, 500): the dropped weights
        kept = weights > 0
        assert abs(kept.double().mean() - 0.8) < 0.005  # 200,000 draws: a standard error of 0.0009
        torch.testing.assert_close(weights[kept], torch.full_like(weights[kept], 1 / (500 * 0.8)), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("wide", "kernel_from"), [(True, 256), (False, 160)], ids=["512 bits", "256 bits"])
def test_auto_takes_the_faster_one_by_length(monkeypatch, wide, kernel_from):
    monkeypatch.setattr("companion.nn.attention._KERNEL_FROM", kernel_from)

    def chosen(length: int, *, train: bool, dtype: torch.dtype = torch.float32, **options) -> str:
        x = torch.zeros(1, length, 8, dtype=dtype, requires_grad=train)
        return faster_backend(x, x, **options)

    # measured fused / formula on 256-bit vectors: trained 1.14 at 128, 0.79 at 192; without gradients 0.90 at 64
    # on 512-bit vectors: trained 2.2 at 128, 1.0 at 256; without gradients level at 64
    trained = {length: chosen(length, train=True) for length in (64, 128, 192, 256, 1024)}
    assert trained[64] == trained[128] == "formula" and trained[256] == trained[1024] == "fused"
    assert trained[192] == ("formula" if wide else "fused")
    assert [chosen(length, train=False) for length in (32, 64, 128, 1024)] == ["formula", "fused", "fused", "fused"]
    with torch.no_grad():
        assert chosen(128, train=True) == "fused"
    assert chosen(1024, train=True, dropout=0.1) == "formula"  # the CPU kernel has no dropout
    assert chosen(512, train=False, dtype=torch.bfloat16) == "formula"
    assert chosen(1024, train=True, dtype=torch.bfloat16) == "fused"


@pytest.mark.parametrize("backend", ["formula", "fused", "auto"])
def test_bfloat16_autocast_with_masks_and_float32_bias(backend):
    q, k, v = random_qkv(B, H, dtype=torch.float32)
    bias = torch.linspace(-2, 2, H * T * S).view(H, T, S)
    exact = attention(q, k, v, mask=MASKS["empty rows"], bias=bias, causal=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for a, b, c in ((q, k, v), (q.bfloat16(), k.bfloat16(), v.bfloat16()), (q, k, v.bfloat16())):
            output = attention(a, b, c, mask=MASKS["empty rows"], bias=bias, causal=True, backend=backend)
            torch.testing.assert_close(output.float(), exact, rtol=0.05, atol=0.03)


@pytest.mark.parametrize("backend", ["formula", "fused", "auto"])
def test_compiles_without_a_graph_break(backend):
    q, k, v = random_qkv(B, H, dtype=torch.float32)

    def run(q, k, v, mask, bias):
        plain = attention(q, k, v, causal=True, backend=backend)
        return plain + attention(q, k, v, mask=mask, bias=bias, dropout=0.0, backend=backend)

    arguments = (q, k, v, MASKS["random"], torch.ones(H, T, S))
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*arguments), run(*arguments), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (((5, 4), (7, 3), (7, 6)), {}, r"same width d_k; got q \(5, 4\), k \(7, 3\), v \(7, 6\)"),
        (((5, 4), (7, 4), (6, 6)), {}, "one value for each key"),
        (((4,), (7, 4), (7, 6)), {}, r"at least the axes \(tokens, width\)"),
        (((2, 5, 4), (3, 7, 4), (3, 7, 6)), {}, "leading axes of q, k and v must agree or be 1"),
        (((5, 4), (7, 4), (7, 6)), {"mask": torch.ones(5, 6, dtype=torch.bool)}, r"mask must broadcast to .*\(5, 7\)"),
        (((5, 4), (7, 4), (7, 6)), {"mask": torch.ones(1, 5, 7, dtype=torch.bool)}, r"mask must broadcast to"),
        (
            ((5, 4), (7, 4), (7, 6)),
            {"mask": torch.ones(5, 7)},
            r"mask must be bool.*got torch.float32; write mask.bool",
        ),
        (((5, 4), (7, 4), (7, 6)), {"mask": torch.ones(5, 7).long()}, r"mask must be bool.*torch.int64"),
        (((5, 4), (7, 4), (7, 6)), {"bias": torch.ones(2, 7)}, "bias must broadcast to"),
        (((5, 4), (7, 4), (7, 6)), {"dropout": 1.0}, r"dropout=1.0 must be in \[0, 1\)"),
        (((5, 4), (7, 4), (7, 6)), {"backend": "flash"}, r"backend='flash' is not known; choose one of \['auto'"),
    ],
)
def test_wrong_input_is_refused_in_words(shapes, options, message):
    q, k, v = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=message):
        attention(q, k, v, **options)


def test_parity_with_pytorch():
    q, k, v = random_qkv(B, H)
    torch.testing.assert_close(
        attention(q, k, v, mask=MASKS["random"]), F.scaled_dot_product_attention(q, k, v, attn_mask=MASKS["random"])
    )
