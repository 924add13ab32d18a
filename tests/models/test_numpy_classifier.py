"""The forward pass in NumPy against the one in PyTorch; what it does not know it leaves alone."""

import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from companion import (
    TextClassifier,
    TransformerClassifier,
    TransformerConfig,
    apply_rope,
    load_classifier,
    load_tokenizer,
    mini_reviews,
    rope_angles,
)
from companion.data.tokenizer import train_tokenizer
from companion.models.numpy_classifier import gelu, load_numpy_classifier, rotate, softmax

SHAPE = {"d_model": 16, "n_heads": 2, "d_ff": 24, "n_layers": 2, "max_len": 12, "position": "rope", "init_std": 0.4}
TEXTS = [
    "A good film.",
    "Dull",
    "the film was " * 9,
    "It is not dull but gripping, and so on.",
    "[SEP] [MASK]",
    "भारत 🎉 film",
]


def saved(folder, tokenizer=None, *, pooling="mean", config=None, labels=("bad", "fair", "good"), **settings):
    tokenizer = tokenizer or load_tokenizer()
    torch.manual_seed(0)
    shape = TransformerConfig(vocab_size=tokenizer.get_vocab_size(), **{**SHAPE, **(config or {})})
    model = TransformerClassifier(shape, len(labels), pooling=pooling).eval()
    with torch.no_grad():
        for p in model.parameters():  # norms and biases count, too
            p.add_(torch.randn_like(p) * 0.2)
    name = {} if tokenizer.get_vocab_size() == load_tokenizer().get_vocab_size() else {"tokenizer_name": "its own"}
    TextClassifier(model, tokenizer, labels, **name, **settings).save(folder, card="")
    return folder


def check_the_same(folder, texts=TEXTS):
    ours, torch_one = load_numpy_classifier(folder), load_classifier(folder)
    logits = torch_one.logits(texts)
    assert logits.std() > 0.1  # or there would be nothing to compare
    torch.testing.assert_close(torch.tensor(ours.logits(texts)).float(), logits, rtol=1e-4, atol=1e-4)
    said, expected = ours.predict(texts), torch_one.predict(texts)
    assert [s.probability for s in said] == pytest.approx([e.probability for e in expected], rel=1e-4)
    fields = ("label", "tokens", "read", "unknown")
    assert [[getattr(s, f) for f in fields] for s in said] == [[getattr(e, f) for f in fields] for e in expected]


@pytest.mark.parametrize("keep", ["head", "tail", "both", "windows"])
@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_it_says_what_the_network_says(tmp_path, keep, pooling):
    check_the_same(saved(tmp_path, keep=keep, pooling=pooling, temperature=2.5, max_len=9))


@pytest.mark.parametrize(
    "changes",
    [{"embed_norm": True}, {"n_segments": 2}, {"embed_scale": True}, {"position_base": 50.0}, {"rope_pairing": "half"}],
)
def test_it_knows_the_variants_of_the_shape(tmp_path, changes):
    check_the_same(saved(tmp_path, config=changes))


def test_a_tokenizer_of_its_own_comes_along(tmp_path):
    tokenizer = train_tokenizer(["a new film, a renewed film", "good. dull"] * 20, vocab_size=45)
    check_the_same(saved(tmp_path, tokenizer), ["a new film", "dull"])


def test_the_shipped_classifier_gives_the_same():
    texts = list(mini_reviews(40).texts)
    check_the_same("imdb-classifier", [*texts, " ".join(texts * 3)])


def test_the_parts_are_those_of_pytorch():
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32) * 3
    t = torch.tensor(x)
    torch.testing.assert_close(torch.tensor(gelu(x)), F.gelu(t))
    torch.testing.assert_close(torch.tensor(softmax(x)), t.softmax(-1))
    angles = rope_angles(5, 8, base=100.0)
    for pairing in ("interleaved", "half"):
        turned = rotate(x, base=100.0, pairing=pairing)
        torch.testing.assert_close(torch.tensor(turned), apply_rope(t, angles, pairing=pairing))
    assert gelu(np.float32([1.0]))[0] == pytest.approx(0.5 * (1 + math.erf(1 / math.sqrt(2))))


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "post"},
        {"position": "learned"},
        {"position": "none"},
        {"activation": "relu"},
        {"activation": "gelu_tanh"},
        {"bias": False},
    ],
)
def test_another_shape_is_left_to_pytorch(tmp_path, changes):
    assert load_numpy_classifier(saved(tmp_path / "known")) is not None
    assert load_numpy_classifier(saved(tmp_path / "other", config=changes)) is None


def test_so_is_what_is_damaged_or_no_classifier(tmp_path):
    folder = saved(tmp_path / "a")
    (folder / "model.safetensors").write_bytes(b"nothing")
    assert load_numpy_classifier(folder) is None
    folder = saved(tmp_path / "b")
    narrow = saved(tmp_path / "c", config={"d_ff": 20})
    (folder / "model.safetensors").write_bytes((narrow / "model.safetensors").read_bytes())
    assert load_numpy_classifier(folder) is None
    folder = saved(tmp_path / "d")
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings["classifier"]["temperature"] = 0.0
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    assert load_numpy_classifier(folder) is None
    for name in ("bert-book-imdb", tmp_path / "gone"):
        assert load_numpy_classifier(name) is None
