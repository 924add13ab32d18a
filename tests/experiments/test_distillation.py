"""A network taught by a linear model: soft targets, what both may see, two stages, and stopping in between."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from benchmarks.distil import RECIPE, RESULT, ROOT, build_parser, command_of, main, require_same, stage_runs, stages_of
from companion import load_classifier
from companion.cli import main as companion
from companion.data.stream import Batch
from companion.experiments import distillation
from companion.experiments.distillation import (
    STAGES,
    SoftClassification,
    Taught,
    load_teacher,
    taught_once,
    teach,
    teach_network,
    unlabelled_texts,
)
from companion.training.checkpoint import load_checkpoint
from companion.training.finetune import read_split
from companion.training.objectives import Classification

TINY = ["data.source=mini", "data.limit=120", "data.length=24", "train.batch_size=16"]
SET = [part for change in TINY for part in ("--set", change)]


@pytest.fixture(scope="module")
def data():
    return read_split(stage_runs(TINY)["tuned"])


@pytest.fixture(scope="module")
def taught(data):
    return teach(data, unlabelled_texts("mini", data))


@pytest.fixture(scope="module")
def network(data, taught, tmp_path_factory):
    """The folder of a network that was fine-tuned on the same texts."""
    folder = tmp_path_factory.mktemp("network")
    assert main(["--out", str(folder / "a.json"), "--runs", str(folder), *SET]) == 0
    return folder / "tuned"


def logits_of(rows):
    return lambda ids, padding=None: rows[ids[:, 0]]


def test_the_loss_is_torchs_with_probabilities_and_that_of_labels_where_the_teacher_is_certain():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 7, 3, generator=generator, dtype=torch.float64)
    rows = torch.tensor([4, 0, 6])
    batch = Batch(rows[:, None], classes=torch.tensor([2, 1, 0]), rows=rows)
    got = SoftClassification(teacher)(logits_of(student), batch)["classes"]
    due = F.cross_entropy(student[rows], teacher.softmax(dim=-1)[rows], reduction="sum")
    torch.testing.assert_close(got.total.double(), due, rtol=1e-5, atol=1e-5)
    assert got.n_targets == 3
    certain = 1000.0 * F.one_hot(torch.tensor([1, 0, 0, 0, 2, 0, 0]), 3)
    hard = Classification()(logits_of(student), Batch(rows[:, None], classes=torch.tensor([2, 1, 0]), rows=rows))
    soft = SoftClassification(certain)(logits_of(student), batch)["classes"]
    torch.testing.assert_close(soft.total.double(), hard["classes"].total.double(), rtol=1e-5, atol=1e-5)


def first_weights(taught, data, folder, *, factor=1.0, hard=False):
    """The head after the first stage, taught by a teacher that is so many times as sure."""
    said = Taught(taught.texts[:32], taught.logits[:32] * factor, taught.about)
    return teach_network(stage_runs(TINY)["taught"], said, data, folder, hard=hard).model.head.weight


def test_the_network_learns_how_sure_the_teacher_is_and_not_only_its_class(data, taught, tmp_path):
    doubtful, sure = (first_weights(taught, data, tmp_path / str(f), factor=f) for f in (1e-3, 1e7))
    assert not torch.allclose(doubtful, sure)
    hard = [first_weights(taught, data, tmp_path / f"hard{f}", factor=f, hard=True) for f in (1e-3, 1e7)]
    assert torch.equal(*hard)
    torch.testing.assert_close(sure, hard[0], rtol=1e-4, atol=1e-6)  # all but certain: the same as a label


def test_a_pupil_does_not_go_on_with_another_teacher(data, taught, tmp_path):
    first_weights(taught, data, tmp_path / "soft")
    with pytest.raises(ValueError, match="belongs to another objective: teacher was"):
        first_weights(taught, data, tmp_path / "soft", factor=2.0)
    with pytest.raises(ValueError, match="objective is a SoftClassification; this one is a Classification"):
        first_weights(taught, data, tmp_path / "soft", hard=True)
    first_weights(taught, data, tmp_path / "hard", hard=True)
    with pytest.raises(ValueError, match="the texts are not those"):
        first_weights(taught, data, tmp_path / "hard", factor=-1.0, hard=True)


def test_no_text_of_the_labelled_ones_is_among_those_without_labels(data, taught):
    labelled = {*data.train.texts, *data.validation.texts}
    assert len(taught.texts) > 50 and len(set(taught.texts)) == len(taught.texts)
    assert labelled.isdisjoint(taught.texts)
    assert taught.logits.shape == (len(taught.texts), 2)
    assert taught.labelled(("neg", "pos")).labels == taught.logits.argmax(dim=-1).tolist()


def test_the_teacher_does_not_see_what_is_held_out(data, taught):
    """With the held-out labels turned round it says the same of every text, and is right where it was wrong."""
    turned = type(data.validation)(
        data.validation.texts, [1 - c for c in data.validation.labels], data.validation.names, data.validation.rows
    )
    again = teach(type(data)(data.train, turned), taught.texts)
    assert torch.equal(again.logits, taught.logits)
    assert again.about["accuracy"] == pytest.approx(1 - taught.about["accuracy"])


def test_the_teacher_is_asked_once(data, taught, tmp_path, monkeypatch):
    file = tmp_path / "teacher.pt"
    first = taught_once(data, taught.texts, file)
    monkeypatch.setattr(distillation, "teach", lambda *_: pytest.fail("asked twice"))
    again = taught_once(data, taught.texts, file)
    assert torch.equal(first.logits, again.logits) and first.about == again.about
    with pytest.raises(pytest.fail.Exception, match="asked twice"):  # other texts are another question
        taught_once(data, taught.texts[:-1], file)


def test_several_teachers_say_the_mean_of_what_each_one_says(data, taught, network):
    teacher = load_teacher(network, data)
    together = teach(data, taught.texts, [teacher])
    alone = teacher.logits(taught.texts) / teacher.temperature
    due = (taught.logits.softmax(dim=-1).log() + alone.softmax(dim=-1).log()) / 2  # logits but for a constant a text
    torch.testing.assert_close(together.logits.softmax(dim=-1), due.softmax(dim=-1), rtol=1e-4, atol=1e-5)
    right = teacher.logits(data.validation.texts).argmax(dim=-1) == torch.tensor(data.validation.labels)
    assert together.about["network_1_accuracy"] == pytest.approx(right.double().mean().item())
    assert together.about["linear_accuracy"] == taught.about["accuracy"]


def test_a_teacher_that_may_have_seen_what_is_held_out_is_refused(network):
    other = read_split(stage_runs([*TINY, "data.seed=1"])["tuned"])
    with pytest.raises(ValueError, match=r"tuned did not hold out the same texts, .*same data\.source"):
        load_teacher(network, other)


def test_other_networks_are_another_question(data, taught, network, tmp_path, monkeypatch):
    file, teacher = tmp_path / "teacher.pt", load_teacher(network, data)
    texts = taught.texts[:20]
    taught_once(data, texts, file, [teacher])
    monkeypatch.setattr(distillation, "teach", lambda *_: pytest.fail("asked again"))
    taught_once(data, texts, file, [load_teacher(network, data)])
    with torch.no_grad():
        teacher.model.head.bias[0] += 1
    with pytest.raises(pytest.fail.Exception, match="asked again"):
        taught_once(data, texts, file, [teacher])


def test_without_held_out_texts_nobody_could_be_judged():
    data = read_split(stage_runs([*TINY, "finetune.validation=0.0"])["tuned"])
    with pytest.raises(ValueError, match=r"nothing is held out; set finetune\.validation"):
        teach(data, ["A film."])


def test_only_where_texts_without_labels_are_known(data):
    with pytest.raises(ValueError, match=r"nobody knows texts without labels of mine\.csv; take imdb or mini"):
        unlabelled_texts("mine.csv", data)
    other = read_split(stage_runs([*TINY, "data.seed=1"])["tuned"])
    assert len(unlabelled_texts("mini", other, seed=1)) > 50


def test_what_is_wrong_is_said_in_a_line(tmp_path, capsys):
    wrong = ["--set", "finetune.validation=0.0"]
    assert main(["--out", str(tmp_path / "a.json"), "--runs", str(tmp_path), *SET, *wrong]) == 1
    assert "error: nothing is held out" in capsys.readouterr().err and not (tmp_path / "a.json").exists()


def test_the_command_from_end_to_end_and_the_card(tmp_path, capsys):
    record, runs, out = tmp_path / "distilled.json", tmp_path / "runs", tmp_path / "classifier"
    assert main(["--out", str(record), "--runs", str(runs), *SET]) == 0
    told = json.loads(record.read_text(encoding="utf-8"))
    assert f"held out {told['best']['scores']['accuracy']:.2%}" in capsys.readouterr().out
    first, second = told["taught"], told
    assert first["config"]["train"]["peak_lr"] == 1e-3 and second["config"]["train"]["peak_lr"] == 3e-4
    assert first["steps"] == -(-first["texts"] // 16) and second["steps"] == -(-108 // 16)
    assert companion(["export", str(runs / "tuned"), "--record", str(record), "--out", str(out)]) == 0
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"a linear model said of {first['texts']:,} texts without labels, how likely each class is: " in card
    places = f"--out {record.as_posix()} --runs {runs.as_posix()}"
    assert told["command"] == f"python -m benchmarks.distil {' '.join(SET)} {places}"
    assert first["targets"] == "probabilities"
    assert load_classifier(out).predict(["A film."])[0].label in ("neg", "pos")


def test_the_command_with_another_recipe_and_a_network_that_teaches(network, tmp_path):
    recipe, record = tmp_path / "other.toml", tmp_path / "distilled.json"
    recipe.write_text(RECIPE.read_text(encoding="utf-8").replace("dropout = 0.1", "dropout = 0.0", 1), encoding="utf-8")
    given = ["--recipe", str(recipe), "--network", str(network), "--out", str(record), "--runs", str(tmp_path / "runs")]
    assert main([*given, "--hard", *SET]) == 0
    told = json.loads(record.read_text(encoding="utf-8"))
    assert f"--recipe {recipe.as_posix()} --network {network.as_posix()} --hard --set" in told["command"]
    assert told["taught"]["targets"] == "classes"
    assert told["taught"]["teacher"] == "nb+tuned" and 0 <= told["taught"]["teacher_network_1_accuracy"] <= 1
    assert told["config"]["model"]["dropout"] == 0.0
    out = tmp_path / "classifier"
    assert companion(["export", str(tmp_path / "runs" / "tuned"), "--record", str(record), "--out", str(out)]) == 0
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "a fine-tuned network said, averaged, of" in card and "without labels, the likelier class: " in card
    told["taught"]["teacher"] += "+another"
    record.write_text(json.dumps(told), encoding="utf-8")
    assert companion(["export", str(tmp_path / "runs" / "tuned"), "--record", str(record), "--out", str(out)]) == 0
    assert "2 fine-tuned networks said, averaged, of" in (out / "README.md").read_text(encoding="utf-8")


def test_the_command_names_what_differs_from_the_defaults_and_no_folder_of_this_machine():
    def command(*given):
        return command_of(build_parser().parse_args(given))

    assert command() == command("--out", str(RESULT), "--runs", "runs/distilled") == "python -m benchmarks.distil"
    given = "--hard --passes 2 --tuned train.seed=2 --set train.seed=1 --out book/results/o.json --runs runs/o"
    whole = given.replace("book/", f"{ROOT.as_posix()}/book/").replace("runs/", f"{ROOT.as_posix()}/runs/")
    assert command(*given.split()) == command(*whole.split()) == f"python -m benchmarks.distil {given}"


@pytest.mark.parametrize("record", sorted(RESULT.parent.glob("distilled*.json")), ids=lambda path: path.stem)
def test_each_recorded_command_gives_its_record_again(record, monkeypatch):
    """To its own file, with the configuration that is recorded; ``require_same`` would say so."""
    monkeypatch.chdir(ROOT)
    command = json.loads(record.read_text(encoding="utf-8"))["command"]
    options = build_parser().parse_args(command.removeprefix("python -m benchmarks.distil").split())
    assert command_of(options) == command and options.out.resolve() == record
    assert options.runs.resolve() == ROOT / "runs" / record.stem
    require_same(record, command, stages_of(options))
    with pytest.raises(ValueError, match="move it away or give --out"):
        require_same(record, f"{command} --passes 3", stages_of(options))
    with pytest.raises(ValueError, match="move it away or give --out"):
        require_same(record, command, stage_runs([*options.overrides, "train.seed=9"], options.recipe))


def test_a_record_of_another_command_is_not_written_over(tmp_path, capsys, monkeypatch):
    record = tmp_path / "a.json"
    given = ["--out", str(record), "--runs", str(tmp_path), *SET]
    assert main(given) == 0 and main(given) == 0  # the same command may end again
    before = record.read_bytes()
    monkeypatch.setattr("benchmarks.distil.distil", lambda *_, **__: pytest.fail("an hour for nothing"))
    for more in (["--hard"], ["--set", "train.seed=1"], ["--passes", "2"], ["--tuned", "train.seed=1"]):
        assert main([*given, *more]) == 1
        assert "a.json was recorded by another command or configuration" in capsys.readouterr().err
    record.write_text("{}", encoding="utf-8")
    assert main(given) == 1
    record.write_bytes(before)
    with pytest.raises(pytest.fail.Exception, match="an hour for nothing"):
        main(given)


def test_the_stages_may_differ_and_passes_that_would_do_nothing_are_refused():
    first, second = stage_runs(["train.seed=7"], passes=2, tuned=["finetune.epochs=3", "train.peak_lr=5e-4"]).values()
    assert (first.finetune.epochs, second.finetune.epochs, second.train["peak_lr"]) == (2, 3, 5e-4)
    assert first.train["peak_lr"] == 1e-3 and first.train["seed"] == second.train["seed"] == 7
    with pytest.raises(ValueError, match=r"--passes 2 would do nothing beside --set finetune\.epochs"):
        stage_runs(["finetune.epochs=3"], passes=2)


def test_a_run_that_was_stopped_between_the_stages_ends_with_the_same_weights(tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(["--out", str(tmp_path / "a.json"), "--runs", str(whole), *SET]) == 0
    shutil.copytree(whole, stopped)
    shutil.rmtree(stopped / "tuned")
    assert main(["--out", str(tmp_path / "b.json"), "--runs", str(stopped), *SET]) == 0
    a, b = (newest(folder / "tuned") for folder in (whole, stopped))
    assert a == b


def newest(folder: Path) -> bytes:
    return sorted(folder.glob("step-*"))[-1].joinpath("model.safetensors").read_bytes()


def test_the_second_stage_begins_where_the_first_one_ended(tmp_path):
    """At a rate of nearly zero it stays there, head included."""
    changes = [*SET, "--set", "train.peak_lr=1e-12"]
    assert main(["--out", str(tmp_path / "a.json"), "--runs", str(tmp_path), *changes]) == 0
    first, second = (load_checkpoint(tmp_path / name)["model"] for name in STAGES)
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=0, atol=1e-6)


def test_a_second_stage_of_another_first_one_is_no_result_of_this_one(tmp_path, capsys):
    assert main(["--out", str(tmp_path / "a.json"), "--runs", str(tmp_path), *SET]) == 0
    shutil.rmtree(tmp_path / "taught")
    assert main(["--out", str(tmp_path / "b.json"), "--runs", str(tmp_path), "--hard", *SET]) == 1
    assert "tuned holds a second stage of other settings or another first stage" in capsys.readouterr().err
    assert not (tmp_path / "b.json").exists()
