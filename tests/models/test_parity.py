"""The same function as Hugging Face's BERT, DistilBERT and GPT-2: tiny random models, float64, values and gradients."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from companion import BERT, GPT, TransformerConfig, from_huggingface, length_mask, to_huggingface
from companion.models.huggingface import FAMILIES, weight_names

B, T, V = 3, 7, 23
SHAPES = {  # layers, heads, width, inner width, longest
    "one layer": (1, 1, 6, 10, 7),
    "wide": (2, 3, 12, 20, 9),
    "deep": (4, 2, 8, 16, 16),
}
BERT_EXTRAS = {
    "wide": {"hidden_act": "gelu_new", "type_vocab_size": 3, "tie_word_embeddings": False},
    "deep": {"hidden_act": "relu", "layer_norm_eps": 1e-6, "attention_probs_dropout_prob": 0.2},
}


def bert(shape: str, kind: str = "BertForPreTraining", **extras):
    layers, heads, width, inner, longest = SHAPES[shape]
    config = transformers.BertConfig(
        vocab_size=V, num_hidden_layers=layers, num_attention_heads=heads, hidden_size=width, intermediate_size=inner,
        max_position_embeddings=longest, **{**BERT_EXTRAS.get(shape, {}), **extras},
    )  # fmt: skip
    return disturbed(getattr(transformers, kind)(config))


def distilbert(shape: str):
    layers, heads, width, inner, longest = SHAPES[shape]
    config = transformers.DistilBertConfig(
        vocab_size=V, n_layers=layers, n_heads=heads, dim=width, hidden_dim=inner, max_position_embeddings=longest,
        tie_word_embeddings=shape != "wide",
    )  # fmt: skip
    return disturbed(transformers.DistilBertForMaskedLM(config))


def gpt2(shape: str, **extras):
    layers, heads, width, inner, longest = SHAPES[shape]
    config = transformers.GPT2Config(
        vocab_size=V, n_layer=layers, n_head=heads, n_embd=width, n_positions=longest, bos_token_id=0, eos_token_id=0,
        **{"n_inner": None if shape == "one layer" else inner, "tie_word_embeddings": shape != "wide", **extras},
    )  # fmt: skip
    return disturbed(transformers.GPT2LMHeadModel(config))


MAKE = {"bert": bert, "distilbert": distilbert, "gpt2": gpt2}


def disturbed(model):
    """Biases and LayerNorms of a new model are 0 and 1: a weight that is forgotten would not be noticed."""
    generator = torch.Generator().manual_seed(0)
    for p in model.double().parameters():
        p.data += 0.3 * torch.randn(p.shape, generator=generator, dtype=torch.float64)
    return model.eval()


def batch(segments: int = 0) -> dict[str, torch.Tensor]:
    """Ids without 0, which Hugging Face's BERT treats as padding in the embedding's gradient; padded rows."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, V, (B, T), generator=generator)
    padding = length_mask(torch.tensor([T, T - 3, 1]))
    types = torch.randint(0, segments, (B, T), generator=generator) if segments else None
    return {"ids": ids, "padding": padding, "segments": types}


def logits_of(theirs, ours, data, masked: bool):
    """(their hidden, their logits ...), (our hidden, our logits ...) at the real positions."""
    padding = data["padding"] if masked else torch.ones(B, T, dtype=torch.bool)
    types = {} if data["segments"] is None else {"token_type_ids": data["segments"]}
    a = theirs(data["ids"], attention_mask=padding.long() if masked else None, output_hidden_states=True, **types)
    options = {"padding": padding if masked else None}
    if data["segments"] is not None:
        options["segments"] = data["segments"]
    h, b = ours.encode(data["ids"], **options), ours(data["ids"], **options)
    if isinstance(ours, GPT):
        return [a.hidden_states[-1][padding], a.logits[padding]], [h[padding], b[padding]]
    mlm = getattr(a, "prediction_logits", getattr(a, "logits", None))
    pairs = [a.hidden_states[-1][padding], mlm[padding]], [h[padding], b.mlm_logits[padding]]
    if ours.nsp_head is not None:
        pairs[0].append(a.seq_relationship_logits)
        pairs[1].append(b.nsp_logits)
    else:
        assert b.nsp_logits is None
    return pairs


def gradients(outputs, model) -> dict[str, torch.Tensor]:
    total = sum((o * torch.linspace(-1, 1, o.numel(), dtype=o.dtype).view_as(o)).sum() for o in outputs)
    model.zero_grad()
    total.backward()
    return {name: p.grad for name, p in model.named_parameters() if name not in dead_weights(model)}


def dead_weights(model) -> set[str]:
    """An untied BERT of theirs holds a bias that nothing reads."""
    untied_bert = model.config.to_dict().get("model_type") == "bert" and not model.config.tie_word_embeddings
    return {"cls.predictions.bias"} if untied_bert else set()


def by_their_names(ours, model_type: str, grads: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Our gradients under their names and in their shapes: conversion is linear, so it converts gradients, too."""
    from companion.models.convert import _put_together

    names = weight_names(ours.config, model_type)
    theirs = to_huggingface(ours)
    template = dict.fromkeys(name for name, _ in theirs.named_parameters() if name not in dead_weights(theirs))
    return _put_together({names[name]: grad for name, grad in grads.items()}, template, model_type)


@pytest.mark.parametrize("masked", [False, True], ids=["", "padding"])
@pytest.mark.parametrize("backend", ["formula", "fused"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", MAKE)
def test_hidden_states_logits_and_gradients_agree(family, shape, backend, masked):
    theirs = MAKE[family](shape)
    ours = from_huggingface(theirs)
    for module in ours.modules():
        if hasattr(module, "backend"):
            module.backend = backend
    data = batch(segments=theirs.config.type_vocab_size if family == "bert" else 0)
    expected, got = logits_of(theirs, ours, data, masked)
    assert len(got) == (3 if family == "bert" else 2)
    worst = max(float((a - b).detach().abs().max()) for a, b in zip(expected, got, strict=True))
    their_grads = gradients(expected, theirs)
    our_grads = by_their_names(ours, family, gradients(got, ours))
    assert their_grads.keys() == our_grads.keys() and all(g.any() for g in their_grads.values())
    worst_grad = max(float((their_grads[n] - our_grads[n]).abs().max()) for n in their_grads)
    assert worst < 1e-10 and worst_grad < 1e-10


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", MAKE)
def test_there_and_back_is_the_same_model(family, shape):
    theirs = MAKE[family](shape)
    ours = from_huggingface(theirs)
    back = to_huggingface(ours)
    assert type(back) is type(theirs) and not back.training and not ours.training
    for name, tensor in theirs.state_dict().items():
        assert name in dead_weights(theirs) or torch.equal(tensor, back.state_dict()[name]), name
    again = from_huggingface(back)
    assert again.config == ours.config
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    # what the conversion gives shares no memory with what it was given
    with torch.no_grad():
        next(ours.parameters()).zero_()
    assert next(theirs.parameters()).any() and next(back.parameters()).any()


@pytest.mark.parametrize("family", MAKE)
def test_a_saved_folder_is_the_same_model(family, tmp_path):
    theirs = MAKE[family]("deep")
    theirs.save_pretrained(tmp_path)
    ours, direct = from_huggingface(tmp_path), from_huggingface(theirs)
    assert ours.config == direct.config
    for name, tensor in direct.state_dict().items():
        assert torch.equal(tensor, ours.state_dict()[name]), name
    assert from_huggingface(str(tmp_path)).config == direct.config


def test_the_hubs_old_names_are_understood(tmp_path):
    """bert-base-uncased stores gamma and beta, and says BertForMaskedLM; gpt2 has no prefix, and buffers."""
    theirs = bert("deep")
    theirs.save_pretrained(tmp_path)
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in theirs.state_dict().items()
        if not name.startswith("cls.predictions.decoder")
    }
    old["bert.embeddings.position_ids"] = torch.arange(16)[None]
    save_file({name: t.contiguous().clone() for name, t in old.items()}, tmp_path / "model.safetensors")
    settings = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    settings["architectures"] = ["BertForMaskedLM"]
    (tmp_path / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    read = from_huggingface(tmp_path).state_dict()
    for name, tensor in from_huggingface(theirs).state_dict().items():
        assert torch.equal(tensor, read[name])

    theirs = gpt2("deep")
    theirs.save_pretrained(tmp_path)
    old = {n.removeprefix("transformer."): t.clone() for n, t in theirs.state_dict().items() if n != "lm_head.weight"}
    old |= {f"h.{i}.attn.bias": torch.ones(1, 1, 16, 16) for i in range(4)}
    save_file(old, tmp_path / "model.safetensors")
    read = from_huggingface(tmp_path).state_dict()
    for name, tensor in from_huggingface(theirs).state_dict().items():
        assert torch.equal(tensor, read[name])


def test_a_folder_in_several_files(tmp_path):
    theirs = bert("deep")
    theirs.save_pretrained(tmp_path, max_shard_size="5KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert torch.equal(
        from_huggingface(tmp_path).transformer.blocks[3].ffn.up_proj.weight,
        theirs.bert.encoder.layer[3].intermediate.dense.weight,
    )


def test_a_name_is_looked_up_on_the_hub(tmp_path, monkeypatch):
    import huggingface_hub

    asked = []
    bert("deep").save_pretrained(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **how: asked.append((name, how)) or tmp_path)
    monkeypatch.chdir(tmp_path)
    assert isinstance(from_huggingface("someone/tiny-bert"), BERT)
    assert asked == [("someone/tiny-bert", {"allow_patterns": ["config.json", "model*.safetensors"]})]


def test_a_bert_without_next_sentence_head():
    theirs = bert("deep", kind="BertForMaskedLM")
    ours = from_huggingface(theirs)
    assert ours.nsp_head is None and type(to_huggingface(ours)).__name__ == "BertForMaskedLM"
    expected, got = logits_of(theirs, ours, batch(segments=2), True)
    for a, b in zip(expected, got, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_converting_draws_no_random_numbers_and_ties_what_was_tied():
    theirs = gpt2("deep")
    torch.manual_seed(0)
    ours = from_huggingface(theirs)
    assert torch.equal(torch.get_rng_state(), torch.Generator().manual_seed(0).get_state())
    assert ours.lm_head.weight is ours.transformer.embedding.token.weight
    assert all(p.requires_grad for p in ours.parameters())
    assert from_huggingface(gpt2("wide")).lm_head.weight is not ours.transformer.embedding.token.weight


def test_dropout_comes_along():
    config = from_huggingface(bert("deep")).config
    assert (config.dropout, config.attention_dropout) == (0.1, 0.2)


def without(model, name, folder):
    model.save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    del state[name]
    save_file(state, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: torch.nn.Linear(2, 2), "a Linear is no Hugging Face model"),
        (lambda _: "no/such/folder", "there is no folder 'no/such/folder'; give a folder with config.json"),
        (lambda d: d / "missing", "there is no folder"),
        (lambda d: d, "holds no config.json"),
        (
            lambda _: transformers.T5ForConditionalGeneration(
                transformers.T5Config(
                    vocab_size=9, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, pad_token_id=0, eos_token_id=1
                )
            ),
            r"model_type='t5' is not supported; only \['bert', 'distilbert', 'gpt2'\] can be converted",
        ),
        (
            lambda d: without(bert("deep"), "bert.encoder.layer.2.output.dense.bias", d),
            r"missing \['encoder.layer.2.output.dense.bias'\], left over \[\]",
        ),
        (
            lambda _: bert("deep", kind="BertModel"),
            r"missing .*'cls.predictions.*the language-modeling head is missing: take the weights from a BertForPre",
        ),
        (
            lambda _: bert("deep", kind="BertForSequenceClassification"),
            r"left over \['classifier.bias', 'classifier.weight'",
        ),
        (lambda _: bert("deep", is_decoder=True), "is_decoder=True is not supported; only is_decoder=False"),
        (lambda _: bert("deep", hidden_act="silu"), r"activation 'silu' is not supported; only \['gelu', "),
        (lambda _: gpt2("deep", scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse_layer_idx=True is not"),
        (lambda _: gpt2("deep", embd_pdrop=0.3), "embd_pdrop=0.3 and resid_pdrop=0.1 differ"),
    ],
)
def test_what_is_no_such_model_is_refused_in_words(make, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        from_huggingface(make(tmp_path))


def test_weights_that_do_not_fit_their_config(tmp_path):
    bert("deep").save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    path = tmp_path / "config.json"
    path.write_text(json.dumps(settings | {"intermediate_size": 99}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"wrong shape for this config.*intermediate.*\(16, 8\), expected \(99, 8\)"):
        from_huggingface(tmp_path)
    path.write_text(json.dumps(settings | {"num_hidden_layers": 3}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"missing \[\], left over \['encoder.layer.3"):
        from_huggingface(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"holds no .safetensors file; a pytorch_model.bin can be turned into one"):
        from_huggingface(tmp_path)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (GPT(TransformerConfig(vocab_size=9, position="rope")), "gpt2 cannot express {'position': 'rope'}"),
        (BERT(TransformerConfig.preset("bert-book")), r"bert cannot express {'norm': 'pre', 'position': 'rope'}"),
        (GPT(TransformerConfig.preset("gpt2", n_layers=1, d_model=12, d_ff=8, vocab_size=9, bias=False)), "'bias'"),
    ],
)
def test_what_they_cannot_express_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        to_huggingface(model)


@pytest.mark.parametrize(
    ("preset", "kind", "model_type"),
    [
        ("bert-base", "BertForPreTraining", "bert"),
        ("distilbert", "DistilBertForMaskedLM", "distilbert"),
        ("gpt2", "GPT2LMHeadModel", "gpt2"),
    ],
)
def test_presets_are_their_defaults(preset, kind, model_type):
    from companion.models.huggingface import config_from

    settings = getattr(transformers, kind).config_class().to_dict()
    preset_config = TransformerConfig.preset(preset, attention_dropout=0.1, embed_scale=False)
    assert config_from(settings, next_sentence=preset == "bert-base" or preset == "gpt2") == preset_config
    assert config_from({"model_type": model_type}, next_sentence=preset_config.next_sentence) == preset_config
    assert FAMILIES[model_type].architectures[0] == kind
