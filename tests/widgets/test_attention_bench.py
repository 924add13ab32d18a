"""The kernel's side of the attention bench: values, checks, and html that does not change from run to run."""

import html
import json
import math
import re
import subprocess
import sys

import pytest
import torch

from companion.nn.attention import attention, attention_weights
from companion.widgets import AttentionBench
from companion.widgets.attention_bench import PRESETS

N, D, DK, DV = 4, 3, 2, 5


def sized(**changes):
    g = torch.Generator().manual_seed(0)
    parts = {"x": (N, D), "wq": (D, DK), "wk": (D, DK), "wv": (D, DV)}
    return AttentionBench(**{key: torch.randn(*shape, generator=g) for key, shape in parts.items()} | changes)


def rounded(row):
    return [round(v, 4) for v in row.tolist()]


def test_the_numbers_of_the_specification():
    bench = AttentionBench()
    assert rounded(bench.weights[2]) == [0.1400, 0.2840, 0.5760]
    assert rounded(bench.output[2]) == [3.2959, 4.8719]
    bench.scale = False
    assert rounded(bench.weights[2]) == [0.0900, 0.2447, 0.6652]
    bench.scale, bench.causal = True, True
    assert rounded(bench.weights[1]) == [0.5, 0.5, 0.0]
    assert int(torch.isneginf(bench.scaled_scores).sum()) == 3
    bench.causal, bench.temperature = False, 0.5
    assert rounded(bench.weights[2]) == [0.0454, 0.1867, 0.7679]


def test_it_is_the_packages_attention():
    bench = sized()
    q, k, v = bench.qkv
    assert (q.shape, k.shape, v.shape) == ((N, DK), (N, DK), (N, DV))
    torch.testing.assert_close(bench.weights, attention_weights(q, k))
    torch.testing.assert_close(bench.output, attention(q, k, v))
    torch.testing.assert_close(bench.scaled_scores.softmax(-1), bench.weights)


def test_temperature_and_scale_divide_the_scores():
    bench = sized(temperature=0.4, scale=False, causal=True)
    torch.testing.assert_close(bench.scaled_scores.softmax(-1), bench.weights)
    assert bench.scaled_scores[2, 1].item() == pytest.approx(bench.scores[2, 1].item() / 0.4)


def test_entropy_in_bits():
    uniform = AttentionBench.preset("uniform")
    torch.testing.assert_close(uniform.entropy, torch.full((3,), math.log2(3), dtype=torch.float64))
    first = AttentionBench.preset("causal").entropy[0].item()
    assert first == 0.0 and math.copysign(1, first) == 1.0


def test_the_sources_example_saturates_and_a_tenth_of_it_less():
    saturated, smaller = AttentionBench.preset("source"), AttentionBench.preset("source/10")
    assert rounded(saturated.weights[0]) == [0.0, 0.0, 1.0]
    assert rounded(saturated.output[0]) == [-2.0, 17.0]
    assert 0.2 < smaller.entropy[0].item() < 1.58


def test_presets_are_whole_states():
    assert list(PRESETS) == ["default", "source", "source/10", "uniform", "causal"]
    for name in PRESETS:
        assert AttentionBench.preset(name).weights.sum(-1).tolist() == pytest.approx([1.0] * 3, abs=1e-12)
    assert AttentionBench.preset("default").page_state() == AttentionBench().page_state()


def test_real_heads():
    g = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(9, 32, generator=g) for _ in range(3))
    words = ["the", "film", "was", "long", "but", "I", "loved", "it", "anyway"]
    bench = AttentionBench.from_tensors(q, k, v, tokens=words, model="bert-book, layer 2, head 1")
    assert bench.computed_by == "kernel: bert-book, layer 2, head 1, cpu"
    assert bench.tokens == words
    torch.testing.assert_close(bench.weights.float(), attention_weights(q, k), atol=1e-6, rtol=1e-5)
    assert torch.equal(torch.tensor(bench.q), q)  # the short decimals are the same float32 numbers


def test_half_precision_and_gradients():
    q = torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True)
    bench = AttentionBench.from_tensors(q, q, q)
    assert bench.q == [[1.0] * 3] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": torch.zeros(N)}, r"x must have two axes \(rows, columns\), neither empty; got the shape \(4,\)"),
        ({"x": [[1, 2], [3]]}, "x must be a matrix with rows of one length"),
        ({"x": [["a", "b"], ["c", "d"]]}, "x must hold numbers"),
        ({"x": [[1.0, math.nan], [0, 1]]}, "x must hold finite numbers only"),
        ({"x": torch.zeros(1, D)}, "2 to 16 tokens; got x 1×3"),
        ({"x": torch.zeros(17, D)}, "2 to 16 tokens; got x 17×3"),
        ({"wq": torch.zeros(D, DK + 1)}, r"the shapes must be .*; got x 4×3, wq 3×3, wk 3×2, wv 3×5"),
        ({"wv": torch.zeros(D + 1, DV)}, "the shapes must be .*wv 4×5"),
        ({"tokens": ["a", "b"]}, "2 tokens for 4 rows; give one word a row, or none"),
        ({"temperature": 0.0}, r"temperature=0.0 must be from 0.1 to 10"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        sized(**arguments)


def test_bad_heads():
    with pytest.raises(ValueError, match=r"got \(1, 4, 5, 3\); take one head of one sequence, as in q\[0, 2\]"):
        AttentionBench.from_tensors(torch.zeros(1, 4, 5, 3), torch.zeros(5, 3), torch.zeros(5, 3))
    with pytest.raises(ValueError, match="there is no preset 'sharp'; choose one of"):
        AttentionBench.preset("sharp")


def test_a_trait_that_no_longer_fits_says_so_when_read():
    bench = sized()
    bench.x = torch.zeros(N, D + 1).tolist()
    with pytest.raises(ValueError, match="got x 4×4, wq 3×2"):
        _ = bench.weights


def test_repr_has_no_address():
    assert repr(sized()) == "AttentionBench(n=4, d_model=3, d_k=2, d_v=5)"


def test_html_holds_the_state_and_the_table():
    text = AttentionBench(tokens=["it's", "<b>", 'a "&"']).page_state()
    markup = AttentionBench(tokens=text["tokens"])._repr_html_()
    state = json.loads(html.unescape(re.search(r"data-state='([^']*)'", markup)[1]))
    assert state == json.loads(json.dumps(text))
    assert markup.startswith('<div class="lm-widget" data-afm="attention_bench" data-state=')
    assert "<td>0.1400</td><td>0.2840</td><td>0.5760</td>" in markup
    assert "<td>3.2959</td><td>4.8719</td>" in markup
    assert "<b>" not in markup.split("'>", 1)[1]


def test_mime_bundle_has_both_faces():
    bench = AttentionBench()
    data, _ = bench._repr_mimebundle_()
    assert data["text/html"] == bench._repr_html_()
    assert data["text/plain"] == repr(bench)
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == bench.model_id


def test_html_is_the_same_in_another_process():
    code = "from companion.widgets import AttentionBench as A; print(ascii(A.preset('source')._repr_html_()))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert other.strip() == ascii(AttentionBench.preset("source")._repr_html_())
