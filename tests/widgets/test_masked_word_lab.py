"""The kernel's side of the masked-word lab, and what its data keep of a softmax."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from companion.config import TransformerConfig
from companion.data.tokenizer import load_tokenizer
from companion.models.bert import BERT
from companion.models.pretrained import load_pretrained
from companion.widgets import MaskedWordLab
from companion.widgets.masked_word_data import KEPT, TEMPERATURES, lab_data, pack_logits, probabilities, unpack_logits

TEXTS = ["a good film with a good end", "a bad film with a long end"]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer()


@pytest.fixture(scope="module")
def models(tokenizer):
    torch.manual_seed(0)
    config = TransformerConfig(vocab_size=tokenizer.get_vocab_size(), d_model=16, n_heads=2, dropout=0.0, init_std=0.4)
    return {0: BERT(config), 70: BERT(config)}


def test_the_grid_of_temperatures():
    assert len(TEMPERATURES) == 25 and TEMPERATURES[0] == 0.1 and TEMPERATURES[-1] == 5.0 and 1.0 in TEMPERATURES
    assert list(TEMPERATURES) == sorted(set(TEMPERATURES))


def test_what_is_kept_is_the_softmax_over_the_whole_vocabulary():
    logits = torch.randn(8192, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    ids, text = pack_logits(logits)
    assert ids == logits.topk(KEPT).indices.tolist()
    for t, tau in enumerate(TEMPERATURES):
        p, others = probabilities(text, t)
        exact = (logits / tau).softmax(dim=0)
        assert np.abs(p - exact[ids].numpy()).max() < 2e-3 * (0.1 / tau if tau < 1 else 0.1) + 1e-5
        assert p.sum() + others == pytest.approx(1.0, abs=1e-12)
        assert others == pytest.approx(1 - exact[ids].sum().item(), abs=1e-3)


def test_the_error_is_half_a_step():
    logits = torch.linspace(-8, 12, 300, dtype=torch.float64)
    below, _ = unpack_logits(pack_logits(logits)[1])
    true = logits.topk(KEPT).values - logits.max()
    step = float(true[0] - true[-1]) / 65_535
    assert np.abs(below - true.numpy()).max() <= 0.5 * step * 1.01 + 1e-6


def test_the_lab_shows_the_models_own_probabilities(models, tokenizer):
    lab = MaskedWordLab(lab_data(models, tokenizer, TEXTS), sentence=1, gap=1)
    assert (lab.word, lab.steps) == ("bad", [0, 70])
    assert lab.tokens == ["a", "[MASK]", "film", "with", "a", "long", "end"]
    ids = torch.tensor([tokenizer.encode("a [MASK] film with a long end").ids])
    for step, model in models.items():
        with torch.no_grad():
            exact = model.eval()(ids).mlm_logits[0, 2].double().softmax(dim=0)
        for word, p in lab.top(5, step=step):
            assert p == pytest.approx(exact[tokenizer.token_to_id(word)].item(), abs=1e-4)
        assert lab.top(1, step=step)[0][0] == tokenizer.id_to_token(int(exact.argmax()))


def test_the_top_probability_never_rises_with_the_temperature(models, tokenizer):
    lab = MaskedWordLab(lab_data(models, tokenizer, TEXTS))
    tops = []
    for lab.temperature in range(len(TEMPERATURES)):
        _, p, others = lab.distribution()
        tops.append(p[0])
        assert p.sum() + others == pytest.approx(1.0, abs=1e-12)
    assert all(a >= b for a, b in pairwise(tops))


def test_the_shipped_data_are_those_of_the_shipped_model():
    lab, words = MaskedWordLab(), load_tokenizer()
    model = load_pretrained("bert-book-imdb")
    text = " ".join(lab.tokens).replace(" .", ".")
    with torch.no_grad():
        encoded = words.encode(text)
        logits = model(torch.tensor([encoded.ids])).mlm_logits[0, encoded.tokens.index("[MASK]")]
    p = logits.double().softmax(dim=0)
    for word, shown in lab.top(5):
        assert shown == pytest.approx(p[words.token_to_id(word)].item(), abs=1e-4)
    assert len(lab.steps) >= 8 and lab.steps[0] == 0
    assert lab.data["curve"]["loss"][0] > 5 > lab.data["curve"]["loss"][-1]
    _, p0, others0 = lab.distribution(0)
    assert p0.max() < 0.01 and others0 > 0.9  # knows nothing yet


def test_the_data_fit_the_pages_budget():
    assert len(json.dumps(MaskedWordLab().page_state(), separators=(",", ":"))) < 100_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sentence": 9}, "sentence=9 must be from 0 to"),
        ({"gap": -1}, "gap=-1 must be from 0 to"),
        ({"checkpoint": 99}, "checkpoint=99 must be from 0 to"),
        ({"temperature": 25}, "temperature=25 must be from 0 to 24"),
        ({"smoothing": 1.0}, "smoothing=1.0 must be from 0 to 0.99"),
    ],
)
def test_bad_input(arguments, message, models, tokenizer):
    with pytest.raises(ValueError, match=message):
        MaskedWordLab(lab_data(models, tokenizer, TEXTS), **arguments)


def test_bad_data(models, tokenizer):
    with pytest.raises(ValueError, match="step=7 was not kept; there are \\[0, 70\\]"):
        MaskedWordLab(lab_data(models, tokenizer, TEXTS)).top(3, step=7)
    with pytest.raises(ValueError, match=r"'cat'.* are no tokens of"):
        lab_data(models, tokenizer, TEXTS[:1], gaps=[["cat"]])
    with pytest.raises(ValueError, match="a sentence and a model"):
        lab_data(models, tokenizer, [])
    with pytest.raises(ValueError, match="more than 50 logits"):
        pack_logits(torch.zeros(50))


def test_a_lab_of_ones_own(models, tokenizer):
    lab = MaskedWordLab.of(models[70], tokenizer, "a long film")
    assert lab.tokens == ["[MASK]", "long", "film"] and lab.source == "kernel: BERT, cpu"
    assert repr(lab) == "MaskedWordLab(sentence=0, gap=0, step=0)"
    assert lab._repr_html_().count("<table>") == 1
