"""A classifier with its tokenizer: saved and loaded, long texts in windows, and what it says about a text."""

import json

import pytest
import torch

from companion import TextClassifier, TransformerClassifier, TransformerConfig, load_classifier, load_tokenizer
from companion.data.tokenizer import train_tokenizer
from companion.models.pretrained import load_pretrained, save_pretrained

SHAPE = {"d_model": 8, "n_heads": 2, "d_ff": 12, "n_layers": 1, "max_len": 12, "position": "rope", "init_std": 0.4}
LABELS = ("bad", "fair", "good")
TEXTS = ["A good film.", "Dull", "the film was " * 9, "It is not dull but gripping, and so on."]


def classifier(tokenizer=None, **settings) -> TextClassifier:
    tokenizer = tokenizer or load_tokenizer()
    torch.manual_seed(0)
    config = TransformerConfig(vocab_size=tokenizer.get_vocab_size(), **SHAPE)
    model = TransformerClassifier(config, len(LABELS)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.half())  # as an exported one has them
    return TextClassifier(model, tokenizer, LABELS, **settings)


def test_logits_are_those_of_the_model_whatever_stands_beside_a_text():
    judge = classifier(keep="tail")
    together = judge.logits(TEXTS)
    for i, text in enumerate(TEXTS):
        ids = judge.tokenizer.encode(text).ids
        ids = ids if len(ids) <= 12 else [ids[0], *ids[-11:-1], ids[-1]]
        alone = judge.model(torch.tensor([ids]))[0]
        torch.testing.assert_close(together[i], alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(judge.logits(TEXTS, tokens_per_batch=1), together, rtol=1e-5, atol=1e-5)
    assert torch.equal(judge.logits(judge.cut(TEXTS)), together)


def test_logits_are_averaged_over_windows():
    judge = classifier(keep="windows")
    ids = judge.tokenizer.encode(TEXTS[2]).ids[1:-1]
    assert len(ids) == 27
    windows = [[2, *ids[start : start + 10], 3] for start in (0, 8, 17)]
    expected = judge.model(torch.tensor(windows)).mean(dim=0)
    torch.testing.assert_close(judge.logits(TEXTS)[2], expected, rtol=1e-5, atol=1e-5)


def test_a_prediction_is_the_most_probable_class():
    judge = classifier(keep="both", temperature=2.0)
    probabilities = (judge.logits(TEXTS) / 2.0).softmax(-1)
    torch.testing.assert_close(judge.probabilities(TEXTS), probabilities)
    said = judge.predict(TEXTS)
    assert [p.label for p in said] == [LABELS[i] for i in probabilities.argmax(-1)]
    assert [p.probability for p in said] == pytest.approx(probabilities.max(-1).values.tolist())
    assert [(p.tokens, p.read) for p in said] == [(4, 4), (1, 1), (27, 10), (11, 10)]
    assert classifier(keep="windows").predict(TEXTS)[2].read == 27
    assert [p.unknown for p in judge.predict([*TEXTS, "भारत 🎉 film [UNK]"])] == [0, 0, 0, 0, 2]
    assert json.loads(json.dumps(said[0].to_dict()))["tokens"] == 4
    assert not judge.model.training


def test_texts_without_a_token_are_told_beforehand():
    judge = classifier()
    assert judge.readable(["good", "", " \t", "\u200b"]) == [True, False, False, False]
    with pytest.raises(ValueError, match="1 texts have no token, the first is number 1"):
        judge.predict(["good", " "])


def test_it_comes_back_as_it_was(tmp_path):
    judge = classifier(keep="windows", max_len=11, temperature=1.7, about={"step": 3})
    judge.save(tmp_path, card="# mine\n")
    back = load_classifier(tmp_path)
    assert torch.equal(back.probabilities(TEXTS), judge.probabilities(TEXTS))
    assert (back.labels, back.keep, back.max_len, back.temperature) == (LABELS, "windows", 11, 1.7)
    assert back.about == {"step": 3} and not (tmp_path / "tokenizer.json").exists()
    assert isinstance(load_pretrained(tmp_path), TransformerClassifier)


def test_a_tokenizer_of_its_own_goes_along(tmp_path):
    own = train_tokenizer(TEXTS * 3, vocab_size=60)
    judge = classifier(own, tokenizer_name="runs/data/mine/tokenizer.json")
    judge.save(tmp_path, card="")
    back = load_classifier(str(tmp_path))
    assert back.tokenizer.get_vocab_size() == 60
    assert torch.equal(back.logits(TEXTS), judge.logits(TEXTS))
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"tokenizer\.json of .* is missing or damaged"):
        load_classifier(tmp_path)


def test_the_tokenizer_of_an_earlier_export_does_not_stay(tmp_path):
    own = train_tokenizer(TEXTS * 3, vocab_size=60)
    classifier(own, tokenizer_name="its own").save(tmp_path, card="")
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    classifier().save(tmp_path, card="")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("README.md", "config.json", "model.safetensors", "notes.txt"),
    ]
    classifier(own, tokenizer_name="its own").save(tmp_path, card="")
    with pytest.raises(ValueError, match="hold values that are not finite"):
        judge = classifier()
        judge.model.head.bias.data[0] = 1e6
        judge.save(tmp_path, card="")
    assert load_classifier(tmp_path).tokenizer.get_vocab_size() == 60  # what failed has removed nothing


def test_what_is_damaged_or_no_classifier_is_named(tmp_path):
    with pytest.raises(ValueError, match="bert-book-imdb is a bert, which tells no classes; fine-tune it"):
        load_classifier("bert-book-imdb")
    judge = classifier()
    with pytest.raises(ValueError, match="a classifier, and nothing else, is saved with"):
        save_pretrained(tmp_path, judge.model, card="")
    judge.save(tmp_path, card="")
    settings = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    for change, words in (
        ({"labels": ["a", "b"]}, "do not fit"),
        ({"keep": "middle"}, "keep='middle' is not known"),
        ({"temperature": -1.0}, "temperature=-1.0 must be a finite number greater than 0"),
        ({"max_len": 13}, "max_len=13, but the model reads at most 12 tokens"),
        (None, r"config\.json of .*: classifier=None must be an object"),
    ):
        changed = {**settings, "classifier": None if change is None else {**settings["classifier"], **change}}
        (tmp_path / "config.json").write_text(json.dumps(changed), encoding="utf-8")
        with pytest.raises(ValueError, match=words):
            load_classifier(tmp_path)
    changed = {**settings, "classifier": {k: v for k, v in settings["classifier"].items() if k != "temperature"}}
    (tmp_path / "config.json").write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(ValueError, match=r"config\.json of .*: the classifier's settings lack \['temperature'\]"):
        load_classifier(tmp_path)


def test_parts_that_do_not_fit_together():
    judge = classifier()
    for arguments, words in (
        (
            (judge.model, train_tokenizer(TEXTS * 3, vocab_size=60), LABELS),
            "has 60 pieces, but the model has vocab_size=8192",
        ),
        ((judge.model, judge.tokenizer, ("neg", "pos")), "2 names for 3 classes"),
    ):
        with pytest.raises(ValueError, match=words):
            TextClassifier(*arguments)
