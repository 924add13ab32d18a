"""The computations that show each error of the source: every correct value and every reason, from the package.

One small function an erratum; :data:`COMPUTATIONS` holds them by id. Nobody has to believe a table.
"""

import math
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from companion.errata import fine_tuning
from companion.errata.data import Erratum, Written, get_erratum, numbers, printed, source_example
from companion.errors import require
from companion.history.landmarks import load_events, load_winters
from companion.nn.attention import attention, attention_weights
from companion.nn.positional import rope_angles, sinusoidal_table


def recompute(id: str) -> dict[str, Any]:
    """Compute, with the package, every correct value and every reason of one erratum, by name.

    >>> recompute("N2")["scores"].tolist()
    [[29.0, 59.0, 89.0], [59.0, 125.0, 191.0], [89.0, 191.0, 293.0]]
    """
    get_erratum(id)
    require(id in COMPUTATIONS, f"erratum {id} has no computation; choose one of {sorted(COMPUTATIONS)}")
    return COMPUTATIONS[id]()


def confirm(id: str) -> str:
    """Recompute one erratum and say that everything written about it is what the computation gives.

    Raises:
        ValueError: a written number is not the computed one, correctly rounded.

    >>> confirm("N1")
    'N1: 11 numbers recomputed; every digit that is written agrees'
    """
    erratum = get_erratum(id)
    wrong = disagreements(erratum, recompute(id))
    require(not wrong, "; ".join(wrong))

    count = sum(1 for written in erratum.expected.values() for _ in numbers(written))
    return f"{id}: {count} numbers recomputed; every digit that is written agrees"


def disagreements(erratum: Erratum, computed: Mapping[str, Any]) -> list[str]:
    """Where the written values are not the computed ones, correctly rounded to the digits written; [] = all agree.

    >>> disagreements(get_erratum("N1"), recompute("N1"))
    []
    """
    names = sorted(set(erratum.expected) ^ set(computed))
    found = [f"{erratum.id}: {name} is {'computed' if name in computed else 'written'} only" for name in names]
    for name, written in erratum.expected.items():
        if name in computed and not rounds_to(computed[name], written):
            found.append(f"{erratum.id}: {name} is written {_show(written)}, but computed {computed[name]}")
    return found


def rounds_to(value: Any, written: Written) -> bool:
    """Is ``written`` the number ``value``, or every number of it, correctly rounded to the digits that are written?

    >>> rounds_to(0.66667, Decimal("0.67")), rounds_to(0.66667, Decimal("0.66"))
    (True, False)
    """
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(written, tuple):
        same = isinstance(value, list | tuple) and len(value) == len(written)
        return same and all(rounds_to(v, w) for v, w in zip(value, written, strict=True))
    if isinstance(value, list | tuple):
        return False
    exponent = written.as_tuple().exponent
    if not math.isfinite(value) or not isinstance(exponent, int):
        return False
    # A hair more than half a unit: the tie may fall to either side in floating point.
    half_unit = Decimal(10) ** exponent / 2 * (1 + Decimal("1e-9"))
    return abs(Decimal(value) - written) <= half_unit


def _show(written: Written) -> str:
    return f"[{', '.join(map(_show, written))}]" if isinstance(written, tuple) else str(written)


def _q() -> Tensor:
    """Q = K = V = X W of the example."""
    X, W = source_example()
    return X @ W


def _n1() -> dict[str, Any]:
    X, W = source_example()
    claimed = printed("N1", "QKV")
    best = torch.linalg.lstsq(X, claimed, driver="gelsd").solution  # X has no full rank
    return {
        "QKV": X @ W,
        "rank_of_X": torch.linalg.matrix_rank(X),
        "middle_row_minus_mean": claimed[1] - (claimed[0] + claimed[2]) / 2,
        "worst_miss_of_least_squares": (X @ best - claimed).abs().amax(dim=0),
    }


def _n2() -> dict[str, Any]:
    Q = _q()
    claimed = printed("N2", "scaled_scores")
    return {
        "scores": Q @ Q.mT,
        "scaled_scores": Q @ Q.mT / math.sqrt(2),
        "printed_Q_times_itself": printed("N1", "QKV") @ printed("N1", "QKV").mT,
        "determinant": torch.linalg.det(claimed),
        "rank": torch.linalg.matrix_rank(claimed),
    }


def _n3() -> dict[str, Any]:
    weights = attention_weights(_q(), _q())
    claimed = printed("N3", "weights")
    return {
        "weights": weights,
        "first_row": weights[0],
        "row_sums": claimed.sum(dim=1),
        "column_sums": claimed.sum(dim=0),
        "sum_of_all": claimed.sum(),
        "first_row_from_printed_scores": printed("N2", "scaled_scores").softmax(dim=-1)[0],
    }


def _n4() -> dict[str, Any]:
    V, claimed = printed("N1", "QKV"), printed("N4", "output")
    largest = V.amax(dim=0)
    return {
        "output": attention(_q(), _q(), _q()),
        "largest_printed_V": largest,
        "printed_entries_above": [column[column > top] for column, top in zip(claimed.mT, largest, strict=True)],
        "printed_weights_times_printed_V": printed("N3", "weights") @ V,
    }


def _table(positions: int, width: int) -> Tensor:
    """The sinusoidal table in float64, whatever the default is."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return sinusoidal_table(positions, width)
    finally:
        torch.set_default_dtype(before)


def _n5() -> dict[str, Any]:
    table = _table(3, 4)
    claimed = printed("F8", "positional_table")
    return {
        "last_column": table[1:, 3],
        "table": table,
        "squares_of_the_printed": table[1:, 2] ** 2 + printed("N5", "last_column") ** 2,
        "entries_that_are_right": int(((claimed - table).abs() <= 0.5e-4).sum()),
    }


def _f1() -> dict[str, Any]:
    formula, weights = attention(_q(), _q(), _q()), attention_weights(_q(), _q())
    return {
        "shape_of_the_formula": list(formula.shape),
        "row_sums_of_the_formula": formula.sum(dim=1),
        "shape_of_the_weights": list(weights.shape),
        "row_sums_of_the_weights": weights.sum(dim=1),
    }


def _f2() -> dict[str, Any]:
    Q, V = _q(), _q()

    def printed_sum(q: Tensor, k: Tensor) -> Tensor:
        return torch.stack([attention(q[i : i + 1], k[i : i + 1], V[i : i + 1])[0] for i in range(3)]).sum(dim=0)

    return {
        "output": attention(Q, Q, V),
        "printed_sum": printed_sum(Q, Q),
        "printed_sum_with_other_queries_and_keys": printed_sum(-Q, Q.flip(0)),
    }


def _f3() -> dict[str, Any]:
    angles = rope_angles(2, 4)[1].double()  # one step on: how far each of the two pairs turns
    return {
        "frequencies_of_the_columns": angles.repeat_interleave(2),
        "last_exponent_if_i_were_the_dimension": 2 * 3 / 4,
    }


def _f4() -> dict[str, Any]:
    X, W = source_example()
    W_V = torch.cat([W, W], dim=1)  # any matrix with 4 columns will do
    return {
        "shape_of_W_V": list(W_V.shape),
        "shape_of_the_output": list(attention(X @ W, X @ W, X @ W_V).shape),
    }


def _f5() -> dict[str, Any]:
    chances = printed("F5", "chances")  # rows: film, rice; columns: good, bad
    return {"good_if_film_is_seen": chances[0, 0] / chances[0].sum(), "good_if_neither_is_seen": chances[:, 0].sum()}


def _f6() -> dict[str, Any]:
    share = torch.tensor([1.0, 0.5], dtype=torch.float64)  # of pairs that follow; the best constant is that share
    best = -(share.xlogy(share) + (1 - share).xlogy(1 - share))
    return {"best_constant_loss_if_all_follow": best[0], "best_constant_loss_if_half_follow": best[1]}


def _f8() -> dict[str, Any]:
    X, W = source_example()
    scores = _q() @ _q().mT / math.sqrt(2)
    return {
        "d_k": W.size(1),
        "shape_of_X": list(X.shape),
        "shape_of_the_printed_table": list(printed("F8", "positional_table").shape),
        "row_sums_along_the_keys": scores.softmax(dim=1).sum(dim=1),
        "row_sums_along_the_queries": scores.softmax(dim=0).sum(dim=1),
    }


def _year(name: str) -> int:
    """Of an event of chapter 1."""
    return next(int(event.year) for event in load_events() if event.name == name)


def _h1() -> dict[str, Any]:
    return {"years_before_1980": [1980 - _year(name) for name in ("logical neurons", "perceptron")]}


def _h2() -> dict[str, Any]:
    older = ("Neocognitron", "Jordan's recurrent net", "convolution and back-propagation", "Elman net", "LSTM")
    return {
        "years_before_2006": [2006 - _year(name) for name in older],
        "transformer_after_2006": _year("Transformer") - 2006,
    }


def _h3() -> dict[str, Any]:
    winters = [[winter.start, winter.end] for winter in load_winters()]
    return {"winters": winters, "years_between": winters[1][0] - winters[0][1]}


def _h4() -> dict[str, Any]:
    proposal, arrival = date(1955, 8, 31), date(1956, 6, 18)
    return {
        "proposal": [proposal.year, proposal.month, proposal.day],
        "first_participants": [arrival.year, arrival.month, arrival.day],
        "days_between": (arrival - proposal).days,
    }


def _h8() -> dict[str, Any]:
    """The chapter's neuron, (σ(w x + b) - t)² with x, w, b, t = 2, -1, 1, 1: gradient, then two kinds of step."""
    found: dict[str, Any] = {"weight_before": -1.0}
    for name, kind in (("descent", torch.optim.SGD), ("adam", torch.optim.Adam)):
        w = torch.tensor(found["weight_before"], dtype=torch.float64, requires_grad=True)
        torch.autograd.backward((torch.sigmoid(2 * w + 1) - 1) ** 2)
        found |= {"gradient": w.grad, "weight_after_back_propagation": w.item()}
        kind([w], lr=0.5).step()
        found[f"weight_after_{name}"] = w.item()
    return found


def _c4() -> dict[str, Any]:
    table, x = sinusoidal_table(50, 4)[:, None], torch.zeros(3, 5, 4)  # (positions, 1, width); (texts, words, width)
    wrong, right = x + table[: x.size(0)], x + table[: x.size(1)].transpose(0, 1)
    found = [len({tuple(row) for row in sums[1].tolist()}) for sums in (wrong, right)]
    return {"positions_in_a_text_of_five_words": found}


def _c5() -> dict[str, Any]:
    columns = torch.arange(5)
    return {"columns_of_sines_and_cosines": [len(columns[0::2]), len(columns[1::2])]}


def _c6() -> dict[str, Any]:
    width, deviation = int(printed("C6", "width")), float(printed("C6", "standard_deviation"))
    token = deviation * math.sqrt(width)  # the root of the mean square
    return {
        "length_of_a_row": sinusoidal_table(1, width).norm(),
        "length_of_a_token": token,
        "length_of_a_scaled_token": token * math.sqrt(width),
    }


def _a1() -> dict[str, Any]:
    Q = _q()
    return {
        "mean_of_a_component": Q.mean(),
        "variance_of_a_component": Q.var(correction=0),
        "variance_of_the_scaled_scores": (Q @ Q.mT / math.sqrt(2)).var(correction=0),
    }


def _a2() -> dict[str, Any]:
    scores = (_q() @ _q().mT / math.sqrt(2)).float()

    def as_printed(x: Tensor) -> Tensor:
        return x.exp() / x.exp().sum(dim=-1, keepdim=True)

    return {
        "largest_score": scores.double().max(),
        "largest_finite_exponent": math.log(torch.finfo(torch.float32).max),
        "weights_that_are_no_number": as_printed(scores).isnan().sum(),
        "weights_that_are_no_number_after_the_shift": as_printed(scores - scores.amax(-1, keepdim=True)).isnan().sum(),
    }


COMPUTATIONS: Mapping[str, Callable[[], dict[str, Any]]] = MappingProxyType(
    {
        "N1": _n1,
        "N2": _n2,
        "N3": _n3,
        "N4": _n4,
        "N5": _n5,
        "F1": _f1,
        "F2": _f2,
        "F3": _f3,
        "F4": _f4,
        "F5": _f5,
        "F6": _f6,
        "F7": fine_tuning.f7,
        "F8": _f8,
        "H1": _h1,
        "H2": _h2,
        "H3": _h3,
        "H4": _h4,
        "H7": fine_tuning.h7,
        "H8": _h8,
        "H11": fine_tuning.h11,
        "C2": fine_tuning.c2,
        "C3": fine_tuning.c3,
        "C4": _c4,
        "C5": _c5,
        "C6": _c6,
        "A1": _a1,
        "A2": _a2,
    }
)
"""One small computation for each erratum that has numbers, by its id, in the order of errata.toml."""
