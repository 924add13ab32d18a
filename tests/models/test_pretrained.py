"""Saved and loaded models: the same answers, everything accounted for, errors that say what is there."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from companion.config import TransformerConfig
from companion.data.tokenizer import load_tokenizer
from companion.models.bert import BERT
from companion.models.gpt import GPT
from companion.models.pretrained import load_pretrained, save_pretrained
from companion.models.pretrained_files import pretrained_names

V, D = 23, 8
CONFIG = TransformerConfig(vocab_size=V, max_len=7, d_model=D, n_layers=2, n_heads=2, d_ff=12, n_segments=2)


def half(model):
    """The model with its weights rounded as a saved one has them."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half())
    return model.eval()


@pytest.fixture
def saved(tmp_path):
    model = half(BERT(CONFIG))
    save_pretrained(tmp_path / "mine", model, card="# mine\n", about={"step": 5})
    return model, tmp_path / "mine"


def test_a_bert_comes_back_as_it_was(saved):
    model, folder = saved
    loaded = load_pretrained(folder)
    assert isinstance(loaded, BERT) and not loaded.training and loaded.config == CONFIG
    ids = torch.tensor([[1, 2, 3, 4, 5]])
    torch.testing.assert_close(loaded(ids).mlm_logits, model(ids).mlm_logits, rtol=0, atol=0)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}


@pytest.mark.parametrize("tied", [True, False])
def test_a_gpt_comes_back_with_its_head_tied_or_not(tmp_path, tied):
    config = TransformerConfig(vocab_size=V, max_len=7, d_model=D, tied_head=tied)
    model = half(GPT(config))
    save_pretrained(tmp_path, model, card="# mine\n")
    loaded = load_pretrained(str(tmp_path))
    assert isinstance(loaded, GPT)
    assert (loaded.lm_head.weight is loaded.transformer.embedding.token.weight) == tied
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(loaded(ids), model(ids), rtol=0, atol=0)


def test_shared_weights_are_stored_once_in_half_precision(saved):
    model, folder = saved
    tensors = load_file(folder / "model.safetensors")
    assert sum(t.numel() for t in tensors.values()) == sum(p.numel() for p in model.parameters())
    assert {t.dtype for t in tensors.values()} == {torch.float16}
    assert (folder / "README.md").read_text(encoding="utf-8") == "# mine\n"
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["about"] == {"step": 5}


def test_loading_costs_no_random_numbers(saved):
    _, folder = saved
    before = torch.random.get_rng_state()
    load_pretrained(folder)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_unknown_name_lists_those_that_ship():
    with pytest.raises(ValueError, match="no pretrained model 'bert-huge'") as error:
        load_pretrained("bert-huge")
    assert all(name in str(error.value) for name in pretrained_names())
    assert "a command also takes a run's folder that holds a checkpoint (step-...)" in str(error.value)


def test_weights_that_are_missing_left_over_or_misshapen_are_named(saved):
    _, folder = saved
    path = folder / "model.safetensors"
    whole = load_file(path)
    name = "transformer.blocks.1.ffn.up_proj.bias"
    for tensors, words in (
        ({k: v for k, v in whole.items() if k != name}, rf"missing \['{name}'\]"),
        ({**whole, "extra": torch.zeros(2)}, r"left over \['extra'\]"),
        ({**whole, name: torch.zeros(3)}, rf"wrong shape \['{name}'\]"),
    ):
        save_file(tensors, path)
        with pytest.raises(ValueError, match=words):
            load_pretrained(folder)


def test_damaged_files_are_named(saved):
    _, folder = saved
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"model\.safetensors of .* is missing or damaged"):
        load_pretrained(folder)
    (folder / "config.json").write_text('{"kind": "bert"}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"config\.json of .* is missing or damaged"):
        load_pretrained(folder)
    (folder / "config.json").write_text('{"kind": "rnn", "config": {}, "about": {}}', encoding="utf-8")
    with pytest.raises(ValueError, match="kind='rnn'; expected one of"):
        load_pretrained(folder)
    for text, words in (
        ('{"kind": [], "config": {}, "about": {}}', r"kind=\[\]; expected one of"),
        ('{"kind": "bert", "config": {}, "about": {}}', r"config\.json of .*: .*'vocab_size'; mend it there"),
        ("[" * 100_000, r"config\.json of .* is missing or damaged"),
    ):
        (folder / "config.json").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=words):
            load_pretrained(folder)


def test_a_tokenizer_goes_along_and_goes_with_its_export_only(tmp_path):
    tokenizer, model = load_tokenizer(), BERT(CONFIG)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    for folder in (theirs, tmp_path / "mine"):
        folder.mkdir(exist_ok=True)
        (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
        save_pretrained(folder, model, card="")
        assert (folder / "tokenizer.json").read_text(encoding="utf-8") == "{}"  # no export was here
        save_pretrained(folder, model, card="", tokenizer=tokenizer)
        assert load_tokenizer(folder).get_vocab() == tokenizer.get_vocab()
        save_pretrained(folder, model, card="")
        assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_weights_that_half_precision_cannot_hold_are_refused(tmp_path):
    model = BERT(CONFIG)
    with torch.no_grad():
        model.nsp_head.output.bias[0] = 1e6
    with pytest.raises(ValueError, match=r"nsp_head\.output\.bias"):
        save_pretrained(tmp_path, model, card="")
