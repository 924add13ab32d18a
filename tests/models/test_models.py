"""BERT, GPT and the classifier: heads, pooling, tying, and what must hold for each."""

import copy

import pytest
import torch

from companion import (
    BERT,
    GPT,
    MultiHeadAttention,
    TransformerClassifier,
    TransformerConfig,
    chunked_cross_entropy,
    length_mask,
    next_token_loss,
    record_attention,
    token_cross_entropy,
)
from companion.models.classifier import masked_mean
from companion.nn.losses import next_token_labels

B, T, V, C = 3, 6, 11, 4
IDS = torch.randint(0, V, (B, T), generator=torch.Generator().manual_seed(0))
PADDING = length_mask(torch.tensor([T, 4, 1]))


def config(**changes) -> TransformerConfig:
    fields = {"vocab_size": V, "max_len": 10, "d_model": 12, "n_heads": 3, "d_ff": 20, "n_segments": 2, "init_std": 0.4}
    return TransformerConfig(**{**fields, **changes})


def make(kind, *arguments, **changes):
    torch.manual_seed(0)
    return kind(config(**changes), *arguments).double().eval()


MODELS = {
    "BERT": lambda **c: make(BERT, **c),
    "GPT": lambda **c: make(GPT, **c),
    "classifier": lambda **c: make(TransformerClassifier, C, **c),
}


@pytest.mark.parametrize("name", MODELS)
def test_state_dict_round_trip_and_deep_copy(name):
    model = MODELS[name]()
    twin = MODELS[name]()
    with torch.no_grad():
        for p in twin.parameters():
            p.zero_()
    twin.load_state_dict(model.state_dict())
    expected = flat(model(IDS, padding=PADDING))
    assert torch.equal(flat(twin(IDS, padding=PADDING)), expected)
    copied = copy.deepcopy(model)
    assert torch.equal(flat(copied(IDS, padding=PADDING)), expected)
    assert sum(p.numel() for p in copied.parameters()) == sum(p.numel() for p in model.parameters())
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict({})


def flat(output) -> torch.Tensor:
    return torch.cat([x.flatten() for x in output if x is not None]) if isinstance(output, tuple) else output.flatten()


@pytest.mark.parametrize("tied", [True, False])
def test_heads_are_tied_or_not(tied):
    for kind, decoder in ((BERT, "mlm_head.decoder"), (GPT, "lm_head")):
        model = make(kind, tied_head=tied)
        same = model.get_submodule(decoder).weight is model.transformer.embedding.token.weight
        assert same == tied
        moved = copy.deepcopy(model).to(torch.float32)
        assert (moved.get_submodule(decoder).weight is moved.transformer.embedding.token.weight) == tied
        assert abs(model.get_submodule(decoder).weight.std() - 0.4) < 0.1


def test_mlm_logits_at_chosen_rows_are_those_of_forward():
    model = make(BERT)
    full = model(IDS, padding=PADDING).mlm_logits
    assert full.shape == (B, T, V)
    chosen = torch.tensor([[1, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]]).bool()
    rows = model.mlm_head(model.encode(IDS, padding=PADDING)[chosen])
    torch.testing.assert_close(rows, full[chosen], rtol=1e-12, atol=1e-12)


def test_nsp_reads_the_first_token_and_depends_on_the_segments():
    model = make(BERT)
    segments = torch.tensor([[0, 0, 0, 1, 1, 1]]).expand(B, T)
    plain, paired = model(IDS), model(IDS, segments=segments)
    assert plain.nsp_logits.shape == (B, 2) and not torch.allclose(plain.nsp_logits, paired.nsp_logits)
    h = model.encode(IDS, segments=segments)
    torch.testing.assert_close(model.nsp_head(h[:, :1]), paired.nsp_logits)
    assert make(BERT, next_sentence=False)(IDS).nsp_logits is None


def test_gpt_never_sees_the_future_and_bert_does():
    gpt, bert = make(GPT), make(BERT)
    changed = IDS.clone()
    changed[:, -1] = (changed[:, -1] + 1) % V
    torch.testing.assert_close(gpt(changed)[:, :-1], gpt(IDS)[:, :-1], rtol=1e-12, atol=1e-12)
    assert not torch.isclose(bert(changed).mlm_logits[:, 0], bert(IDS).mlm_logits[:, 0]).all()


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_padding_changes_no_classification(pooling):
    torch.manual_seed(0)
    model = TransformerClassifier(config(), C, pooling=pooling).double().eval()
    padded = torch.cat([IDS, torch.full((B, 3), 7)], 1)
    padding = torch.cat([PADDING, torch.zeros(B, 3).bool()], 1)
    torch.testing.assert_close(model(padded, padding=padding), model(IDS, padding=PADDING), rtol=1e-11, atol=1e-11)
    for row, length in enumerate((T, 4, 1)):
        alone = model(IDS[row : row + 1, :length])
        torch.testing.assert_close(model(IDS, padding=PADDING)[row : row + 1], alone, rtol=1e-11, atol=1e-11)


def test_pooling_by_hand():
    h = torch.randn(B, T, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    by_hand = torch.stack([h[b, :n].mean(0) for b, n in enumerate((T, 4, 1))])
    torch.testing.assert_close(masked_mean(h, PADDING), by_hand)
    torch.testing.assert_close(masked_mean(h, None), h.mean(1))
    torch.manual_seed(0)
    model = TransformerClassifier(config(), C, pooling="first").double().eval()
    torch.testing.assert_close(model(IDS), model.head(model.encode(IDS)[:, 0]))


def test_chunked_loss_on_a_whole_model_has_the_same_gradients():
    """Through the tied weights, too: the embedding is read at both ends."""
    results = []
    for chunked in (False, True):
        model = make(GPT)
        if chunked:
            labels = next_token_labels(IDS, padding=PADDING)
            loss = chunked_cross_entropy(model.encode(IDS, padding=PADDING), labels, model.lm_head, chunk=4)
        else:
            loss = next_token_loss(model(IDS, padding=PADDING), IDS, padding=PADDING)
        loss.total.backward()
        results.append([loss.total.detach(), *(p.grad for p in model.parameters())])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_learns_by_heart(name):
    """A few steps of Adam on one batch: the loss falls far below chance."""
    torch.manual_seed(0)
    model = MODELS[name](dropout=0.0, init_std=0.05).float().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    labels = IDS if name != "classifier" else IDS[:, 0] % C

    def loss():
        output = model(IDS)
        logits = output.mlm_logits if name == "BERT" else output
        return (next_token_loss(logits, IDS) if name == "GPT" else token_cross_entropy(logits, labels)).mean

    first = loss().item()
    for _ in range(60):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
    assert loss().item() < 0.2 * first


@pytest.mark.parametrize("name", MODELS)
def test_autocast_and_compile_smoke(name):
    torch._dynamo.reset()
    model = MODELS[name](n_layers=1).float()
    exact = flat(model(IDS, padding=PADDING))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = flat(model(IDS, padding=PADDING))
    assert rough.isfinite().all() and (rough.float() - exact).abs().mean() < 0.1 * exact.abs().mean()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(flat(compiled(IDS, padding=PADDING)), exact, rtol=1e-4, atol=1e-4)


def test_attention_of_a_whole_model_is_recorded():
    model = make(BERT, n_layers=3)
    before = flat(model(IDS))
    with record_attention(model) as maps:
        during = flat(model(IDS, padding=None))
    assert torch.equal(before, during)
    assert [tuple(a.shape) for a in maps] == [(B, 3, T, T)] * 3
    assert not torch.equal(maps[0], maps[1])
    assert sum(isinstance(m, MultiHeadAttention) for m in model.modules()) == 3


def test_wrong_input_is_refused_in_words():
    with pytest.raises(ValueError, match="n_classes=1 must be a whole number of at least 2"):
        TransformerClassifier(config(), 1)
    with pytest.raises(ValueError, match=r"pooling='max' is not known; choose one of \['mean', 'first'\]"):
        TransformerClassifier(config(), C, pooling="max")
    empty = PADDING.clone()
    empty[2] = False
    for name, build in MODELS.items():
        with pytest.raises(ValueError, match=r"rows \[2\] hold nothing but padding"):
            build()(IDS, padding=empty)
        with pytest.raises(ValueError, match=r"got 11; is this the tokenizer"):
            build()(IDS.clamp(min=V))
        with pytest.raises(ValueError, match="sequence of 12 tokens, but max_len=10"):
            build()(IDS.repeat(1, 2))
        assert name
