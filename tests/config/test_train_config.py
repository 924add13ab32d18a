"""How to train: checked at birth, and the same after a trip through JSON or TOML."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion import TrainConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_steps": 0}, "max_steps=0 must be a whole number of at least 1"),
        ({"max_steps": 10.0}, "max_steps=10.0 must be a whole number"),
        ({"grad_accum_steps": 0}, "grad_accum_steps=0 must be a whole number of at least 1"),
        ({"warmup_steps": -1}, "warmup_steps=-1 must be a whole number of at least 0"),
        ({"keep_checkpoints": 0}, "keep_checkpoints=0 must be a whole number of at least 1"),
        ({"eval_every": True}, "eval_every=True must be a whole number"),
        ({"snapshots": [10, -5]}, "snapshots=-5 must be a whole number of at least 0"),
        ({"peak_lr": 0.0}, "peak_lr=0.0 must be a finite number greater than 0"),
        ({"peak_lr": "0.1"}, "peak_lr='0.1' must be a finite number greater than 0"),
        ({"peak_lr": float("nan")}, "peak_lr=nan must be a finite number"),
        ({"grad_clip": float("inf")}, "grad_clip=inf must be a finite number of at least 0"),
        ({"min_lr": 0.1, "peak_lr": 0.01}, "min_lr=0.1 must be at most peak_lr=0.01"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1 must be a finite number of at least 0"),
        ({"eps": 0}, "eps=0 must be a finite number greater than 0"),
        ({"betas": (0.9, 1.0)}, r"betas=\(0.9, 1.0\) must be two numbers in \[0, 1\)"),
        ({"betas": (0.9,)}, r"betas=\(0.9,\) must be two numbers"),
        ({"betas": (0.9, "0.99")}, "betas='0.99' must be a finite number"),
        ({"schedule": "step"}, r"schedule='step' is not known; choose one of \['cosine', 'linear', 'constant', 'trap"),
        ({"precision": "fp16"}, r"precision='fp16' is not known; choose one of \['fp32', 'bf16'\]"),
        ({"decay_steps": 5}, "decay_steps=5 belongs to schedule='trapezoid', but schedule='cosine'"),
        ({"schedule": "trapezoid"}, "schedule='trapezoid' with decay_steps=0 would never fall; set decay_steps, or"),
    ],
)
def test_what_cannot_work_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{"max_steps": 10, **fields})


def test_an_unknown_field_is_an_error():
    with pytest.raises(ValueError, match=r"TrainConfig has no field \['lr'\]; it has \['max_steps', 'batch_size'"):
        TrainConfig.from_dict({"max_steps": 10, "lr": 1e-3})


@given(
    steps=st.integers(1, 10**6),
    rate=st.floats(1e-9, 1),
    betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    snapshots=st.lists(st.integers(0, 1000), max_size=3),
    schedule=st.sampled_from(["cosine", "linear", "constant", "trapezoid"]),
)
def test_round_trip_through_json(steps, rate, betas, snapshots, schedule):
    decay = {"decay_steps": 5} if schedule == "trapezoid" else {}
    config = TrainConfig(max_steps=steps, peak_lr=rate, betas=betas, snapshots=snapshots, schedule=schedule, **decay)
    again = TrainConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config and hash(again) == hash(config) and again.snapshots == tuple(snapshots)
