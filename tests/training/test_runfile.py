"""Run files: read, overridden, checked; errors that name the section."""

import pytest

from companion.config import TransformerConfig
from companion.training.runfile import RunConfig, apply_overrides, read_run

WHOLE = """
[model]
preset = "bert-book"
dropout = 0.0
[objective]
mask_share = 0.2
[data]
corpus = "runs/data/mine"
length = 64
[train]
max_steps = 7
snapshots = [0, 3]
"""


@pytest.fixture
def run_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(WHOLE, encoding="utf-8")
    return path


def test_a_preset_is_taken_with_its_changes(run_file):
    run = read_run(run_file)
    assert run.model == TransformerConfig.preset("bert-book", dropout=0.0)
    assert (run.objective.task, run.objective.mask_share) == ("mlm", 0.2)
    assert (run.data.length, run.train.max_steps, run.train.snapshots) == (64, 7, (0, 3))


def test_a_run_survives_its_round_trip(run_file):
    run = read_run(run_file)
    assert RunConfig.from_dict(run.to_dict()) == run


def test_a_mark_at_the_beginning_of_a_file_is_not_read(run_file):
    before = read_run(run_file)
    run_file.write_bytes(b"\xef\xbb\xbf" + run_file.read_bytes())
    assert read_run(run_file) == before


def test_overrides_replace_single_values(run_file):
    run = read_run(
        run_file, ["train.max_steps=9", "train.peak_lr = 2e-3", "data.corpus=other/place", "machine.threads=2"]
    )
    assert (run.train.max_steps, run.train.peak_lr, run.data.corpus) == (9, 2e-3, "other/place")
    assert run.machine.threads == 2 and run.train.snapshots == (0, 3)


def test_overriding_leaves_the_given_values_alone():
    values = {"train": {"max_steps": 1}}
    apply_overrides(values, ["train.max_steps=2"])
    assert values == {"train": {"max_steps": 1}}


@pytest.mark.parametrize("text", ["max_steps=2", "train.max_steps", "=2", "train.=2", ".max_steps=3"])
def test_an_override_of_another_form_is_refused(text):
    with pytest.raises(ValueError, match=r"expected section\.key=value"):
        apply_overrides({}, [text])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.max_step=3", r"\[train\] TrainConfig has no field \['max_step'\]"),
        ("trian.max_steps=3", r"no section \['trian'\]; it has \['model', "),
        ("model.preset=bert-tiny", r"\[model\] no preset 'bert-tiny'"),
        ("model.heads=3", r"\[model\] TransformerConfig has no field \['heads'\]"),
        ("train.max_steps=many", r"\[train\] max_steps='many' must be a whole number"),
        ("train.peak_lr=high", r"\[train\] "),
        ("objective.task=nsp", r"\[objective\] task='nsp' is not known"),
        ("objective.mask_share=1.5", r"\[objective\] mask_share=1.5"),
        ("data.length=300", "length=300 tokens do not fit into the model's max_len=256"),
        ("data.tokens_per_batch=60", r"\[data\] tokens_per_batch=60 is less than one row of length=64"),
        ("machine.device=tpu", r"\[machine\] device='tpu' is not known"),
        ("machine.fast_float32=1", r"\[machine\] fast_float32=1 must be true or false"),
        ("objective.task=lm", "a GPT has no segments"),
        ("train.batch_size=32", r"train\.batch_size would do nothing: data\.tokens_per_batch says .*; leave it out"),
    ],
)
def test_what_is_wrong_is_named_with_its_section(run_file, override, words):
    with pytest.raises(ValueError, match=words) as error:
        read_run(run_file, [override])
    assert str(error.value).startswith(str(run_file))


@pytest.mark.parametrize("name", ["objective.mask_share=0.15", "model.next_sentence=false"])
def test_what_a_gpt_has_no_use_for_is_refused_in_a_file_and_loads_from_a_stored_run(run_file, name):
    gpt = WHOLE.replace("bert-book", "gpt-book").replace("mask_share = 0.2", 'task = "lm"')
    run_file.write_text(gpt, encoding="utf-8")
    with pytest.raises(ValueError, match=f"{name.partition('=')[0]} would do nothing: a GPT .*; leave it out"):
        read_run(run_file, [name])
    stored = read_run(run_file).to_dict()
    assert {"mask_share", "next_sentence", "batch_size"} < {key for keys in stored.values() for key in keys}
    assert RunConfig.from_dict(stored).objective.task == "lm"


def test_what_is_missing_is_named(run_file):
    run_file.write_text(WHOLE.replace("max_steps = 7", ""), encoding="utf-8")
    with pytest.raises(ValueError, match=r"\[train\].*max_steps"):
        read_run(run_file)


def test_a_file_that_is_missing_or_no_toml(tmp_path):
    with pytest.raises(ValueError, match=r"no run file .*gone\.toml"):
        read_run(tmp_path / "gone.toml")
    path = tmp_path / "bad.toml"
    path.write_text("[model\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"bad\.toml is no TOML file"):
        read_run(path)
    path.write_text("model = 3\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"\[model\]"):
        read_run(path)
