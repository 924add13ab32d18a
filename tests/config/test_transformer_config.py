"""Configurations are checked at birth, frozen, and survive a round trip."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion import TransformerConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"d_model": 10, "n_heads": 3}, r"d_model=10 must be a multiple of n_heads=3; try n_heads in \[1, 2, 5, 10\]"),
        ({"vocab_size": 0}, "vocab_size=0 must be a whole number of at least 1"),
        ({"n_layers": 1.5}, "n_layers=1.5 must be a whole number"),
        ({"max_len": "128"}, "max_len='128' must be a whole number"),
        ({"n_segments": -1}, "n_segments=-1 must be a whole number of at least 0"),
        ({"dropout": 1.0}, r"dropout=1.0 must be in \[0, 1\)"),
        ({"attention_dropout": -0.5}, r"attention_dropout=-0.5 must be in \[0, 1\)"),
        ({"norm": "middle"}, r"norm='middle' is not known; choose one of \['pre', 'post'\]"),
        ({"norm_eps": 0.0}, "norm_eps=0.0 must be positive"),
        ({"init_std": -1.0}, "init_std=-1.0 must be positive"),
        ({"activation": "swish"}, "activation='swish' is not known"),
        ({"backend": "flash"}, "backend='flash' is not known; choose one of"),
        ({"position": "rotary"}, r"position='rotary' is not known; choose one of \['sinusoidal', 'learned', 'rope'"),
        ({"position": ["rope"]}, "is not known; choose one of"),
        ({"position_base": 1.0}, "position_base=1.0 must be greater than 1"),
        ({"rope_pairing": "split"}, "rope_pairing='split' is not known"),
        (
            {"position": "rope", "d_model": 6, "n_heads": 2},
            "d_head=d_model/n_heads=3 is odd; change n_heads or d_model",
        ),
        (
            {"position": "sinusoidal", "d_model": 15, "n_heads": 3},
            "d_model=15 is odd; use d_model=16 or another position",
        ),
    ],
)
def test_what_cannot_work_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**{"vocab_size": 11, **fields})


def test_an_unknown_field_is_an_error_in_both_ways_of_making_one():
    with pytest.raises(ValueError, match=r"TransformerConfig has no field \['n_head'\]; it has \['vocab_size'"):
        TransformerConfig.from_dict({"vocab_size": 11, "n_head": 2})
    with pytest.raises(TypeError, match="n_head"):
        TransformerConfig(vocab_size=11, n_head=2)


def test_frozen_keyword_only_and_comparable():
    config = TransformerConfig(vocab_size=11)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.vocab_size = 12
    with pytest.raises(TypeError):
        TransformerConfig(11)
    assert config == TransformerConfig(vocab_size=11) and hash(config) == hash(TransformerConfig(vocab_size=11))
    assert dataclasses.replace(config, norm="post").norm == "post"


@given(
    n_heads=st.integers(1, 4),
    width=st.integers(1, 4),
    dropout=st.floats(0, 0.99),
    norm=st.sampled_from(["pre", "post"]),
    position=st.sampled_from(["sinusoidal", "learned", "rope", "alibi", "none"]),
    bias=st.booleans(),
)
def test_round_trip_through_json(n_heads, width, dropout, norm, position, bias):
    config = TransformerConfig(
        vocab_size=11,
        d_model=2 * n_heads * width,
        n_heads=n_heads,
        dropout=dropout,
        norm=norm,
        position=position,
        bias=bias,
    )
    assert config.d_head == 2 * width
    assert TransformerConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_what_follows_from_other_fields():
    assert TransformerConfig(vocab_size=11).weight_dropout == 0.1
    assert TransformerConfig(vocab_size=11, attention_dropout=0.0).weight_dropout == 0.0
    assert TransformerConfig(vocab_size=11, position="sinusoidal").scales_embedding
    assert not TransformerConfig(vocab_size=11, position="learned").scales_embedding
    assert TransformerConfig(vocab_size=11, position="learned", embed_scale=True).scales_embedding
    assert not TransformerConfig(vocab_size=11, embed_scale=False).scales_embedding


def test_presets_are_the_published_shapes():
    bert, gpt = TransformerConfig.preset("bert-base"), TransformerConfig.preset("gpt2")
    assert (bert.n_layers, bert.d_model, bert.n_heads, bert.d_ff, bert.vocab_size) == (12, 768, 12, 3072, 30522)
    assert (gpt.n_layers, gpt.d_model, gpt.n_heads, gpt.d_ff, gpt.vocab_size) == (12, 768, 12, 3072, 50257)
    assert (bert.norm, gpt.norm) == ("post", "pre")
    assert TransformerConfig.preset("distilbert").n_layers == 6
    for name in ("bert-book", "gpt-book"):
        book = TransformerConfig.preset(name)
        assert (book.n_layers, book.n_heads, book.d_model, book.d_ff) == (4, 4, 128, 512)
        assert (book.vocab_size, book.max_len) == (8192, 256)


def test_a_preset_can_be_changed_and_a_wrong_name_is_refused():
    assert TransformerConfig.preset("gpt2", dropout=0.0).dropout == 0.0
    with pytest.raises(ValueError, match=r"no preset 'bert'; there are \['bert-base', 'distilbert', 'gpt2'"):
        TransformerConfig.preset("bert")
    with pytest.raises(ValueError, match=r"has no field \['layers'\]"):
        TransformerConfig.preset("gpt2", layers=3)
