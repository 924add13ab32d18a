"""The run file of a fine-tuning: a round trip, what follows from the epochs, and the recipes of the book."""

import json
from pathlib import Path

import pytest

from companion.training.finetune import build_finetuner
from companion.training.finetune_config import FineTuneRun, read_finetune

FOLDER = Path(__file__).parents[2] / "book" / "recipes"
RECIPES = [*sorted(FOLDER.glob("imdb-*.toml")), FOLDER / "few-labels.toml"]
LEAST = {"model": {"pretrained": "bert-book-imdb"}, "data": {"source": "imdb"}}


def run_of(**sections) -> FineTuneRun:
    return FineTuneRun.from_dict({**LEAST, **sections})


def test_what_is_left_out_has_a_default_and_everything_makes_the_round_trip():
    run = run_of(
        model={"pretrained": "bert-book-imdb", "dropout": 0.3, "pooling": "first"},
        data={"source": "mine.csv", "labels": ["a", "b", "c"], "eval_keep": "windows"},
        train={"peak_lr": 0.01, "betas": [0.9, 0.98]},
        lora={"targets": ["up_proj"]},
    )
    assert run.data.reading == "windows" and run_of().data.reading == "both"
    assert run.model.shape == {"dropout": 0.3}
    assert FineTuneRun.from_dict(json.loads(json.dumps(run.to_dict()))) == run


def test_steps_follow_from_the_epochs():
    run = run_of(finetune={"epochs": 2.5, "warmup": 0.2, "evaluations": 4}, train={"grad_accum_steps": 2, "seed": 7})
    c = run.train_config(80)  # 40 updates an epoch
    assert (c.max_steps, c.warmup_steps, c.eval_every, c.checkpoint_every, c.seed) == (100, 20, 10, 10, 7)
    assert run_of(train={"checkpoint_every": 3}).train_config(80).checkpoint_every == 3
    assert run_of().train_config(1).eval_every == 1
    few = run_of(finetune={"epochs": 12, "least_steps": 100})
    assert [few.train_config(n).max_steps for n in (1, 8, 9)] == [100, 100, 108]
    given = run_of(finetune={"epochs": 0}, train={"max_steps": 9, "warmup_steps": 2}).train_config(80)
    assert (given.max_steps, given.warmup_steps, given.eval_every) == (9, 2, 0)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"model": {}}, r"\[model\] name a pretrained model, or give a preset or the shape"),
        ({"model": {"preset": "bert-book"}}, "method='full' starts from a pretrained model"),
        ({"data": {}}, r"\[data\] missing 1 required keyword-only argument: 'source'"),
        ({"data": {"source": "imdb", "labels": "neg"}}, r"\[data\] labels='neg' must be a list"),
        ({"data": {"source": "imdb", "labels": [0, 1]}}, r"\[data\] labels=\[0, 1\] must be strings"),
        ({"data": {"source": 2024}}, r"""\[data\] source=2024 must be a string; .* --set 'data.source="2024"'"""),
        ({"data": {"source": "imdb", "tokenizer": 5}}, r"""tokenizer=5 must be .* --set 'data.tokenizer="5"'"""),
        ({"data": {"source": ""}}, r"\[data\] source='' names nothing; give a path or a name, such as mine\.csv"),
        ({"data": {"source": "imdb", "tokenizer": ""}}, r"\[data\] tokenizer='' names nothing; .* such as book"),
        ({"data": {"source": "imdb", "text": 0}}, r"""text=0 must be a string; .* --set 'data.text="0"'"""),
        ({"data": {"source": "imdb", "label": 1}}, r"""label=1 must be a string; .* --set 'data.label="1"'"""),
        ({"model": {"pretrained": 5}}, r"""\[model\] pretrained=5 must be a .* --set 'model.pretrained="5"'"""),
        ({"finetune": {"layer_decay": 1.5}}, r"\[finetune\] layer_decay=1.5 must be in \[0, 1\]"),
        ({"finetune": {"layer_decay": 0.0}}, "layer_decay=0.0 must be a finite number greater than 0"),
        ({"finetune": {"validation": 0.9}}, r"validation=0.9 must be in \[0, 0.5\]"),
        ({"finetune": {"average": 1.0}}, r"average=1.0 must be in \[0, 1\)"),
        ({"finetune": {"epochs": 0, "least_steps": 9}}, "least_steps=9 is the least that epochs may come to, but"),
        ({"finetune": {"epochs": "many"}}, "epochs='many' must be a finite number"),
        (
            {"finetune": {"epochs": 0, "patience": 2}, "train": {"max_steps": 9}},
            "patience=2 counts evaluations, but with epochs=0 and eval_every=0 there is one alone, at the end; set",
        ),
        ({"lora": {"rank": 0}}, r"\[lora\] rank=0 must be a whole number of at least 1"),
        ({"train": {"grad_accum_steps": 0}}, r"\[train\] grad_accum_steps=0 must be"),
        ({"train": []}, r"\[train\] is \[\]; it must be a section"),
        ({"machine": {"device": "tpu"}}, r"\[machine\] device='tpu' is not known"),
    ],
)
def test_what_is_wrong_is_said_with_its_section(sections, words):
    with pytest.raises(ValueError, match=words):
        run_of(**sections)


def test_patience_needs_several_evaluations_and_epochs_bring_them():
    assert run_of(finetune={"patience": 2}).train_config(80).eval_every > 0
    steps = run_of(finetune={"epochs": 0, "patience": 2}, train={"max_steps": 9, "eval_every": 3})
    assert steps.train_config(1).eval_every == 3


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"keep": "head", "eval_keep": "windows"}, "keep='head' and eval_keep='windows', but method='probe' reads"),
        ({"tokens_per_batch": 512}, "tokens_per_batch=512, but method='probe' learns .* set train.batch_size"),
    ],
)
def test_what_a_probe_would_ignore_is_refused_before_it_is_trained(data, words):
    probe = run_of(data={"source": "gone.csv", **data}, finetune={"method": "probe"})  # may be evaluated in that way
    with pytest.raises(ValueError, match=words):
        build_finetuner(probe)
    run_of(data={"source": "gone.csv", **data}).require_used()  # nothing else ignores it


@pytest.mark.parametrize("method", ["full", "probe", "scratch"])
def test_adapters_are_for_lora_alone(method):
    usual = run_of(lora={"rank": 8, "alpha": 16, "targets": ["q_proj", "v_proj"]}, finetune={"method": method})
    usual.require_used()  # as every run.json says it
    for lora, defaults in (
        ({"rank": 4}, "lora.rank=8"),
        ({"targets": ["k_proj"]}, 'lora.targets=["q_proj", "v_proj"]'),
    ):
        with pytest.raises(ValueError) as error:
            build_finetuner(run_of(data={"source": "gone.csv"}, lora=lora, finetune={"method": method}))
        assert f"{[*lora]} of [lora] would do nothing: method='{method}' has no adapters" in str(error.value)
        assert f"leave them out, or at their defaults ({defaults}), or set finetune.method=lora" in str(error.value)
    run_of(lora={"rank": 4}, finetune={"method": "lora"}).require_used()


def test_a_probe_has_no_layers_that_could_learn_more_slowly():
    with pytest.raises(ValueError, match=r"layer_decay=0\.5 would do nothing: .* set finetune\.layer_decay=1"):
        run_of(finetune={"method": "probe", "layer_decay": 0.5}).require_used()
    run_of(finetune={"method": "probe", "head_rate": 3.0}).require_used()  # a faster head is a faster probe
    for method in ("full", "lora", "scratch"):
        run_of(finetune={"method": method, "layer_decay": 0.5}).require_used()


def test_a_probe_may_say_twice_how_it_reads():
    run_of(data={"source": "imdb", "keep": "head", "eval_keep": "head"}, finetune={"method": "probe"}).require_used()


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_the_recipes_of_the_book_can_be_read(path):
    run = read_finetune(path, ["data.limit=100"])
    run.require_used()
    assert run.data.limit == 100 and run.data.source == ("mine.csv" if path.stem == "few-labels" else "imdb")
    assert run.train_config(704).max_steps > 0


def test_there_is_a_recipe_for_each_method():
    methods = {path.stem: read_finetune(path).finetune.method for path in RECIPES}
    assert methods.items() >= {f"imdb-{method}": method for method in ("full", "probe", "lora", "scratch")}.items()
