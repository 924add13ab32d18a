"""The stack: PyTorch's own encoder with copied weights, and what must hold whatever the weights are."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from companion import FeedForward, MultiHeadAttention, Transformer, TransformerBlock, TransformerConfig, length_mask
from companion.runtime import fast, set_fast

B, T, V, D, H = 2, 5, 11, 12, 3
SCHEMES = ["sinusoidal", "learned", "rope", "alibi", "none"]
IDS = torch.randint(0, V, (B, T), generator=torch.Generator().manual_seed(0))


def config(**changes) -> TransformerConfig:
    fields = {"vocab_size": V, "max_len": 13, "d_model": D, "n_heads": H, "n_layers": 2, "d_ff": 20}
    return TransformerConfig(**{**fields, **changes})


def model(*, causal: bool = False, std: float = 0.5, **changes) -> Transformer:
    """Float64, evaluation mode, with weights large enough that every part matters."""
    torch.manual_seed(0)
    net = Transformer(config(init_std=std, **changes), causal=causal).double().eval()
    with torch.no_grad():
        for p in net.parameters():
            p += 0.1 * torch.randn_like(p)
    return net


def copied_to_torch(net: Transformer) -> nn.TransformerEncoder:
    c = net.config
    layer = nn.TransformerEncoderLayer(
        c.d_model, c.n_heads, c.d_ff, dropout=c.dropout, activation=c.activation, layer_norm_eps=c.norm_eps,
        batch_first=True, norm_first=c.norm == "pre", bias=c.bias, dtype=torch.float64,
    )  # fmt: skip
    final = nn.LayerNorm(c.d_model, c.norm_eps, bias=c.bias, dtype=torch.float64) if c.norm == "pre" else None
    theirs = nn.TransformerEncoder(layer, c.n_layers, norm=final, enable_nested_tensor=False).eval()
    kinds = ("weight", "bias") if c.bias else ("weight",)
    with torch.no_grad():
        for ours, their in zip(net.blocks, theirs.layers, strict=True):
            a = ours.attention
            for kind in kinds:
                joined = torch.cat([getattr(p, kind) for p in (a.q_proj, a.k_proj, a.v_proj)])
                getattr(their.self_attn, f"in_proj_{kind}").copy_(joined)
                for mine, other in (
                    (a.out_proj, their.self_attn.out_proj),
                    (ours.ffn.up_proj, their.linear1),
                    (ours.ffn.down_proj, their.linear2),
                    (ours.attention_norm, their.norm1),
                    (ours.ffn_norm, their.norm2),
                ):
                    getattr(other, kind).copy_(getattr(mine, kind))
        if final is not None:
            final.load_state_dict(net.norm.state_dict())
    return theirs


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("masked", ["nothing", "padding", "causal", "both"])
def test_equals_torch_encoder_with_copied_weights(masked, norm, activation, bias):
    causal = masked in ("causal", "both")
    net = model(norm=norm, activation=activation, bias=bias, position="none", causal=causal)
    theirs = copied_to_torch(net)
    padding = length_mask(torch.tensor([T, 2])) if masked in ("padding", "both") else None
    x = net.embedding(IDS).detach()
    triangle = ~torch.ones(T, T, dtype=torch.bool).tril() if causal else None
    expected = theirs(x, mask=triangle, src_key_padding_mask=None if padding is None else ~padding)
    got = net(IDS, padding=padding)
    real = torch.ones(B, T, dtype=torch.bool) if padding is None else padding
    torch.testing.assert_close(got[real], expected[real], rtol=1e-11, atol=1e-11)

    weighting = torch.linspace(-1, 1, int(real.sum()) * D, dtype=torch.float64).view(-1, D)
    for output in (got, expected):
        (output[real] * weighting).sum().backward()
    for ours, their in zip(net.blocks, theirs.layers, strict=True):
        a = ours.attention
        joined = torch.cat([p.weight.grad for p in (a.q_proj, a.k_proj, a.v_proj)])
        torch.testing.assert_close(joined, their.self_attn.in_proj_weight.grad, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(ours.ffn.up_proj.weight.grad, their.linear1.weight.grad, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(ours.ffn_norm.weight.grad, their.norm2.weight.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("position", SCHEMES)
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("causal", [False, True])
def test_the_readable_path_and_the_fast_one_are_the_same_function(position, norm, causal):
    net = model(position=position, norm=norm, causal=causal)
    padding = length_mask(torch.tensor([T, 3]))
    outputs = {}
    for backend in ("formula", "fused", "auto"):
        for module in net.modules():
            if isinstance(module, MultiHeadAttention):
                module.backend = backend
        net.zero_grad()
        loss = sum(net(IDS, padding=p).pow(3).sum() for p in (None, padding))
        loss.backward()
        outputs[backend] = [loss.detach(), *(p.grad.clone() for p in net.parameters())]
    for backend in ("fused", "auto"):
        for a, b in zip(outputs["formula"], outputs[backend], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("position", SCHEMES)
@pytest.mark.parametrize("backend", ["formula", "fused"])
def test_causality_a_later_token_changes_no_earlier_output(position, backend):
    net = model(position=position, backend=backend, causal=True)
    before = net(IDS)
    for t in range(1, T):
        changed = IDS.clone()
        changed[:, t] = (changed[:, t] + 1) % V
        after = net(changed)
        torch.testing.assert_close(after[:, :t], before[:, :t], rtol=1e-12, atol=1e-12)
        assert not torch.isclose(after[:, t:], before[:, t:]).all(dim=-1).any()
    torch.testing.assert_close(net(IDS[:, :3]), before[:, :3], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("position", SCHEMES)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("backend", ["formula", "fused"])
def test_padding_changes_nothing(position, causal, backend):
    net = model(position=position, backend=backend, causal=causal)
    alone = net(IDS)
    for filler in (0, V - 1):
        padded = torch.cat([IDS, torch.full((B, 4), filler)], dim=1)
        padding = length_mask(torch.tensor([T, T]), T + 4)
        torch.testing.assert_close(net(padded, padding=padding)[:, :T], alone, rtol=1e-11, atol=1e-11)
    if not causal:  # without the mask, it does change something
        assert not torch.allclose(net(padded)[:, :T], alone)


@pytest.mark.parametrize("position", SCHEMES)
def test_only_without_positions_a_shuffled_sentence_gives_shuffled_outputs(position):
    net = model(position=position)
    order = torch.tensor([3, 0, 4, 1, 2])
    same = torch.allclose(net(IDS[:, order]), net(IDS)[:, order], rtol=1e-10, atol=1e-10)
    assert same == (position == "none")


@pytest.mark.parametrize("causal", [False, True])
def test_a_batch_is_its_rows(causal):
    net = model(causal=causal)
    padding = length_mask(torch.tensor([T, 3]))
    together = net(IDS, padding=padding)
    torch.testing.assert_close(together[:1], net(IDS[:1]), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(together[1:, :3], net(IDS[1:, :3]), rtol=1e-11, atol=1e-11)


@settings(max_examples=25)
@given(
    n_heads=st.integers(1, 4), half=st.integers(1, 3), n_layers=st.integers(1, 3), d_ff=st.integers(1, 9),
    position=st.sampled_from(SCHEMES), norm=st.sampled_from(["pre", "post"]), bias=st.booleans(),
    activation=st.sampled_from(["gelu", "gelu_tanh", "relu"]), n_segments=st.integers(0, 3), embed_norm=st.booleans(),
    embed_scale=st.sampled_from([None, True, False]), causal=st.booleans(), length=st.integers(1, 6),
)  # fmt: skip
def test_random_configs_run_learn_and_survive_a_round_trip(n_heads, half, causal, length, n_segments, **fields):
    c = TransformerConfig(
        vocab_size=V, max_len=6, d_model=2 * half * n_heads, n_heads=n_heads, n_segments=n_segments, **fields
    )
    net = Transformer(c, causal=causal).double()
    ids = torch.randint(0, V, (B, length))
    segments = torch.randint(0, n_segments, (B, length)) if n_segments else None
    padding = length_mask(torch.tensor([length, 1]))
    output = net(ids, segments=segments, padding=padding)
    assert output.shape == (B, length, c.d_model) and output.dtype == torch.float64 and output.isfinite().all()
    output[padding].pow(3).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    twin = Transformer(TransformerConfig.from_dict(c.to_dict()), causal=causal).double()
    twin.load_state_dict(net.state_dict())
    a, b = (m.eval()(ids, segments=segments, padding=padding) for m in (net, twin))
    assert torch.equal(a, b)


def test_the_embedding_is_what_the_config_says():
    ids, segments = IDS, (IDS > 4).long()
    for scale, factor in ((True, math.sqrt(D)), (False, 1.0)):
        net = model(position="learned", n_segments=2, embed_norm=True, embed_scale=scale)
        e = net.embedding
        total = e.token.weight[ids] * factor + e.segment.weight[segments] + e.position.table.weight[:T]
        torch.testing.assert_close(e(ids, segments=segments), e.norm(total))
        torch.testing.assert_close(e(ids), e(ids, segments=torch.zeros_like(ids)))
    plain = model(position="none").embedding
    assert torch.equal(plain(ids), plain.token.weight[ids])


def test_a_block_by_its_equations():
    x = torch.randn(B, T, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for norm in ("pre", "post"):
        block = model(norm=norm).blocks[0]
        a, f, n1, n2 = block.attention, block.ffn, block.attention_norm, block.ffn_norm
        if norm == "pre":
            h = x + a(n1(x))
            expected = h + f(n2(h))
        else:
            h = n1(x + a(x))
            expected = n2(h + f(h))
        torch.testing.assert_close(block(x), expected)
    ffn = model().blocks[0].ffn
    by_hand = nn.functional.gelu(x @ ffn.up_proj.weight.T + ffn.up_proj.bias) @ ffn.down_proj.weight.T
    torch.testing.assert_close(ffn(x), by_hand + ffn.down_proj.bias)


def test_initial_weights():
    torch.manual_seed(0)
    c = config(d_model=96, d_ff=200, n_layers=3, init_std=0.05)
    net = Transformer(c, causal=True)
    block = net.blocks[1]
    for weight in (net.embedding.token.weight, block.attention.q_proj.weight, block.ffn.up_proj.weight):
        assert weight.std().item() == pytest.approx(0.05, rel=0.1) and abs(weight.mean()) < 0.01
    for weight in (block.attention.out_proj.weight, block.ffn.down_proj.weight):
        assert weight.std().item() == pytest.approx(0.05 / math.sqrt(6), rel=0.1)
    assert not block.attention.q_proj.bias.any() and (block.ffn_norm.weight == 1).all()
    post = Transformer(config(norm="post", d_model=96, init_std=0.05), causal=True).blocks[0]
    assert post.ffn.down_proj.weight.std().item() == pytest.approx(0.05, rel=0.1)


def test_dropout_acts_in_training_only_and_the_seed_decides():
    net = model(dropout=0.3).train()
    torch.manual_seed(0)
    first = net(IDS)
    assert not torch.equal(first, net(IDS))
    torch.manual_seed(0)
    assert torch.equal(first, net(IDS))
    net.eval()
    assert torch.equal(net(IDS), net(IDS))
    only_weights = model(dropout=0.0, attention_dropout=0.5).train()
    assert not torch.equal(only_weights(IDS), only_weights(IDS))
    no_weights = model(dropout=0.5, attention_dropout=0.0).train()
    assert no_weights.blocks[0].attention.dropout == 0.0 and no_weights.blocks[0].dropout.p == 0.5


@pytest.mark.parametrize("position", SCHEMES)
@pytest.mark.parametrize("causal", [False, True])
def test_bfloat16_autocast_is_close(position, causal):
    net = model(position=position, causal=causal, std=0.2).float()
    padding = length_mask(torch.tensor([T, 3]))
    exact = net(IDS, padding=padding)
    for backend in ("formula", "fused"):
        for block in net.blocks:
            block.attention.backend = backend
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = net(IDS, padding=padding)
        assert rough.isfinite().all()
        torch.testing.assert_close(rough.float()[padding], exact[padding], rtol=0.1, atol=0.1)
        rough.float()[padding].sum().backward()
    assert all(p.grad.isfinite().all() and p.dtype == torch.float32 for p in net.parameters())


@pytest.mark.parametrize("position", SCHEMES)
@pytest.mark.parametrize("train", [False, True])
def test_compiles_without_a_graph_break(position, train):
    torch._dynamo.reset()
    # One block: a second one is the same code, and compiling takes its time.
    net = model(position=position, causal=True, n_segments=2, n_layers=1, dropout=0.1 if train else 0.0)
    net = net.float().train(train)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    padded = {"padding": length_mask(torch.tensor([T, 3])), "segments": torch.zeros_like(IDS)}
    for options in (padded,) if train else ({}, padded):
        output = compiled(IDS, **options)
        if not train:
            torch.testing.assert_close(output, net(IDS, **options), rtol=1e-4, atol=1e-4)
        output.sum().backward()


def test_with_the_fast_paths_off_it_is_the_same_function():
    net, before = model(position="alibi", causal=True), fast()
    try:
        set_fast(True)
        quick = net(IDS)
        set_fast(False)
        torch.testing.assert_close(net(IDS), quick, rtol=1e-11, atol=1e-11)
    finally:
        set_fast(before)


@pytest.mark.parametrize("position", ["sinusoidal", "rope", "alibi"])
def test_tables_keep_their_precision_through_a_state_dict(position):
    net = model(position=position)
    assert not [name for name in net.state_dict() if "position" in name]


@pytest.mark.parametrize(
    ("ids", "options", "message"),
    [
        (torch.zeros(B, 14).long(), {}, "sequence of 14 tokens, but max_len=13; raise max_len or truncate"),
        (IDS + V, {}, r"token ids must be in 0...10 \(vocab_size=11\); got .*is this the tokenizer"),
        (IDS - V, {}, r"token ids must be in 0...10 \(vocab_size=11\); got -"),
        (IDS.float(), {}, r"ids must be whole numbers \(torch.int64\); got torch.float32; convert with ids.long"),
        (IDS[0], {}, r"ids must have the shape \(batch, tokens\) with at least one token; got \(5,\)"),
        (IDS[:, :0], {}, r"at least one token; got \(2, 0\)"),
        (IDS, {"padding": torch.tensor([[1] * T, [0] * T]).bool()}, r"rows \[1\] hold nothing but padding; leave them"),
        (IDS, {"padding": torch.ones(B, T)}, "padding must be bool, True = real token; got torch.float32"),
        (IDS, {"padding": torch.ones(B, 3).bool()}, r"padding must have the shape of ids, \(2, 5\); got \(2, 3\)"),
        (IDS, {"segments": IDS.clamp(max=1)[:, :2]}, r"segments must have the shape of ids, \(2, 5\); got \(2, 2\)"),
        (IDS, {"segments": IDS.clamp(min=2)}, r"segments must be in 0...1 \(n_segments=2\); got"),
        (IDS, {"segments": torch.zeros(B, T)}, "segments must be whole numbers"),
    ],
)
@pytest.mark.parametrize("position", ["learned", "none"])
def test_wrong_input_is_refused_in_words(ids, options, message, position):
    net = model(n_segments=2, position=position)
    with pytest.raises(ValueError, match=message):
        net(ids, **options)


def test_segments_for_a_model_without_them_are_refused():
    with pytest.raises(ValueError, match="segments were given, but the model has none; make it with n_segments=2"):
        model()(IDS, segments=torch.zeros_like(IDS))


def test_parts_refuse_what_they_do_not_know():
    with pytest.raises(ValueError, match="activation='swish' is not known"):
        FeedForward(4, 8, activation="swish")
    with pytest.raises(ValueError, match=r"x must have the shape \(batch, tokens, d_model=12\)"):
        TransformerBlock(config())(torch.zeros(B, T, 7))
