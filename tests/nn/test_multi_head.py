"""Many heads: PyTorch's own module with copied weights, cross-attention, and watching without touching."""

import pytest
import torch
from torch import nn

from companion import MultiHeadAttention, attention_weights, causal_mask, length_mask, record_attention
from companion.nn.positional import RoPE
from companion.runtime import set_fast

B, T, S, D, H = 2, 5, 7, 12, 3


def pair(*, bias: bool = True) -> tuple[MultiHeadAttention, nn.MultiheadAttention]:
    """Ours and PyTorch's with the same weights, in float64."""
    torch.manual_seed(0)
    ours = MultiHeadAttention(D, H, bias=bias).double()
    theirs = nn.MultiheadAttention(D, H, bias=bias, batch_first=True, dtype=torch.float64)
    projections = (ours.q_proj, ours.k_proj, ours.v_proj)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
        theirs.out_proj.weight.copy_(ours.out_proj.weight)
        if bias:
            for p in (*projections, ours.out_proj):
                nn.init.normal_(p.bias)
            theirs.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
            theirs.out_proj.bias.copy_(ours.out_proj.bias)
    return ours, theirs


def sequence(length: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(B, length, D, generator=generator, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("masked", ["nothing", "causal", "padding", "both"])
@pytest.mark.parametrize("kind", ["self", "cross"])
def test_equals_torch_with_copied_weights(kind, masked, bias):
    ours, theirs = pair(bias=bias)
    x = sequence(T, 1)
    context = x if kind == "self" else sequence(S, 2)
    length = context.size(1)
    causal = causal_mask(T, length) if masked in ("causal", "both") else None
    padding = length_mask(torch.tensor([length, 4]), length) if masked in ("padding", "both") else None
    mask = causal if padding is None else padding[:, None, None, :] & (True if causal is None else causal)

    y = ours(x, None if kind == "self" else context, mask=mask)
    z, maps = theirs(
        x,
        context,
        context,
        attn_mask=None if causal is None else ~causal,  # PyTorch's True means: may not attend
        key_padding_mask=None if padding is None else ~padding,
        average_attn_weights=False,
    )
    torch.testing.assert_close(y, z, rtol=1e-12, atol=1e-12)
    with record_attention(ours) as recorded:
        ours(x, None if kind == "self" else context, mask=mask)
    torch.testing.assert_close(recorded[0], maps, rtol=1e-12, atol=1e-12)

    weighting = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    (y * weighting).sum().backward()
    grads = [x.grad.clone(), None if kind == "self" else context.grad.clone()]
    x.grad = context.grad = None
    (z * weighting).sum().backward()
    torch.testing.assert_close(grads[0], x.grad, rtol=1e-11, atol=1e-12)
    if kind == "cross":
        torch.testing.assert_close(grads[1], context.grad, rtol=1e-11, atol=1e-12)
    stacked = torch.cat([p.weight.grad for p in (ours.q_proj, ours.k_proj, ours.v_proj)])
    torch.testing.assert_close(stacked, theirs.in_proj_weight.grad, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(ours.out_proj.weight.grad, theirs.out_proj.weight.grad, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("backend", ["formula", "fused", "auto"])
def test_the_causal_flag_is_the_causal_mask(backend):
    layer = MultiHeadAttention(D, H, backend=backend).double()
    x = sequence(T, 1)
    torch.testing.assert_close(layer(x, causal=True), layer(x, mask=causal_mask(T)), rtol=1e-12, atol=1e-12)
    padding = length_mask(torch.tensor([T, 2]))[:, None, None, :]
    both = layer(x, mask=padding & causal_mask(T))
    torch.testing.assert_close(layer(x, mask=padding, causal=True), both, rtol=1e-12, atol=1e-12)


@pytest.fixture
def packing(monkeypatch):
    """Lets even these few tokens take the packed product; gives a list of the calls that did."""
    calls = []
    packed = MultiHeadAttention._packed_projections
    monkeypatch.setattr("companion.nn.attention._PACK_FROM", 0)
    monkeypatch.setattr(MultiHeadAttention, "_packed_projections", lambda self, x: calls.append(x) or packed(self, x))
    return calls


def values_and_gradients(layer: MultiHeadAttention, x: torch.Tensor, **options) -> list[torch.Tensor]:
    y = layer(x, **options)
    weighting = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    return [y, *torch.autograd.grad((y * weighting).sum(), [x, *layer.parameters()])]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("backend", ["formula", "fused"])
def test_one_product_for_q_k_and_v_is_three(packing, backend, bias):
    torch.manual_seed(0)
    layer, x = MultiHeadAttention(D, H, backend=backend, bias=bias).double(), sequence(T, 1)
    for options in ({}, {"causal": True}, {"position": RoPE(T, D // H).double()}):
        packing.clear()
        packed = values_and_gradients(layer, x, **options)
        assert len(packing) == 1
        set_fast(False)
        try:
            plain = values_and_gradients(layer, x, **options)
        finally:
            set_fast(True)
        assert len(packing) == 1
        for a, b in zip(packed, plain, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


class Adapted(nn.Linear):
    """Stands for an adapter, which computes more than its weight says."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_what_is_changed_or_watched_is_called_by_itself(packing):
    x, other = sequence(T, 1), sequence(S, 2)
    layer = MultiHeadAttention(D, H).double()
    layer(x, other)
    with torch.no_grad():
        layer(x)
    handle = layer.v_proj.register_forward_hook(lambda _module, _input, output: 0 * output)
    assert torch.equal(layer(x), layer.out_proj.bias.expand(B, T, D))
    handle.remove()
    assert not packing

    layer.k_proj = Adapted(D, D).double()
    assert layer(x).isfinite().all() and not packing
    layer.k_proj = nn.utils.parametrizations.weight_norm(nn.Linear(D, D).double())
    assert layer(x).isfinite().all() and not packing
    layer.k_proj = nn.Linear(D, D, bias=False).double()
    assert layer(x).isfinite().all() and not packing
    layer.k_proj = nn.Linear(D, D).double()
    assert layer(x).isfinite().all() and len(packing) == 1


def test_the_packed_product_compiles_without_a_graph_break(packing):
    layer, x = MultiHeadAttention(D, H), sequence(T, 1).detach().float()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))
    assert packing


def test_few_tokens_are_not_worth_packing():
    layer = MultiHeadAttention(D, H)
    assert not layer._packs(torch.zeros(B, 4 * D // B - 1, D)) and layer._packs(torch.zeros(B, 4 * D // B, D))


def test_a_mask_for_each_head():
    layer, x = MultiHeadAttention(D, H).double(), sequence(T, 1)
    mask = torch.zeros(H, T, T, dtype=torch.bool)
    mask[0], mask[1], mask[2] = True, causal_mask(T), torch.eye(T, dtype=torch.bool)
    with record_attention(layer) as maps:
        layer(x, mask=mask)
    assert maps[0][:, 0].all() and not maps[0][:, 1].triu(1).any()
    assert torch.equal(maps[0][:, 2], torch.eye(T, dtype=torch.float64).expand(B, T, T))


@pytest.mark.parametrize("backend", ["formula", "fused", "auto"])
def test_recording_shows_the_real_maps_and_changes_nothing(backend):
    layer, x, context = MultiHeadAttention(D, H, backend=backend).double(), sequence(T, 1), sequence(S, 2)
    before = layer(x, context)
    with record_attention(layer) as maps:
        during = layer(x, context)
        layer(x, context, mask=causal_mask(T, S))
    assert torch.equal(before, during) and torch.equal(before, layer(x, context))
    assert [tuple(a.shape) for a in maps] == [(B, H, T, S)] * 2 and not any(a.requires_grad for a in maps)
    assert maps[0].triu(S - T + 1).any() and not maps[1].triu(S - T + 1).any()
    # from the map and the values alone, the output follows: it is the map of this very pass
    q, k, v = (
        p(z).unflatten(-1, (H, -1)).transpose(1, 2)
        for p, z in ((layer.q_proj, x), (layer.k_proj, context), (layer.v_proj, context))
    )
    torch.testing.assert_close(maps[0], attention_weights(q, k))
    torch.testing.assert_close(layer.out_proj((maps[0] @ v).transpose(1, 2).flatten(-2)), before)


def test_recording_in_training_shows_the_weights_before_dropout():
    layer, x = MultiHeadAttention(D, H, dropout=0.5).double().train(), sequence(T, 1)
    with record_attention(layer) as maps:
        torch.manual_seed(0)
        recorded = layer(x)
    torch.manual_seed(0)
    assert torch.equal(recorded, layer(x))
    torch.testing.assert_close(maps[0].sum(-1), torch.ones(B, H, T, dtype=torch.float64))


def test_recordings_nest_and_end_even_after_an_error():
    layer, x = MultiHeadAttention(D, H).double(), sequence(T, 1)
    with record_attention(layer) as outer:
        layer(x)
        with record_attention(layer) as inner:
            layer(x)
        layer(x)
        with pytest.raises(RuntimeError, match="on purpose"), record_attention(layer) as broken:
            layer(x)
            raise RuntimeError("on purpose")
        layer(x)
    layer(x)
    assert (len(outer), len(inner), len(broken)) == (3, 1, 1)
    assert layer.recorder is None


def test_recording_reaches_every_layer_in_call_order():
    model = nn.Sequential(MultiHeadAttention(D, 2), nn.Tanh(), MultiHeadAttention(D, 4))
    with record_attention(model) as maps:
        model(torch.zeros(B, T, D))
    assert [a.shape[1] for a in maps] == [2, 4]


def test_dropout_is_for_training_only():
    torch.manual_seed(0)
    layer, x = MultiHeadAttention(D, H, dropout=0.5).double(), sequence(T, 1)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))
    layer.train()
    mean = torch.stack([layer(x) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(mean, layer.eval()(x), rtol=0, atol=0.05)


@pytest.mark.parametrize("causal", [False, True])
def test_compiles_without_a_graph_break(causal):
    layer, x = MultiHeadAttention(D, H), sequence(T, 1).detach().float()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    mask = length_mask(torch.tensor([T, 2]))[:, None, None, :]
    torch.testing.assert_close(compiled(x, mask=mask, causal=causal), layer(x, mask=mask, causal=causal))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 3), r"d_model=10 must be a multiple of n_heads=3; try n_heads in \[1, 2, 5, 10\]"),
        ((10**30, 7), r"d_model=1(0{30}) must be a multiple of n_heads=7; try n_heads in \[1, 2, 4, 5, .*, 1024\]"),
        ((0, 1), "d_model=0 must be a whole number of at least 1"),
        ((12, 0), "n_heads=0 must be a whole number of at least 1"),
    ],
)
def test_heads_must_share_the_width(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(*arguments)


def test_wrong_input_is_refused_in_words():
    layer = MultiHeadAttention(D, H)
    x = torch.zeros(B, T, D)
    with pytest.raises(ValueError, match=r"x must have the shape \(batch, tokens, d_model=12\); got \(5, 12\)"):
        layer(x[0])
    with pytest.raises(ValueError, match=r"context must have the shape .* got \(2, 5, 6\)"):
        layer(x, x[..., :6])
    with pytest.raises(ValueError, match="mask must be bool"):
        layer(x, mask=torch.zeros(T, T))
    with pytest.raises(ValueError, match=r"mask must broadcast to \(..., T, S\) = \(2, 3, 5, 5\); got \(2, 5\)"):
        layer(x, mask=torch.ones(B, T, dtype=torch.bool))
    with pytest.raises(ValueError, match="holds no MultiHeadAttention"), record_attention(nn.Linear(2, 2)):
        pass
    for options, message in (({"dropout": 1.0}, "dropout=1.0"), ({"backend": "x"}, "backend='x' is not known")):
        with pytest.raises(ValueError, match=message):
            MultiHeadAttention(D, H, **options)
