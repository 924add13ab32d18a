"""Every check knows the right answer, the usual wrong ones, and the untouched stub; none of them raises."""

import inspect
import math

import torch
from answer_tests import make_tests

from companion.exercises import fine_tuning as exercises

CHECKS = [f for name, f in inspect.getmembers(exercises, inspect.isfunction) if name.startswith("check_")]


def pool(h, real):
    return (h * real[:, :, None]).sum(dim=1) / real.sum(dim=1, keepdim=True)


def first_ones(h, real):
    """Right as long as the padding stands at the end."""
    return torch.stack([x[: int(r.sum())].mean(0) for x, r in zip(h, real, strict=True)])


def last_ones(h, real):
    return torch.stack([x[-int(r.sum()) :].mean(0) for x, r in zip(h, real, strict=True)])


def one_by_one(h, real):
    return torch.stack([x[r].mean(0) for x, r in zip(h, real, strict=True)])


def both_but_for_no_room(ids, room):
    return ids if len(ids) <= room else ids[: room // 4] + ids[-(room - room // 4) :]


def both(ids, room):
    head = room // 4
    return ids if len(ids) <= room else ids[:head] + ids[len(ids) - (room - head) :]


RIGHT = {
    "check_mean": [3.5, 1],
    "check_loss": math.log(40 / 3) / 3,
    "check_gradient": [[-1 / 12, 1 / 12], [-4 / 15, 4 / 15], [1 / 6, -1 / 6]],
    "check_lora": 12 * 2 * 4 * 256 + 771,
    "check_rates": [8e-4, 4e-4, 2e-4, 1e-4, 5e-5],
    "check_stop": [5, 7],
    "check_temperature": 2.1640,
    "check_honesty": 0.25,
    "check_pool": pool,
    "check_both": both,
}
WRONG = [
    ("check_mean", [5.25, 2], "padding included"),
    ("check_mean", [1.75, 0.5], "not by four"),
    ("check_mean", [4, 4], "divide by two"),
    ("check_mean", 2, "two numbers"),
    ("check_loss", math.log(40 / 3), "that is the sum"),
    ("check_loss", math.log(40 / 3) / 2, "two classes"),
    ("check_loss", -math.log(40 / 3) / 3, "not negative"),
    ("check_loss", 1.0, "average -ln p"),
    ("check_gradient", [[-1 / 4, 1 / 4], [-4 / 5, 4 / 5], [1 / 2, -1 / 2]], "of the sum"),
    ("check_gradient", [[1 / 12, -1 / 12], [4 / 15, -4 / 15], [-1 / 6, 1 / 6]], "the sign"),
    ("check_gradient", [[1 / 4, 1 / 12], [1 / 15, 4 / 15], [1 / 6, 1 / 6]], "subtract 1"),
    ("check_gradient", [[0, 0], [0, 0], [0, 0]], "divided by three"),
    ("check_gradient", [1, 2], "shape of the logits"),
    ("check_lora", 12 * 256 * 256 + 771, "whole matrices"),
    ("check_lora", 24576, "head is trained"),
    ("check_lora", 24576 + 768, "bias"),
    ("check_lora", 12288 + 771, "two matrices"),
    ("check_lora", 1, "12 adapters"),
    ("check_rates", [5e-5, 1e-4, 2e-4, 4e-4, 8e-4], "from the top down"),
    ("check_rates", [8e-4, 8e-4, 4e-4, 2e-4, 1e-4], "one below"),
    ("check_rates", [8e-4] * 5, "half of that"),
    ("check_rates", 8e-4, "five rates"),
    ("check_stop", [4, 6], "from 1"),
    ("check_stop", [5, 5], "older"),
    ("check_stop", [5, 8], "before the last"),
    ("check_stop", [3, 5], "one evaluation only"),
    ("check_stop", [2, 4], "two evaluations"),
    ("check_stop", 5, "two numbers"),
    ("check_temperature", math.log(4) / 3, "other way round"),
    ("check_temperature", 0.9, "above 1"),
    ("check_temperature", 3.0, "ln 4"),
    ("check_honesty", 0.275, "weigh the gaps"),
    ("check_honesty", 1 / 60, "not over all texts"),
    ("check_honesty", 0.5, "two bins"),
    ("check_pool", lambda h, real: h.mean(dim=1), "must not count"),
    ("check_pool", lambda h, real: (h * real[:, :, None]).mean(dim=1), "not by T"),
    ("check_pool", lambda h, real: h[:, 0], "sum over the real"),
    ("check_pool", lambda h, real: h, "one row for a text"),
    ("check_pool", first_ones, "not the first so many"),
    ("check_pool", last_ones, "sum over the real"),
    ("check_pool", lambda h: h, "raised TypeError"),
    ("check_pool", 1.0, "a function"),
    ("check_both", lambda ids, room: ids[:room], "it should be"),
    ("check_both", lambda ids, room: ids, "yours keeps 20"),
    ("check_both", lambda ids, room: [], "is empty"),
    ("check_both", lambda ids, room: ids[: room // 4] + ids[-(room - room // 4) :], "5 tokens"),
    ("check_both", both_but_for_no_room, r"20 tokens, room for 0: .*ids\[-0:\] is not empty, it is the whole list"),
    ("check_both", lambda ids, room: tuple(ids), "a list"),
    ("check_both", lambda ids: ids, "raised TypeError"),
]


(
    test_every_check_is_tested,
    test_the_right_answer_and_the_stub,
    test_a_wrong_answer_gets_its_hint,
    test_the_default_dtype_of_the_notebook_does_not_matter,
) = make_tests(CHECKS, RIGHT, WRONG)


def test_other_right_ways():
    assert exercises.check_pool(one_by_one).startswith("right: ")

    def in_place(h, real):
        h[~real] = 0.0
        count = real.sum(dim=1, keepdim=True)
        real[:] = False
        return h.sum(dim=1) / count

    assert exercises.check_pool(in_place).startswith("right: ")
    assert exercises.check_both(lambda ids, room: both(ids, room) if room else []).startswith("right: ")


def test_what_stands_in_the_padding_must_not_matter():
    def careless(h, real):
        return torch.nan_to_num(h.masked_fill(~real[:, :, None], 0.0)).sum(dim=1) / real.sum(dim=1, keepdim=True)

    assert exercises.check_pool(careless).startswith("right: ")

    def leaks(h, real):
        return pool(h, real) + 1e-8 * h.sum(dim=1)

    assert "changes your answer" in exercises.check_pool(leaks)
