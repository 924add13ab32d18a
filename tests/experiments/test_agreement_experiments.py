"""The experiments measure what they say: scores by hand, parts that are really gone, records that go on."""

import json
import random
from pathlib import Path

import pytest
import torch
from torch import nn

from companion.data.agreement import VOCABULARY, agreement_texts
from companion.experiments.agreement import (
    PARTS,
    SCHEMES,
    agreement_model,
    model_without,
    score_agreement,
    train_on_agreement,
)
from companion.experiments.results import Record, load_result
from companion.nn.attention import MultiHeadAttention

BOOK = Path(__file__).resolve().parents[2] / "book"


class Oracle(nn.Module):
    """Expects at each word exactly the next one, or exactly the other number where ``wrong``."""

    def __init__(self, wrong: bool = False):
        super().__init__()
        self.wrong = wrong

    def forward(self, ids):
        following = ids.roll(-1, dims=1)
        first, plural = VOCABULARY.index("stops"), VOCABULARY.index("stop")
        if self.wrong:
            following = torch.where((following >= first) & (following < plural), following + 4, following)
        return 50.0 * nn.functional.one_hot(following, len(VOCABULARY)).float()


def test_the_score_of_one_who_knows_and_of_one_who_does_not():
    texts = agreement_texts(70, 32, generator=random.Random(0))
    (perfect,) = score_agreement(Oracle(), texts)
    assert perfect.accuracy == 1.0 and perfect.loss < 1e-6 and perfect.verbs == int(texts.is_verb.sum())
    (plural_only,) = score_agreement(Oracle(wrong=True), texts)
    assert plural_only.accuracy == pytest.approx(texts.plural[texts.is_verb].double().mean().item())


def test_blocks_of_a_causal_model_are_prefixes():
    """The first block of long texts is what the model does on short ones."""
    model = agreement_model("rope", seed=0, max_len=64)
    texts = agreement_texts(70, 64, longest=32, generator=random.Random(0))
    parts = score_agreement(model, texts, block=32)
    short = agreement_texts(70, 64, longest=32, generator=random.Random(0))
    cut = type(short)(short.ids[:, :32], short.gap[:, :32], short.plural[:, :32])
    (alone,) = score_agreement(model, cut)
    assert len(parts) == 2 and parts[0].verbs == alone.verbs and parts[0].accuracy == alone.accuracy
    assert parts[0].loss == pytest.approx(alone.loss, rel=1e-5)
    with pytest.raises(ValueError, match="cannot be cut"):
        score_agreement(model, texts, block=30)


def test_training_learns_and_repeats_itself():
    runs = [train_on_agreement(agreement_model("rope", seed=0, max_len=32), steps=25, batch_size=8) for _ in range(2)]
    assert runs[0] == runs[1] and runs[0][-1] < runs[0][0] - 0.3


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_reads_eight_times_the_length(scheme):
    (score,) = score_agreement(
        agreement_model(scheme, seed=0, max_len=256), agreement_texts(2, 256, generator=random.Random(0))
    )
    assert 0.0 <= score.accuracy <= 1.0 and score.loss > 1.0


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_really_gone(part):
    model, whole = model_without(part, seed=0), model_without("nothing", seed=0)
    ids = agreement_texts(2, 16, generator=random.Random(0)).ids
    with torch.no_grad():
        assert torch.allclose(model(ids), whole(ids)) == (part == "nothing")
    kinds = [type(m).__name__ for m in model.modules()]
    attentions = [m for m in model.modules() if isinstance(m, MultiHeadAttention)]
    assert ("MultiHeadAttention" in kinds) == (part != "attention")
    assert ("FeedForward" in kinds) == (part != "feed-forward")
    assert any("Norm" in kind for kind in kinds) == (part != "normalization")
    assert model.config.position == ("none" if part == "positions" else "rope")
    assert {m.n_heads for m in attentions} <= ({1} if part == "heads" else {4})


def test_without_residuals_the_input_is_not_added():
    block = model_without("residuals", seed=0).transformer.blocks[0]
    for p in block.parameters():
        nn.init.zeros_(p)
    assert block(torch.ones(1, 2, 64)).abs().max() == 0.0


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="part='soul' is not known"):
        model_without("soul", seed=0)


def test_a_record_goes_on_but_not_with_another_configuration(tmp_path):
    path = tmp_path / "results" / "r.json"
    Record(path, command="c", config={"a": (1, 2)}).add({"i": 0}, {"x": 1.5})
    again = Record(path, command="c", config={"a": (1, 2)})
    assert again.has(i=0) and not again.has(i=1)
    with pytest.raises(ValueError, match="another configuration"):
        Record(path, command="c", config={"a": (1, 3)})
    assert load_result("r", folder=tmp_path)["runs"][0]["x"] == 1.5
    assert load_result("r", folder=tmp_path / "results" / "deep")["config"] == {"a": [1, 2]}


@pytest.mark.parametrize("name", ["extrapolation", "ablation"])
def test_the_recorded_runs_are_whole(name):
    result = load_result(name, folder=BOOK)
    assert set(result) == {"command", "config", "machine", "date", "seconds", "runs"}
    assert result["command"] == f"python benchmarks/{name}.py"
    assert (BOOK.parent / "benchmarks" / f"{name}.py").is_file()
    assert {run["seed"] for run in result["runs"]} == {0, 1, 2}
    if name == "extrapolation":
        assert {(run["scheme"], run["seed"]) for run in result["runs"]} == {(s, i) for s in SCHEMES for i in range(3)}
    else:
        assert {run["part"] for run in result["runs"]} == set(PARTS)
    json.dumps(result, allow_nan=False)
