"""The errors of the source about positions and the block, shown without companion.errata's own computations."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from companion.errata import printed
from companion.experiments.results import load_result
from companion.nn.positional import Sinusoidal, sinusoidal_table

BOOK = Path(__file__).resolve().parents[2] / "book"


def test_the_printed_cosines_leave_the_unit_circle() -> None:
    table = printed("F8", "positional_table")
    for row, t in zip(table, range(3), strict=True):
        assert row[0] ** 2 + row[1] ** 2 == pytest.approx(1, abs=1e-3)
        assert row[:3].tolist() == pytest.approx([math.sin(t), math.cos(t), math.sin(t / 100)], abs=5e-5)
    assert (table[1:, 2] ** 2 + table[1:, 3] ** 2).max() < 0.04


def test_a_pair_of_columns_shares_one_frequency() -> None:
    table = sinusoidal_table(100, 6).double()
    squares = table.square().unflatten(-1, (3, 2)).sum(dim=-1)
    assert torch.allclose(squares, torch.ones(100, 3, dtype=torch.float64), atol=1e-6)
    with pytest.raises(AssertionError):  # i as the column: sine and cosine of different angles
        misread = torch.tensor([[math.sin(t), math.cos(t / 10_000 ** (2 / 6))] for t in range(1, 100)])
        torch.testing.assert_close(misread.square().sum(dim=-1), torch.ones(99))


def test_the_wrong_axis_numbers_the_texts() -> None:
    x = torch.zeros(3, 5, 4)
    wrong = x + sinusoidal_table(50, 4)[:, None][: x.size(0)]
    assert torch.equal(wrong[1, 0], wrong[1, 4]) and not torch.equal(wrong[0], wrong[1])
    right = Sinusoidal(50, 4).add_to(x)
    assert not torch.equal(right[1, 0], right[1, 4]) and torch.equal(right[0], right[1])


def test_an_odd_width_does_not_fit() -> None:
    pe, cosines = torch.zeros(3, 5), torch.ones(3, len(range(0, 5, 2)))
    with pytest.raises(RuntimeError, match="must match"):
        pe[:, 1::2] = cosines
    pe[:, 1::2] = cosines[:, : 5 // 2]
    with pytest.raises(ValueError, match="d_model=5 is odd"):
        sinusoidal_table(3, 5)


def test_small_tokens_drown_in_the_table() -> None:
    torch.manual_seed(0)
    tokens = nn.init.normal_(torch.empty(2, 512), std=0.02)
    row = sinusoidal_table(7, 512)[6]
    assert torch.cosine_similarity(tokens[0] + row, tokens[1] + row, dim=0) > 0.99
    scaled = math.sqrt(512) * tokens
    assert torch.cosine_similarity(scaled[0] + row, scaled[1] + row, dim=0) < 0.85


def test_the_recorded_ablation_says_what_is_missed() -> None:
    record = load_result("ablation", folder=BOOK)
    layers, rate = record["config"]["model"]["n_layers"], record["config"]["peak_lr"]

    def share(part: str) -> list[float]:
        return [r["accuracy"] for r in record["runs"] if (r["part"], r["layers"], r["rate"]) == (part, layers, rate)]

    whole = share("nothing")
    assert len(whole) >= 3
    assert all(abs(a - 0.5) < 0.02 for a in share("residuals"))
    for part in ("feed-forward", "heads"):
        assert all(a < w for a, w in zip(share(part), whole, strict=True))
    assert all(abs(a - w) < 0.01 for a, w in zip(share("normalization"), whole, strict=True))

    high = record["config"]["high_lr"]
    for part, jumps in (("nothing", False), ("normalization", True)):
        runs = [r["losses"] for r in record["runs"] if (r["part"], r["layers"], r["rate"]) == (part, layers, high)]
        assert len(runs) >= 3
        assert all((max(losses) > 10 * losses[0]) == jumps for losses in runs)
