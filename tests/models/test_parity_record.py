"""The recorded comparison with PyTorch's and Hugging Face's models: complete, and its smallest cells come out again."""

import json

import pytest

from benchmarks import parity


@pytest.fixture(scope="module")
def recorded() -> dict:
    return json.loads(parity.RESULT.read_text(encoding="utf-8"))


def test_every_cell_of_this_configuration_is_recorded(recorded: dict) -> None:
    assert recorded["config"] == json.loads(json.dumps(parity.CONFIG))
    assert recorded["command"] == "python -m benchmarks.parity"
    cells = [(run["model"], run["shape"]) for run in recorded["runs"]]
    assert sorted(cells) == sorted((model, shape) for model in parity.MODELS for shape in parity.SHAPES)


@pytest.mark.parametrize("model", parity.MODELS)
def test_the_smallest_cell_comes_out_again(recorded: dict, model: str) -> None:
    got = parity.compared(parity.MODELS[model](parity.SHAPES["tiny"]))
    (kept,) = (run for run in recorded["runs"] if (run["model"], run["shape"]) == (model, "tiny"))
    assert got["parameters"] == kept["parameters"]
    for name in ("largest_output", "largest_gradient"):
        assert got[name] == pytest.approx(kept[name], rel=1e-10)
    assert 0.0 < got["largest_output"] and got["output_difference"] < 1e-10
    assert 0.0 < got["largest_gradient"] and got["gradient_difference"] < 1e-10


def test_a_model_that_differs_is_noticed() -> None:
    pair = parity.MODELS["Hugging Face GPT-2"](parity.SHAPES["tiny"])
    ours, theirs = pair.gradients
    wrong = {name: gradient + (name == sorted(ours)[0]) for name, gradient in ours.items()}
    assert parity.compared(pair._replace(gradients=(wrong, theirs)))["gradient_difference"] > 0.5
    assert parity.compared(pair._replace(outputs=(pair.outputs[0] + 1, pair.outputs[1])))["output_difference"] > 0.5
    with pytest.raises(ValueError, match="gradients under different names"):
        parity.compared(pair._replace(gradients=({}, theirs)))
