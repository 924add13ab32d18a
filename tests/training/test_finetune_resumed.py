"""A fine-tuning that goes on: with the same bits as one that was not stopped, and what may be set anew."""

import copy
import sys

import pytest
from small_finetuning import (
    killed_between_evaluations,
    mini,
    run_of,
    trained_by_each_method,
    tuner_of,
    write_bert,
)
from tiny_training import CONTEXT, KILL, differences

from companion import load_checkpoint
from companion.data.labelled import split_validation
from companion.training.checkpoint import latest_checkpoint
from companion.training.finetune import LabelledSplit, build_finetuner
from companion.training.schedule import learning_rate

KILLED = 1 if sys.platform == "win32" else -KILL


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def trained(bert):
    return trained_by_each_method(bert)


def test_a_stopped_run_of_each_method_ends_with_the_same_bits(bert, trained, tmp_path):
    for method, (run, whole) in trained.items():
        tuner_of(run).fit(progress=False, until=7, checkpoint_dir=tmp_path / method)
        tuner = tuner_of(run)
        tuner.load_state_dict(load_checkpoint(tmp_path / method))
        tuner.fit(progress=False)
        assert differences(tuner.state_dict(), whole.state_dict()) == [], method


def test_a_killed_run_ends_with_the_same_bits(bert, trained, tmp_path):
    method = "lora"
    child = CONTEXT.Process(target=killed_between_evaluations, args=(str(tmp_path), bert, method, 7))
    child.start()
    child.join(300)
    assert child.exitcode == KILLED
    run, whole = trained[method]
    tuner = tuner_of(run)
    assert latest_checkpoint(tmp_path).name == "step-00000006"
    tuner.load_state_dict(load_checkpoint(tmp_path))
    tuner.fit(progress=False, checkpoint_dir=tmp_path)
    assert differences(tuner.state_dict(), whole.state_dict()) == []


def test_a_resumed_run_may_be_more_patient_but_not_another_one(bert, trained):
    state = trained["full"][1].state_dict()
    tuner_of(run_of(bert, finetune={"patience": 3})).load_state_dict(state)
    for sections, words in (
        ({"data": {"keep": "head"}}, r"another section \[data\]: keep was 'windows' and is 'head'"),
        ({"finetune": {"layer_decay": 0.8}}, "layer_decay was 0.9 and is 0.8"),
        ({"model": {"pooling": "first"}}, "pooling was 'mean' and is 'first'"),
        ({"train": {"peak_lr": 0.02}}, "peak_lr was 0.01 and is 0.02"),
    ):
        with pytest.raises(ValueError, match=words):
            tuner_of(run_of(bert, **sections)).load_state_dict(state)


@pytest.mark.parametrize(
    ("changed", "plan"),
    [
        ({"epochs": 5}, (20, 2, 2)),
        ({"epochs": 3.5}, (14, 1, 2)),
        ({"least_steps": 30}, (30, 3, 2)),
        ({"warmup": 0.5}, (12, 6, 2)),
        ({"evaluations": 4}, (12, 1, 1)),
        ({"patience": 1}, (12, 1, 2)),
        ({"epochs": 6, "warmup": 0.25, "evaluations": 1, "patience": 9}, (24, 6, 4)),
    ],
)
def test_what_may_be_set_anew_takes_the_new_plan(bert, changed, plan, tmp_path):
    """And the steps, warm-up and evaluations that follow from it; a resumed run of the new plan is still exact."""
    tuner_of(run_of(bert)).fit(progress=False, until=7, checkpoint_dir=tmp_path)
    state = load_checkpoint(tmp_path)
    run = run_of(bert, finetune=changed)
    whole = tuner_of(run)
    whole.load_state_dict(state)
    c = whole.config
    assert (c.max_steps, c.warmup_steps, c.eval_every) == plan
    whole.fit(progress=False)
    assert whole.finished and (whole.step == c.max_steps or whole.waited == run.finetune.patience)
    rates = [record["lr"] for record in whole.history[7:]]
    assert rates == [learning_rate(step, c) for step in range(7, whole.step)]
    assert [r["step"] for r in whole.history[7:] if "valid_loss" in r] == [
        step for step in range(8, whole.step + 1) if step % c.eval_every == 0 or step == c.max_steps
    ]
    paused = tuner_of(run)
    paused.load_state_dict(state)
    paused.fit(progress=False, until=8)
    resumed = tuner_of(run)
    resumed.load_state_dict(copy.deepcopy(paused.state_dict()))
    resumed.fit(progress=False)
    assert differences(resumed.state_dict(), whole.state_dict()) == []


def test_a_run_at_its_end_goes_on_with_the_rate_of_the_longer_plan(bert, trained):
    """Higher than it had come down to, and down again; it does not rise a second time."""
    tuner = tuner_of(run_of(bert, finetune={"epochs": 6}, train={"schedule": "linear"}))
    short = tuner_of(run_of(bert, train={"schedule": "linear"}))
    short.fit(progress=False)
    tuner.load_state_dict(copy.deepcopy(short.state_dict()))
    assert not tuner.finished and tuner.step == 12 > tuner.config.warmup_steps
    tuner.fit(progress=False)
    rates = [record["lr"] for record in tuner.history]
    assert rates[12] > rates[11] and rates[12:] == sorted(rates[12:], reverse=True)
    assert rates[12:] == [learning_rate(step, tuner.config) for step in range(12, 24)]


def test_fewer_steps_than_were_made_are_refused(bert, trained):
    state = trained["full"][1].state_dict()
    with pytest.raises(ValueError, match=r"the run has made 12 steps, epochs=1 asks for 4; ask for as many or more"):
        tuner_of(run_of(bert, finetune={"epochs": 1})).load_state_dict(state)
    by_steps = {"finetune": {"epochs": 0}, "train": {"max_steps": 11, "warmup_steps": 1, "eval_every": 2}}
    with pytest.raises(ValueError, match=r"made 12 steps, train\.max_steps asks for 11; ask for as many or more"):
        tuner_of(run_of(bert, **by_steps)).load_state_dict(state)
    by_steps["train"] |= {"max_steps": 12, "warmup_steps": 3}  # set by hand, it is no consequence of the epochs
    with pytest.raises(ValueError, match="warmup_steps was 1 and is 3"):
        tuner_of(run_of(bert, **by_steps)).load_state_dict(state)


def test_a_checkpoint_of_other_texts_is_refused(bert):
    """Or texts that were learned would be held out now."""
    run = run_of(bert)
    one = tuner_of(run)
    state = copy.deepcopy(one.state_dict())
    turned = mini().take(range(len(mini()))[::-1])
    other = build_finetuner(run, data=LabelledSplit(*split_validation(turned, 0.2, seed=run.data.seed)))
    with pytest.raises(ValueError, match="the texts are not those that the checkpoint was trained on and judged by"):
        other.load_state_dict(state)
    state.pop("texts")
    other.load_state_dict(state)  # an older checkpoint says nothing of them


def test_a_checkpoint_of_a_pretraining_is_refused(bert):
    with pytest.raises(ValueError, match="of no fine-tuning; choose another folder"):
        tuner_of(run_of(bert)).load_state_dict({"step": 3})
