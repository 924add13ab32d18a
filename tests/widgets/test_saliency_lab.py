"""The kernel's side of the saliency lab, and what its data keep of a classifier."""

import json
import math

import numpy as np
import pytest
import torch

from companion import TextClassifier, TransformerClassifier, TransformerConfig, load_classifier, load_tokenizer
from companion.models.pretrained_files import pretrained_names
from companion.models.saliency import gradient_x_input, integrated_gradients, leave_one_out
from companion.models.word_score import WordScore
from companion.widgets import SaliencyLab
from companion.widgets.saliency_data import STEPS, pack_scores, saliency_data, unpack_scores

SHORT, LONG = "It is not an unhurried film.", "The film is long, the film is slow, and the end is good."
NAMES = ["leave one out", "gradient × input", "integrated gradients"]


@pytest.fixture(scope="module")
def judge():
    torch.manual_seed(1)
    shape = {"d_model": 8, "n_heads": 2, "d_ff": 8, "n_layers": 1, "position": "rope", "init_std": 0.6, "n_segments": 2}
    network = TransformerClassifier(TransformerConfig(vocab_size=8192, max_len=32, embed_norm=True, **shape), 2)
    return TextClassifier(network.eval(), load_tokenizer(), ("neg", "pos"), temperature=1.3)


@pytest.fixture(scope="module")
def data(judge):
    return saliency_data(judge, [SHORT, LONG], name="a test")


def test_the_numbers_of_the_specification():
    lab = SaliencyLab(part="toy")
    rounded = {name: [round(a, 4) for a in values] for name, values in lab.attributions.items()}
    assert rounded["gradient × input"] == [0.4206, -0.1402, 0.0701]
    assert rounded["integrated gradients"] == [1.0180, -0.3393, 0.1697]
    assert rounded["leave one out"] == [1.0932, -0.0931, 0.0867]
    assert sum(lab.attributions["integrated gradients"]) == pytest.approx(0.8483, abs=1e-4)
    assert abs(lab.gaps["integrated gradients"]) < 1e-4
    lab.steps = 4
    assert lab.gaps["integrated gradients"] == pytest.approx(1.9e-3, abs=5e-5)


def test_the_toy_with_words_out_and_another_baseline():
    lab = SaliencyLab(part="toy", off=[0], baseline="mask")
    assert lab.words == ["w1", "w2", "w3"]
    assert lab.score() == pytest.approx(math.tanh(0.5 - 0.5 + 0.25))
    assert lab.ends == (pytest.approx(math.tanh(1.25)), pytest.approx(math.tanh(1.5)))
    assert lab.effects[0] == pytest.approx(math.tanh(1.25) - math.tanh(0.25))
    assert lab.effects[1] == pytest.approx(math.tanh(0.25) - math.tanh(1.25))
    lab.off = []
    assert lab.effects == pytest.approx(lab.attributions["leave one out"])


def test_packed_scores_are_within_half_a_step():
    scores = np.random.default_rng(0).normal(size=1000) * 4
    step = (scores.max() - scores.min()) / (2**24 - 1)
    assert np.abs(unpack_scores(pack_scores(scores)) - scores).max() <= 0.51 * step < 1e-6
    assert unpack_scores(pack_scores(np.full(4, 2.5))).tolist() == [2.5] * 4


@pytest.mark.parametrize("baseline", ["zero", "mask"])
def test_the_lab_shows_the_classifiers_own_numbers(judge, data, baseline):
    lab = SaliencyLab(data, baseline=baseline, steps=16, off=[2, 4])
    score = WordScore(judge, SHORT)
    x, base, words = score.x, score.baseline(baseline), score.words
    assert lab.words == ["It", "is", "not", "an", "unhurried", "film."]
    exact = [
        leave_one_out(score, x, base, words=words),
        gradient_x_input(score, x, base, words=words),
        integrated_gradients(score, x, base, steps=16, words=words),
        score.rollout(),
    ]
    for mine, theirs in zip(lab.attributions.values(), exact, strict=True):
        assert mine == pytest.approx(theirs.tolist(), abs=1e-6)
    gone = torch.where(torch.isin(words, torch.tensor([2, 4]))[:, None], base, x)
    with torch.no_grad():
        assert lab.score() == pytest.approx(float(score(gone[None])), abs=1e-6)
        assert lab.ends == (pytest.approx(float(score(x[None]))), pytest.approx(float(score(base[None]))))
    p = judge.probabilities([SHORT])[0, 1].item()
    assert 1 / (1 + math.exp(-lab.ends[0])) == pytest.approx(p, abs=1e-6)
    lab.off = []
    assert lab.effects == pytest.approx(lab.attributions["leave one out"], abs=1e-6)
    assert lab.score() == pytest.approx(lab.ends[0], abs=1e-6)


def test_more_steps_close_the_gap(data):
    gaps = [abs(SaliencyLab(data, baseline="mask", steps=n).gaps["integrated gradients"]) for n in (4, 128)]
    assert gaps[1] < gaps[0] and gaps[1] < 1e-3


def test_a_long_text_is_the_kernels_to_answer(judge, data):
    assert "subsets" not in data["sentences"][1]["zero"]
    with pytest.raises(ValueError, match=r"only SaliencyLab\.of\(classifier, text\) can ask"):
        SaliencyLab(data, sentence=1).score()
    lab = SaliencyLab.of(judge, LONG, baseline="mask")
    assert lab.source == "kernel: TransformerClassifier, cpu" and len(lab.words) == 13
    lab.off = [9, 1]
    score = WordScore(judge, LONG)
    base = score.baseline("mask")
    gone = torch.where(torch.isin(score.words, torch.tensor([1, 9]))[:, None], base, score.x)
    assert lab.kernel["state"] == [0, "mask", [1, 9]]
    assert lab.kernel["now"] == pytest.approx(float(score(gone[None]).detach()), abs=1e-6)
    assert lab.kernel["effects"] == pytest.approx(lab.effects)
    before = lab.kernel
    lab.off = [77]  # refused by the figure; the answer stays
    assert lab.kernel == before
    assert "kernel" not in lab.page_state()


def test_the_shipped_data_are_those_of_the_shipped_classifier():
    lab = SaliencyLab()
    assert lab.data["steps"] == list(STEPS) and len(lab.data["sentences"]) == 3
    assert all(len(row["words"]) <= 10 for row in lab.data["sentences"])
    name = lab.data["classifier"]
    if "imdb-classifier" in pretrained_names():
        assert name == "imdb-classifier", "run python book/tools/widget_data.py --classifier imdb-classifier"
    if name not in pretrained_names():
        return
    again = saliency_data(load_classifier(name), [" ".join(lab.words)], name=name)["sentences"][0]
    for baseline in ("zero", "mask"):
        for key in ("ends", "leave", "gradient"):
            assert lab.data["sentences"][0][baseline][key] == pytest.approx(again[baseline][key], abs=1e-4)


def test_the_data_fit_the_pages_budget():
    assert len(json.dumps(SaliencyLab().page_state(), separators=(",", ":"))) < 60_000


def test_the_fallback_and_what_it_is_called(data):
    html = SaliencyLab(data, baseline="mask")._repr_html_()
    assert html.count("<table>") == 1 and "Completeness gap: leave one out" in html and "unhurried" in html
    assert repr(SaliencyLab(data)) == "SaliencyLab(part=text, sentence=0, baseline=zero, steps=32)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sentence": 5}, "sentence=5 must be from 0 to 1"),
        ({"steps": 5}, r"steps=5 must be one of \[4, 6,"),
        ({"off": [6]}, r"off=\[6\] must be different numbers of words, from 0 to 5"),
        ({"off": [1, 1]}, r"off=\[1, 1\] must be different"),
        ({"weights": [1.0]}, r"weights=\[1.0\] must be 2 to 8 numbers from -10 to 10"),
        ({"weights": [1.0, 11.0]}, "from -10 to 10"),
    ],
)
def test_bad_input(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        SaliencyLab(data, **arguments)


def test_bad_data(judge):
    with pytest.raises(ValueError, match="there must be a sentence at least"):
        saliency_data(judge, [])
