"""Every check knows the right answer, the usual wrong ones, and the untouched stub; none of them raises."""

import inspect
import math

import torch
from answer_tests import make_tests

from companion.exercises import pretraining as exercises

CHECKS = [f for name, f in inspect.getmembers(exercises, inspect.isfunction) if name.startswith("check_")]


def inverse_root(step, peak, total, warmup):
    return peak * min((step + 1) / warmup, math.sqrt(warmup / (step + 1)))


def corrupt(ids, chosen, u, random_ids, mask_id):
    masked = torch.where(chosen & (u < 0.8), mask_id, ids)
    return torch.where(chosen & (u >= 0.8) & (u < 0.9), random_ids, masked)


def in_place(ids, chosen, u, random_ids, mask_id):
    ids[chosen & (u < 0.8)] = mask_id
    return ids


RIGHT = {
    "check_cut": ["un", "##forget", "##table"],
    "check_shares": [300, 240, 30, 30],
    "check_loss": -(math.log(0.5) + math.log(0.75) + math.log(0.4)) / 3,
    "check_micro_batches": 46 / 14,
    "check_perplexity": 6.3496,
    "check_schedule": inverse_root,
    "check_corrupt": corrupt,
    "check_cost": 6.94,
    "check_bits": [1.0805, 0.9845],
}
WRONG = [
    ("check_cut", "un ##forget ##table", "a list of pieces"),
    ("check_cut", ["un", "forget", "##table"], "begin with ##"),
    ("check_cut", ["un", "##forget"], "join to"),
    ("check_cut", ["un", "##for", "##get", "##table"], "longest piece"),
    ("check_shares", [300, 1600, 200, 200], "not of all"),
    ("check_shares", [2000, 1600, 200, 200], "15 %"),
    ("check_shares", [300, 240, 60, 30], "sum to the first"),
    ("check_shares", [300, 250, 25, 25], "80 %"),
    ("check_loss", 1.8971, "sum"),
    ("check_loss", 1.8971 / 4, "no label"),
    ("check_loss", -0.6324, "not negative"),
    ("check_loss", 0.9123, "in bits"),
    ("check_loss", -math.log((0.5 + 0.75 + 0.4) / 3), "average the logarithms"),
    ("check_loss", 1.0, "average -ln p"),
    ("check_micro_batches", 4.0, "mean of the two means"),
    ("check_micro_batches", 23.0, "not of micro-batches"),
    ("check_micro_batches", 1.0, "divide once"),
    ("check_perplexity", math.log(256) / 3, "that is the loss"),
    ("check_perplexity", 38 / 3, "geometric"),
    ("check_perplexity", 256, "cube root"),
    ("check_perplexity", 2, "exp of the mean"),
    ("check_schedule", 0.1, "a function"),
    ("check_schedule", lambda step, peak, total, warmup: peak, "step 0,"),
    ("check_schedule", lambda step, peak, total, warmup: min(peak, peak * (step + 1) / warmup), "step 99,"),
    ("check_schedule", lambda step: step, "raised TypeError"),
    ("check_corrupt", lambda ids, chosen, u, random_ids, mask_id: ids, "mask_id"),
    ("check_corrupt", in_place, "copy"),
    ("check_corrupt", lambda ids, chosen, u, random_ids, mask_id: torch.where(chosen, mask_id, ids), "random token"),
    ("check_corrupt", lambda ids, chosen, u, random_ids, mask_id: torch.where(u < 0.8, mask_id, ids), "must stay"),
    (
        "check_corrupt",
        lambda i, c, u, r, m: torch.where(c & (u < 0.8), m, torch.where(c, r, i)),
        "u >= 0.9",
    ),
    ("check_corrupt", lambda *a: 1, "a tensor"),
    ("check_cost", 25_000, "in seconds"),
    ("check_cost", 6.9444 / 3, "backward"),
    ("check_cost", 1, "6 operations"),
    ("check_bits", [math.log(20) / 4, math.log(60) / 6], "in nats"),
    ("check_bits", [0.9845, 1.0805], "A first"),
    ("check_bits", [1, 2], "characters a token"),
    ("check_bits", 1, "two numbers"),
]


(
    test_every_check_is_tested,
    test_the_right_answer_and_the_stub,
    test_a_wrong_answer_gets_its_hint,
    test_the_default_dtype_of_the_notebook_does_not_matter,
) = make_tests(CHECKS, RIGHT, WRONG)
