"""The errors of the source about pretraining, shown without companion.errata's own computations."""

import math
from fractions import Fraction

import torch

from companion import GPT, TransformerConfig


def test_what_else_is_hidden_changes_the_answer() -> None:
    chances = {("film", "good"): 40, ("film", "bad"): 10, ("rice", "good"): 15, ("rice", "bad"): 35}
    film = {pair: n for pair, n in chances.items() if pair[0] == "film"}
    seen = Fraction(film["film", "good"], sum(film.values()))
    hidden = Fraction(sum(n for (_, second), n in chances.items() if second == "good"), sum(chances.values()))
    assert (seen, hidden) == (Fraction(4, 5), Fraction(11, 20))


def test_a_constant_answer_earns_nothing_only_with_half_of_each() -> None:
    def best(follow: int, others: int) -> float:
        losses = []
        for yes in (x / 1000 for x in range(1, 1000)):
            losses.append(-(follow * math.log(yes) + others * math.log(1 - yes)) / (follow + others))
        return min(losses)

    assert best(10, 0) < 0.0011  # as near 0 as the grid lets it
    assert abs(best(5, 5) - math.log(2)) < 1e-9


def test_reading_is_parallel_and_writing_is_not() -> None:
    torch.manual_seed(0)
    model = GPT(TransformerConfig(vocab_size=11, d_model=16, n_heads=2, max_len=16)).double().eval()
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    ids = torch.randint(0, 11, (1, 6))
    with torch.no_grad():
        together = model(ids)
        assert len(calls) == 1  # six predictions, one pass, and the same as with six
        alone = torch.cat([model(ids[:, : t + 1])[:, -1:] for t in range(6)], dim=1)
        torch.testing.assert_close(together, alone)
        calls.clear()
        written = ids
        for _ in range(3):
            written = torch.cat([written, model(written)[:, -1:].argmax(-1)], dim=1)
    assert len(calls) == 3
    # What was written second depends on what was written first: another first token, another distribution after it.
    changed = written[:, :7].clone()
    changed[0, 6] = (changed[0, 6] + 1) % 11
    with torch.no_grad():
        assert not torch.allclose(model(written[:, :7])[:, -1], model(changed)[:, -1])
