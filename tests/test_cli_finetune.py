"""From labelled texts to answers: finetune, evaluate, export, predict; and what is said when something is wrong."""

import io
import json
import re
import signal
import socket
import subprocess
import sys

import pytest
import torch

from companion import BERT, TransformerConfig, load_classifier
from companion.cli import main
from companion.data.labelled import read_labelled, split_validation
from companion.models.pretrained import save_pretrained
from companion.training.checkpoint import checkpoints, load_checkpoint
from companion.training.compatibility import evaluation_run
from companion.training.finetune import load_finetuned
from companion.training.record import Log
from companion.training.scores import data_scores, unseen_accuracy

SHAPE = {"vocab_size": 8192, "max_len": 40, "d_model": 8, "n_layers": 1, "d_ff": 12, "position": "rope"}
RUN = """
[model]
pretrained = "BERT"
dropout = 0.1
[data]
source = "mini"
limit = 60
length = 24
keep = "both"
[finetune]
method = "lora"
epochs = 2
validation = 0.2
[lora]
rank = 2
[train]
batch_size = 12
peak_lr = 0.01
[machine]
device = "cpu"
log_every = 2
"""
PROBE = ("finetune.method=probe", "lora.rank=8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pretrained model, a run file, and a run made from it, with its record."""
    folder = tmp_path_factory.mktemp("fine")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        save_pretrained(folder / "bert", BERT(TransformerConfig(**SHAPE, init_std=0.3)), card="")
    run = RUN.replace("BERT", (folder / "bert").as_posix())
    (folder / "small.toml").write_text(run, encoding="utf-8")
    assert finetune(folder, folder / "run", "--record", str(folder / "record.json")) == 0
    return folder


def finetune(folder, out, *more):
    return main(["finetune", str(folder / "small.toml"), "--out", str(out), *more])


def fails(capsys, *arguments):
    """The one line that a failing command says."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 1
    said = capsys.readouterr().err
    assert said.startswith("companion: error: ") and said.count("\n") == 1, said
    return said


def said_by(capsys, *arguments):
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


# --- finetune


def test_a_run_leaves_checkpoints_a_log_and_a_record(folder):
    out = folder / "run"
    assert [path.name for path in checkpoints(out)] == ["step-00000006", "step-00000008"]
    assert len((out / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 8
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    assert record["steps"] == record["planned_steps"] == 8
    assert record["data"]["train"]["texts"] == 48 and record["data"]["validation"]["texts"] == 12
    assert record["config"]["lora"] == {"rank": 2, "alpha": 16.0, "targets": ["q_proj", "v_proj"]}
    assert record["trained"] == 2 * 2 * (8 + 8) + 2 * (8 + 1) < record["parameters"]
    assert record["best"]["step"] in [entry["step"] for entry in record["held_out"]] == [2, 4, 6, 8]
    assert set(record["best"]) == {"step", "scores", "temperature", "ece", "calibrated_ece"}
    assert record["command"].startswith("companion finetune") and record["command"].endswith("small.toml")


def test_what_happens_is_said(folder, tmp_path, capsys):
    capsys.readouterr()
    probe = [word for override in PROBE for word in ("--set", override)]
    assert finetune(folder, tmp_path, *probe, "--set", "finetune.patience=1") == 0
    said = capsys.readouterr().out
    assert re.search(r"48 texts to learn from \(\d+ neg, \d+ pos\), 12 held out", said)
    assert "probe: 18 of " in said and "valid_accuracy" in said
    assert re.search(r"best on the 12 held-out texts at step \d: accuracy \d+\.\d\d% \(95 % interval \d", said)
    assert "too few texts for a temperature, calibration error" in said
    assert f"next: companion evaluate {tmp_path.as_posix()}; companion predict" in said  # mini has a test part
    assert finetune(folder, tmp_path, *probe, "--set", "finetune.patience=1") == 0
    assert "nothing left to do" in capsys.readouterr().out


def test_a_run_of_few_steps_is_told_how_it_gets_more(folder, tmp_path, capsys, monkeypatch):
    def said_of(name, *overrides):
        capsys.readouterr()
        sets = [word for override in overrides for word in ("--set", override)]
        assert finetune(folder, tmp_path / name, *sets) == 0
        return capsys.readouterr().out

    few = (
        "only 8 steps: small sets need more; add --set finetune.least_steps=100, or take book/recipes/few-labels.toml\n"
    )
    assert few in said_of("few")
    assert few in said_of("probe", *PROBE)
    one = said_of("one", "finetune.epochs=0", "train.max_steps=1")
    assert "are trained, 1 step\n" in one and "only 1 step: small sets need more" in one and "done: 1 step;" in one
    by_hand = said_of("by hand", "finetune.epochs=0", "train.max_steps=3")
    assert "only 3 steps: small sets need more; add --set train.max_steps=100" in by_hand
    again = said_of("by hand", "finetune.epochs=0", "train.max_steps=3")
    assert "nothing left to do; more with --set train.max_steps=...\n" in again
    monkeypatch.setattr("companion.cli.finetune.FEW_STEPS", 8)
    assert "steps: small sets" not in said_of("enough", *PROBE)


def test_what_the_hint_at_the_end_says_works(folder, tmp_path, capsys):
    assert finetune(folder, tmp_path) == finetune(folder, tmp_path) == 0
    assert "nothing left to do; more with --set finetune.epochs=...\n" in capsys.readouterr().out
    assert finetune(folder, tmp_path, "--set", "finetune.epochs=3") == 0
    said = capsys.readouterr().out
    assert "going on in" in said and "after step 8" in said and "done: 12 steps" in said
    said = fails(capsys, "finetune", folder / "small.toml", "--out", tmp_path, "--set", "finetune.epochs=1")
    assert "the run has made 12 steps, epochs=1 asks for 4; ask for as many or more" in said


def test_a_stopped_run_goes_on_and_ends_with_the_same_bits(folder, tmp_path, capsys, monkeypatch):
    noted = Log.__call__

    def stop_at_the_third(log, record):
        noted(log, record)
        if record["step"] == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Log, "__call__", stop_at_the_third)
    assert finetune(folder, tmp_path) == 130
    monkeypatch.setattr(Log, "__call__", noted)
    assert "and saved; the same command goes on" in capsys.readouterr().out
    assert finetune(folder, tmp_path) == 0
    assert "going on in" in capsys.readouterr().out
    whole, halves = (load_checkpoint(path) for path in (folder / "run", tmp_path))
    assert all(torch.equal(tensor, halves["model"][name]) for name, tensor in whole["model"].items())
    assert halves["best"]["step"] == whole["best"]["step"]
    assert halves["best"]["temperature"] == whole["best"]["temperature"]


def test_own_texts_and_classes(folder, tmp_path, capsys):
    rows = [{"body": f"{word} {i}", "stars": stars} for i in range(12) for word, stars in (("bad", 1), ("good", 5))]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"body": " ", "stars": 1}]), encoding="utf-8")
    own = [f"data.source={path.as_posix()}", "data.limit=0", 'data.labels=["1", "5"]', "data.text=body"]
    sets = [word for override in [*own, "data.label=stars", "finetune.epochs=1"] for word in ("--set", override)]
    assert finetune(folder, tmp_path / "run", *sets) == 0
    assert "20 texts to learn from (10 1, 10 5), 4 held out; left out: 1 text without a word" in capsys.readouterr().out
    assert load_finetuned(tmp_path / "run")[0].labels == ("1", "5")
    assert "has no test split of its own" in fails(capsys, "evaluate", tmp_path / "run")
    scores = json.loads(said_by(capsys, "evaluate", tmp_path / "run", "--data", path, "--json"))
    assert scores["texts"] == 24 and scores["data"] == str(path)


def test_what_is_wrong_with_a_run_or_its_data_is_said_in_one_line(folder, tmp_path, capsys, monkeypatch):
    def of(*overrides):
        sets = [word for override in overrides for word in ("--set", override)]
        return fails(capsys, "finetune", folder / "small.toml", "--out", tmp_path / "run", *sets)

    csv = tmp_path / "a.csv"
    csv.write_text("review,label\nGood.,pos\n", encoding="utf-8")
    mine = f"data.source={csv.as_posix()}"
    assert "there is no column 'text', only ['review', 'label']" in of(mine)
    assert "texts of one class only, ['pos']" in of(mine, "data.text=review", "data.limit=0")
    assert "the label 'pos' is not in the class list ['a', 'b']" in of(
        mine, "data.text=review", 'data.labels=["a","b"]'
    )
    assert "there is no data 'gone.csv'; give imdb, mini, a folder or a file" in of("data.source=gone.csv")
    assert "no pretrained model 'bert-huge'" in of("model.pretrained=bert-huge")
    for name in ("model.pretrained", "data.source", "data.tokenizer"):
        assert f"put it in quotation marks, like --set '{name}=\"5\"'" in of(f"{name}=5")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "device='cuda', but PyTorch finds none here" in of("machine.device=cuda")
    assert "[finetune] method='half' is not known" in of("finetune.method=half")
    assert "[data] keep='middle' is not known" in of("data.keep=middle")
    assert "['max_steps'] of [train] follow from epochs=2" in of("train.max_steps=9")
    assert "[train] missing 1 required keyword-only argument: 'max_steps'" in of("finetune.epochs=0")
    assert "[train] TrainConfig has no field ['lr']" in of("train.lr=1")
    assert "['d_model'] follow from the pretrained model" in of("model.d_model=16")
    assert "[model] there is no field ['pool']" in of("model.pool=mean")
    assert "['rank'] of [lora] would do nothing: method='full' has no adapters" in of("finetune.method=full")
    assert "starts from a pretrained model; name it in [model] pretrained" in of(
        "model.pretrained=", "model.preset=bert-book"
    )
    assert "no section ['objective']" in of("objective.task=mlm")
    assert "patience=2 needs texts to validate on" in of("finetune.patience=2", "finetune.validation=0")
    assert "no run file" in fails(capsys, "finetune", tmp_path / "gone.toml")
    assert "--fresh" in fails(capsys, "finetune", folder / "small.toml", "--out", folder / "run", "--fresh")
    assert not (tmp_path / "run").exists()


# --- evaluate and export


def test_evaluation_is_that_of_the_training(folder, capsys):
    best = json.loads((folder / "record.json").read_text(encoding="utf-8"))["best"]
    scores = json.loads(said_by(capsys, "evaluate", folder / "run", "--split", "validation", "--json"))
    assert scores["accuracy"] == pytest.approx(best["scores"]["accuracy"], abs=1e-4)
    assert scores["calibrated_ece"] == pytest.approx(best["calibrated_ece"], abs=1e-4)
    assert scores["texts"] == 12 and scores["step"] == best["step"]
    said = said_by(capsys, "evaluate", folder / "run")
    assert "data mini, split test" in said and "2,000 texts" in said and "accuracy_pos" in said and "%" in said


def test_only_what_was_held_out_is_called_so(folder, tmp_path, capsys):
    validation = ("--split", "validation")
    said_by(capsys, "export", folder / "run", "--out", tmp_path)
    for model in (folder / "run", tmp_path):
        said = fails(capsys, "evaluate", model, *validation, "--set", "data.seed=7")
        assert "these are not the texts that the training held out: mini has changed, or data.seed" in said
    said = fails(capsys, "evaluate", folder / "run", *validation, "--data", "mini")
    assert "--data gives other texts, --split validation those that were held out; take one" in said


def test_what_may_be_set_in_an_evaluation_leaves_the_classifier_as_it_is(folder, tmp_path, capsys):
    exported = tmp_path / "mine"
    said_by(capsys, "export", folder / "run", "--out", exported)
    for model in (folder / "run", exported):

        def scores(*overrides, model=model):
            sets = [word for override in overrides for word in ("--set", override)]
            return json.loads(said_by(capsys, "evaluate", model, "--json", "--set", "data.limit=60", *sets))

        usual = scores()
        assert usual["texts"] == 60  # of the texts that it is tested on
        assert scores('data.labels=["pos", "neg"]') == usual  # by name
        assert scores("machine.threads=1", "train.precision=fp32") == usual
        assert scores("data.seed=3")["loss"] != usual["loss"] != scores("data.length=5")["loss"]
        for override in ("model.pooling=first", "data.tokenizer=/nonexist", "finetune.validation=0.5", "lora.rank=3"):
            said = fails(capsys, "evaluate", model, "--set", override)
            name = override.partition("=")[0]
            assert f"['{name}'] cannot be set in an evaluation" in said and "Only data.source, data.text" in said
        for labels in ('["good", "bad"]', '["neg", "pos", "mixed"]'):
            said = fails(capsys, "evaluate", model, "--set", f"data.labels={labels}")
            assert "but the classes of this classifier are ['neg', 'pos']" in said
        validation = ("evaluate", model, "--split", "validation", "--json")
        held_out, turned = (
            json.loads(said_by(capsys, *validation, *more)) for more in ((), ("--set", 'data.labels=["pos", "neg"]'))
        )
        assert turned == held_out


def test_a_setting_that_another_one_overrules_is_refused():
    values = {"model": {"preset": "bert-book"}, "data": {"source": "mini", "eval_keep": "windows"}}
    values["finetune"] = {"method": "scratch"}
    assert evaluation_run(values, ["data.eval_keep=head"]).data.reading == "head"
    with pytest.raises(ValueError, match=r"keep='head', but eval_keep='windows' is what .*; set data\.eval_keep"):
        evaluation_run(values, ["data.keep=head"])


def test_classes_keep_their_numbers_whatever_the_order_of_their_names(folder, tmp_path, capsys):
    """A classifier of (pos, neg) is tested on reviews, which name them the other way round."""
    out = tmp_path / "run"
    assert finetune(folder, out, "--set", 'data.labels=["pos", "neg"]') == 0
    classifier, test = load_finetuned(out)[0], read_labelled("mini", part="test")
    assert classifier.labels == ("pos", "neg")
    guesses = [classifier.labels[i] for i in classifier.logits(test.texts).argmax(dim=-1).tolist()]
    right = sum(guess == test.names[i] for guess, i in zip(guesses, test.labels, strict=True)) / len(test)
    for sets in ((), ("--set", 'data.labels=["neg", "pos"]')):
        assert json.loads(said_by(capsys, "evaluate", out, "--json", *sets))["accuracy"] == pytest.approx(right)


def test_texts_of_one_class_can_be_tested_on_but_not_learned_from(folder, tmp_path, capsys):
    path = tmp_path / "praise.ndjson"
    path.write_text("".join(f'{{"text": "Good, {i}.", "label": "pos"}}\n' for i in range(5)), encoding="utf-8")
    scores = json.loads(said_by(capsys, "evaluate", folder / "run", "--data", path, "--json"))
    assert scores["texts"] == 5 and scores["accuracy"] == scores["accuracy_pos"] and "accuracy_neg" not in scores
    mine = ("--set", f"data.source={path.as_posix()}", "--set", "data.limit=0")
    said = fails(capsys, "finetune", folder / "small.toml", "--out", tmp_path / "run", *mine)
    assert "texts of one class only, ['pos'], and 5 of them; a classifier learns from 2 or more" in said


def test_another_way_with_long_texts_can_be_judged(folder, capsys):
    lengths = ("--split", "validation", "--json", "--set", "data.length=8")
    head, windows = (
        json.loads(said_by(capsys, "evaluate", folder / "run", *lengths, "--set", f"data.eval_keep={keep}"))
        for keep in ("head", "windows")
    )
    assert head["loss"] != windows["loss"]


def test_the_accuracy_without_what_was_seen_in_training():
    logits, labels = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 0.0]]), torch.tensor([0, 1, 1, 1])
    assert unseen_accuracy(logits, labels, [7, 8, 9, 10], {8, 11}) == {
        "accuracy_unseen": pytest.approx(2 / 3),
        "seen_in_training": 1,
    }


def test_only_imdbs_test_split_is_asked_for_what_was_seen(monkeypatch):
    monkeypatch.setattr("companion.training.scores.rows_also_in", lambda *_: [1])
    data, logits = read_labelled("mini", limit=4), torch.eye(4)[:, :2]
    assert data_scores(logits, data, source="imdb", part="test")["seen_in_training"] == 1
    for source, part in (("imdb", "train"), ("mini", "test")):
        assert "seen_in_training" not in data_scores(logits, data, source=source, part=part)


def test_an_exported_classifier_answers_as_its_run(folder, tmp_path, capsys):
    record = tmp_path / "record.json"
    record.write_bytes((folder / "record.json").read_bytes())
    said_by(capsys, "evaluate", folder / "run", "--record", record)
    noted, test = json.loads(record.read_text(encoding="utf-8"))["evaluation"], read_labelled("mini", part="test")
    answers = load_finetuned(folder / "run")[0].logits(test.texts).argmax(dim=-1)
    wrong = {row for row, c, given in zip(test.rows, test.labels, answers.tolist(), strict=True) if c != given}
    assert set(noted["wrong_rows"]) == wrong and len(wrong) == round((1 - noted["accuracy"]) * len(test))
    out = tmp_path / "mine"
    said_by(capsys, "export", folder / "run", "--out", out, "--record", record)
    exported, run = load_classifier(out), load_finetuned(folder / "run")[0]
    texts = read_labelled("mini", limit=10, part="test").texts
    torch.testing.assert_close(exported.probabilities(texts), run.probabilities(texts), rtol=0, atol=2e-3)
    assert exported.temperature == run.temperature and exported.labels == ("neg", "pos")
    card = (out / "README.md").read_text(encoding="utf-8")
    assert 'load_classifier("mine")' in card and "low-rank adapters" in card and "| accuracy |" in card
    assert "mini, test, 2,000 texts" in card and "What it cannot do" in card
    scores = json.loads(said_by(capsys, "evaluate", out, "--split", "validation", "--json"))
    held_out = split_validation(read_labelled("mini", limit=60), 0.2)[1]
    logits = exported.logits(held_out.texts)
    right = (logits.argmax(-1) == torch.tensor(held_out.labels)).double().mean()
    assert scores["model"] == str(out) and scores["accuracy"] == float(right)


def test_a_card_without_a_record_has_no_figures(folder, tmp_path, capsys):
    said_by(capsys, "export", folder / "run", "--step", "6", "--out", tmp_path)
    assert "|" not in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_a_record_of_a_pretraining_is_refused(folder, tmp_path, capsys):
    (tmp_path / "other.json").write_text('{"corpus": {}, "config": {}}', encoding="utf-8")
    said = fails(capsys, "export", folder / "run", "--out", tmp_path / "out", "--record", tmp_path / "other.json")
    assert "other.json is no record of a fine-tuning" in said and "`companion finetune --record`" in said
    assert not (tmp_path / "out").exists()


def test_the_commands_of_pretraining_say_that_a_fine_tuning_is_another_thing(folder, capsys):
    assert "is no classifier" in fails(capsys, "evaluate", "bert-book-imdb", "--data", "mini")
    assert "holds no checkpoint of step 3" in fails(capsys, "evaluate", folder / "run", "--step", "3")


# --- predict


def test_a_text_gets_its_class(folder, capsys):
    text = "A quiet film, and a good one."
    expected = load_finetuned(folder / "run")[0].predict([text])[0]
    said = said_by(capsys, "predict", text, "--model", folder / "run")
    assert said == f"{expected.label:<8}{expected.probability:7.1%}  {text}\n"
    row = json.loads(said_by(capsys, "predict", text, "--model", folder / "run", "--json"))
    assert row == {"line": 1, **expected.to_dict()} and row["tokens"] == 9


def test_files_and_standard_input_give_the_same(folder, tmp_path, capsys, monkeypatch):
    texts = ["Not bad at all. Café!", "Dull, dull, dull.", "word " * 200]
    (tmp_path / "a.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    lines = "".join(json.dumps({"text": text, "id": i}) + "\n" for i, text in enumerate(texts))
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "a.txt").read_bytes())))
    model = ("--model", folder / "run", "--json")
    said = [
        said_by(capsys, "predict", "--file", tmp_path / "a.txt", *model),
        said_by(capsys, "predict", "--file", tmp_path / "a.jsonl", *model),
        said_by(capsys, "predict", "-", *model),
        said_by(capsys, "predict", *texts, *model),
    ]
    assert said[0] == said[1] == said[2] == said[3]
    rows = [json.loads(line) for line in said[0].splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3] and (rows[2]["tokens"], rows[2]["read"]) == (200, 22)


def test_an_empty_line_is_said_and_skipped(folder, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("Good.\n\n \t\nBad.\n", encoding="utf-8")
    (tmp_path / "a.jsonl").write_text('{"text": "Good."}\n\n{"text": null}\n{"text": "Bad."}\n', encoding="utf-8")
    for name in ("a.txt", "a.jsonl"):
        assert main(["predict", "--file", str(tmp_path / name), "--model", str(folder / "run"), "--json"]) == 0
        said = capsys.readouterr()
        assert [json.loads(line)["line"] for line in said.out.splitlines()] == [1, 4]
        assert said.err == "companion: line 2 has no word; skipped\ncompanion: line 3 has no word; skipped\n"
    assert main(["predict", "", "--model", str(folder / "run")]) == 1
    assert "line 1 has no word" in capsys.readouterr().err


def test_what_cannot_be_predicted_is_said_in_one_line(folder, tmp_path, capsys, monkeypatch):
    model = ("--model", folder / "run")
    assert "there is no file" in fails(capsys, "predict", "--file", tmp_path / "gone.txt", *model)
    assert "is a folder; --file takes one file" in fails(capsys, "predict", "--file", tmp_path, *model)
    assert "bert-book-imdb is a bert, which tells no classes" in fails(
        capsys, "predict", "x", "--model", "bert-book-imdb"
    )
    (tmp_path / "a.jsonl").write_text('{"text": "Good."}\n{"body": "Bad."}\n', encoding="utf-8")
    assert "line 2: there is no field 'text', only ['body']" in fails(
        capsys, "predict", "--file", tmp_path / "a.jsonl", *model
    )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Good.\n\xff\n")))
    assert "standard input, line 2 is no UTF-8" in fails(capsys, "predict", "-", *model)
    assert "text 1 is no UTF-8" in fails(capsys, "predict", "bad \udcff byte", *model)
    monkeypatch.setattr("companion.cli.predict.pretrained_names", lambda: ["bert-book-imdb"])
    said = fails(capsys, "predict", "Good.")
    assert "no classifier ships" in said and "companion finetune" in said and "--model" in said


def test_classes_and_texts_that_the_console_cannot_show(folder, tmp_path, monkeypatch):
    rows = [{"text": f"{word} {i}", "label": word} for i in range(6) for word in ("差", "好")]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    own = [f"data.source={path.as_posix()}", "data.limit=0", 'data.labels=["差", "好"]', "finetune.epochs=1"]
    said = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", write_through=True)
    monkeypatch.setattr(sys, "stdout", said)
    assert finetune(folder, tmp_path / "run", *(word for override in own for word in ("--set", override))) == 0
    assert b"10 texts to learn from (5 ?, 5 ?)" in said.buffer.getvalue()
    assert main(["predict", "Café 好", "--model", str(tmp_path / "run")]) == 0
    assert re.search(rb"\? +\d+\.\d%  Caf\xe9 \?\r?\n$", said.buffer.getvalue())


def test_nothing_is_asked_of_a_network(folder, capsys, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    said_by(capsys, "predict", "Good.", "--model", folder / "run")


QUICK = """
import sys
from companion.cli import main
code = main(["predict", *sys.argv[1:]])
late = {"torch", "torch._dynamo", "datasets", "pyarrow", "sklearn", "matplotlib", "pandas", "transformers"}
print(sorted(late & set(sys.modules)), code)
"""


def test_predicting_imports_nothing_that_is_slow(folder, tmp_path, capsys):
    def imported(*arguments):
        command = [sys.executable, "-c", QUICK, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
        return done.stdout.splitlines()[-1]

    said_by(capsys, "export", folder / "run", "--out", tmp_path / "exported")
    (tmp_path / "a.txt").write_text("Not bad.", encoding="utf-8")
    assert imported("Not bad.") == imported("Not bad.", "--model", tmp_path / "exported") == "[] 0"
    assert imported("--file", tmp_path / "a.txt", "--model", tmp_path / "exported") == "['torch'] 0"
    assert imported("Not bad.", "--model", folder / "run") == "['torch'] 0"


def test_what_is_typed_and_what_stands_in_a_file_get_the_same_answer(folder, tmp_path, capsys):
    said_by(capsys, "export", folder / "run", "--out", tmp_path / "exported")
    texts = ["Not bad at all. Café!", "Dull, dull, dull.", "word " * 200]
    (tmp_path / "a.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    model = ("--model", tmp_path / "exported", "--json")
    typed, filed = (
        [json.loads(line) for line in said_by(capsys, "predict", *what, *model).splitlines()]
        for what in (texts, ["--file", tmp_path / "a.txt"])
    )
    assert [row.pop("probability") for row in typed] == pytest.approx([row.pop("probability") for row in filed], 1e-5)
    assert typed == filed


@pytest.mark.parametrize("command", ["finetune", "predict", "evaluate"])
def test_help_has_examples_and_fits_a_terminal(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    said = capsys.readouterr().out
    assert exit_.value.code == 0 and f"  companion {command}" in said and "example" in said
    assert max(len(line) for line in said.splitlines()) <= 120
