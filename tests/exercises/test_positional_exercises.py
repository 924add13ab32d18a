"""Every check knows the right answer, the usual wrong ones, and the untouched stub; none of them raises."""

import inspect
import math

import torch
from answer_tests import make_tests

from companion import alibi_slopes, apply_rope, rope_angles
from companion.exercises import positional as exercises

CHECKS = [f for name, f in inspect.getmembers(exercises, inspect.isfunction) if name.startswith("check_")]


def rotation(k):
    a, b = 5 * k, 5 * k / 100
    blocks = [torch.tensor([[math.cos(w), math.sin(w)], [-math.sin(w), math.cos(w)]]) for w in (a, b)]
    return torch.block_diag(*blocks)


def norm(x, gain, bias, eps=1e-5, correction=0, outside=False):
    centered = x - x.mean(-1, keepdim=True)
    variance = x.var(-1, keepdim=True, correction=correction)
    return gain * centered / (variance.sqrt() + eps if outside else (variance + eps).sqrt()) + bias


def half(x):
    return apply_rope(x, rope_angles(*x.shape).to(x), pairing="half")


def pre(block, x):
    x = x + block.attention(block.attention_norm(x))
    return x + block.ffn(block.ffn_norm(x))


def post(block, x):
    x = block.attention_norm(x + block.attention(x))
    return block.ffn_norm(x + block.ffn(x))


RIGHT = {
    "check_table_row": [0.1411, -0.9900, 0.0300, 0.9996],
    "check_wavelength": 141,
    "check_shift": rotation(1),
    "check_rotary_score": 12.2812,
    "check_slopes": alibi_slopes(12),
    "check_layer_norm": norm,
    "check_block_parameters": 198_272,
    "check_half_pairing": half,
    "check_pre_norm": pre,
}
WRONG = [
    ("check_table_row", [0.9093, -0.4161, 0.02, 0.9998], "count from 0"),
    ("check_table_row", [-0.9900, 0.1411, 0.9996, 0.0300], "sines stand in the even"),
    ("check_table_row", [math.sin(3), math.cos(0.03), math.sin(3e-4), math.cos(3e-6)], "i counts the pairs"),
    ("check_table_row", [0.1411, 0.5, 0.03, 0.9996], "columns 0 and 1 are one pair"),
    ("check_table_row", [1, 2, 3], "four numbers"),
    ("check_table_row", "no", "a list of four numbers"),
    ("check_wavelength", 140, "go higher"),
    ("check_wavelength", 142, "go lower"),
    ("check_wavelength", 999, "numbered 0 to 255"),
    ("check_shift", rotation(-1), "goes back"),
    ("check_shift", torch.eye(4), "sin a cos b"),
    ("check_shift", torch.eye(3), r"\(4, 4\)"),
    ("check_rotary_score", 8.5, "without positions"),
    ("check_rotary_score", 0.0, "only 9 - 4 matters"),
    ("check_slopes", [2 ** (-8 * (h + 1) / 12) for h in range(12)], "no power of two"),
    ("check_slopes", -alibi_slopes(12), "positive"),
    ("check_slopes", alibi_slopes(12).sort().values, "the first eight"),
    ("check_slopes", alibi_slopes(8), "12 heads"),
    ("check_layer_norm", lambda x, g, b: norm(x, g, b, correction=1), "not by D - 1"),
    ("check_layer_norm", lambda x, g, b: norm(x, g, b, outside=True), "under the root"),
    ("check_layer_norm", lambda x, g, b: norm(x, 1, 0), "gain and bias are missing"),
    ("check_layer_norm", lambda x, g, b: norm(x, g, b, eps=0), "epsilon is missing"),
    ("check_layer_norm", lambda x: x, "raised TypeError"),
    ("check_layer_norm", 3, "a function"),
    ("check_block_parameters", 198_016, "two norms"),
    ("check_block_parameters", 197_760, "a gain and a bias each"),
    ("check_block_parameters", 196_608, "add the biases"),
    ("check_block_parameters", 1, "count|four|4"),
    ("check_half_pairing", lambda x: apply_rope(x, rope_angles(*x.shape).to(x)), "neighbors"),
    ("check_half_pairing", lambda x: apply_rope(x, -rope_angles(*x.shape).to(x), pairing="half"), "wrong way"),
    ("check_half_pairing", lambda x: x, "lengths are right"),
    ("check_half_pairing", lambda x: 2 * x, "position 0"),
    ("check_pre_norm", post, "that is post-norm"),
    ("check_pre_norm", lambda b, x: b.ffn(b.ffn_norm(b.attention(b.attention_norm(x)))), "residual"),
    ("check_pre_norm", lambda b, x: x + b.attention(b.attention_norm(x)), "first half"),
    ("check_pre_norm", lambda b, x: x, "then x = x"),
    ("check_pre_norm", lambda b, x: x[0], "shape of x"),
]


(
    test_every_check_is_tested,
    test_the_right_answer_and_the_stub,
    test_a_wrong_answer_gets_its_hint,
    test_the_default_dtype_of_the_notebook_does_not_matter,
) = make_tests(CHECKS, RIGHT, WRONG)
