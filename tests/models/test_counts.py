"""How many parameters the published models have: from our configs, from theirs, and by hand."""

import pytest
import torch
import transformers

from companion import BERT, GPT, Transformer, TransformerConfig


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())  # shared weights count once


def on_meta(make):
    with torch.device("meta"):
        return make()


def by_hand(c: TransformerConfig) -> int:
    """Of the stack: embeddings, blocks, final LayerNorm."""
    norm = 2 * c.d_model
    embeddings = (c.vocab_size + c.max_len + c.n_segments) * c.d_model + norm * c.embed_norm
    attention = 4 * (c.d_model * c.d_model + c.d_model)
    ffn = c.d_model * c.d_ff + c.d_ff + c.d_ff * c.d_model + c.d_model
    return embeddings + c.n_layers * (attention + ffn + 2 * norm) + norm * (c.norm == "pre")


def test_bert_base():
    model = on_meta(lambda: BERT(TransformerConfig.preset("bert-base")))
    pooler = count(model.nsp_head.pooler)
    assert count(model.transformer) + pooler == 109_482_240  # what BertModel has, the paper's "110M"
    assert count(model.transformer) == by_hand(model.config) == 108_891_648
    assert count(model) == 110_106_428
    assert count(on_meta(lambda: transformers.BertModel(transformers.BertConfig()))) == 109_482_240
    assert count(on_meta(lambda: transformers.BertForPreTraining(transformers.BertConfig()))) == count(model)


def test_distilbert():
    model = on_meta(lambda: BERT(TransformerConfig.preset("distilbert")))
    assert count(model.transformer) == by_hand(model.config) == 66_362_880
    assert count(model) == 66_985_530
    theirs = on_meta(lambda: transformers.DistilBertForMaskedLM(transformers.DistilBertConfig()))
    assert count(theirs) == count(model) and count(theirs.distilbert) == count(model.transformer)


def test_gpt2():
    model = on_meta(lambda: GPT(TransformerConfig.preset("gpt2")))
    assert count(model) == by_hand(model.config) == 124_439_808  # the head is the embedding
    assert count(on_meta(lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config()))) == 124_439_808


@pytest.mark.parametrize(("preset", "kind", "expected"), [("bert-book", BERT, 1_884_162), ("gpt-book", GPT, 1_841_920)])
def test_the_books_own(preset, kind, expected):
    model = kind(TransformerConfig.preset(preset))
    assert count(model) == expected
    assert 1.8e6 < expected < 1.95e6


def test_untied_heads_have_their_own_weights():
    config = TransformerConfig(vocab_size=11, d_model=8, n_heads=2)
    untied = TransformerConfig(vocab_size=11, d_model=8, n_heads=2, tied_head=False)
    for kind in (GPT, BERT):
        assert count(kind(untied)) - count(kind(config)) == 11 * 8


def test_without_biases():
    config = TransformerConfig(vocab_size=11, d_model=8, n_heads=2, d_ff=10, n_layers=1, bias=False)
    assert count(Transformer(config, causal=True)) == 11 * 8 + 4 * 64 + 2 * 80 + 3 * 8
    assert not [name for name, _ in BERT(config).named_parameters() if name.endswith("bias")]
