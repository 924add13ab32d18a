"""The command line, from a folder of texts to an exported model; and what it says when something is wrong."""

import io
import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from companion.cli import main
from companion.cli.evaluate import with_perplexity
from companion.data.imdb import VARIABLE
from companion.data.tokenizer import load_tokenizer
from companion.models.bert import BERT
from companion.models.pretrained import load_pretrained
from companion.training.checkpoint import checkpoints, load_checkpoint
from companion.training.record import Log

SENTENCES = ("The film was long.", "I liked the slow parts!", "Nobody else did?", "They left the café early.")
TEXTS = [" ".join(SENTENCES[(i + k) % 4] for k in range(2 + i % 5)) for i in range(60)]
V = 50
RUN = f"""
[model]
vocab_size = {V}
max_len = 24
d_model = 8
n_layers = 1
d_ff = 12
n_segments = 2
dropout = 0.1
[data]
corpus = "CORPUS"
length = 16
tokens_per_batch = 48
[train]
max_steps = 6
eval_every = 3
checkpoint_every = 2
keep_checkpoints = 1
snapshots = [0, 3]
[machine]
device = "cpu"
log_every = 2
"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A folder as a user may have it: one .txt a text, and a .jsonl with an empty text and a row without one."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "more").mkdir()
    for i, text in enumerate(TEXTS[:20]):
        (folder / f"{i:02}.txt").write_text(text, encoding="utf-8")
    rows = [{"text": text} for text in TEXTS[20:]] + [{"text": " "}, {"title": "no text"}]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "more" / "rest.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def corpus(texts, tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "mine"
    assert main(["data", str(texts), "--out", str(out), "--vocab-size", str(V), "--held-out", "0.1"]) == 0
    return out


@pytest.fixture
def run_file(corpus, tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(RUN.replace("CORPUS", corpus.as_posix()), encoding="utf-8")
    return path


def pretrain(run_file, out, *more):
    return main(["pretrain", str(run_file), "--out", str(out), *more])


def fails(capsys, *arguments):
    """The one line that a failing command says."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 1
    said = capsys.readouterr().err
    assert said.startswith("companion: error: ") and said.count("\n") == 1, said
    return said


# --- data


def test_a_folder_becomes_a_corpus_and_skips_are_counted(texts, corpus, capsys, tmp_path):
    arguments = ["data", str(texts), "--out", str(tmp_path), "--tokenizer", str(corpus), "--held-out", "0.1"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "60 documents, 6 of them held out; left out: 1 empty document, 1 row without text" in said
    about = json.loads((tmp_path / "data.json").read_text(encoding="utf-8"))
    assert about["parts"]["train"]["documents"] == 54 and about["parts"]["held-out"]["documents"] == 6
    assert about["vocab_size"] == V and about["skipped"] == {"empty documents": 1, "rows without text": 1}
    for part in ("train", "held-out"):  # the tokenizer was taken as it was, so the corpora are the same
        assert (tmp_path / part / "corpus.json").read_bytes() == (corpus / part / "corpus.json").read_bytes()


def test_what_is_wrong_with_the_texts_is_said_in_one_line(tmp_path, capsys, monkeypatch):
    out = ("--out", tmp_path / "out")
    assert "is no folder" in fails(capsys, "data", tmp_path / "gone", *out)
    (tmp_path / "a.txt").write_bytes(b"fine\nnot so fi\xff")
    assert "a.txt, line 2: byte 0xff is no UTF-8" in fails(capsys, "data", tmp_path, *out)
    (tmp_path / "a.txt").write_text("short", encoding="utf-8")
    assert "holding out 0.02 of 1 documents" in fails(capsys, "data", tmp_path, *out)
    assert "holding out 1.5 of 1 documents" in fails(capsys, "data", tmp_path, *out, "--held-out", 1.5)
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_larger_than_the_texts_support(texts, tmp_path, capsys):
    said = fails(capsys, "data", texts, "--out", tmp_path)
    assert "vocab_size=8192, but the texts support only" in said
    assert "tokenizer.json" in fails(
        capsys, "data", texts, "--out", tmp_path, "--tokenizer", tmp_path / "tokenizer.json"
    )


def test_imdb_without_data_says_where_it_looked(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setitem(sys.modules, "datasets", None)  # as where it is not installed
    said = fails(capsys, "data", "imdb", "--out", tmp_path / "out")
    assert str(tmp_path) in said and VARIABLE in said


# --- pretrain


def test_a_run_leaves_checkpoints_a_log_and_a_record(run_file, tmp_path, capsys):
    out, record = tmp_path / "run", tmp_path / "results" / "small.json"
    assert pretrain(run_file, out, "--record", str(record), "--set", "train.seed=3") == 0
    said = capsys.readouterr().out
    assert "a new run in" in said and "step 2 of 6" in said and "done: 6 steps" in said
    assert [path.name for path in checkpoints(out)] == ["step-00000000", "step-00000003", "step-00000006"]
    assert len((out / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 6
    written = json.loads(record.read_text(encoding="utf-8"))
    assert written["command"].endswith("small.toml --set train.seed=3")
    assert written["config"]["train"]["seed"] == 3 and written["steps"] == 6
    assert [entry["step"] for entry in written["held_out"]] == [3, 6]
    assert pretrain(run_file, out, "--set", "train.seed=3") == 0
    assert "nothing left to do" in capsys.readouterr().out


def test_a_stopped_run_goes_on_and_ends_with_the_same_bits(run_file, tmp_path, capsys, monkeypatch):
    assert pretrain(run_file, tmp_path / "whole") == 0
    noted = Log.__call__

    def stop_at_the_fourth(log, record):
        noted(log, record)
        if record["step"] == 4:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Log, "__call__", stop_at_the_fourth)
    code = pretrain(run_file, tmp_path / "halves")
    monkeypatch.setattr(Log, "__call__", noted)
    said = capsys.readouterr().out
    stopped = load_checkpoint(tmp_path / "halves")["step"]
    assert code == 130 and 4 <= stopped < 6
    assert f"stopped after step {stopped} and saved; the same command goes on" in said
    assert pretrain(run_file, tmp_path / "halves") == 0
    assert f"going on in {tmp_path / 'halves'} after step {stopped}" in capsys.readouterr().out
    whole, halves = (load_checkpoint(tmp_path / name) for name in ("whole", "halves"))
    assert all(torch.equal(tensor, halves["model"][name]) for name, tensor in whole["model"].items())
    assert [r["loss"] for r in whole["history"]] == [r["loss"] for r in halves["history"]]


def test_a_run_can_be_made_longer_but_not_be_changed(run_file, tmp_path, capsys):
    out = tmp_path / "run"
    schedule = ("--set", "train.schedule=constant")
    assert pretrain(run_file, out, *schedule, "--set", "train.max_steps=2") == 0
    assert pretrain(run_file, out, *schedule, "--set", "train.max_steps=4") == 0
    assert load_checkpoint(out)["step"] == 4
    longer = ("pretrain", run_file, "--out", out, *schedule)
    assert "peak_lr was 0.0003 and is 0.01" in fails(capsys, *longer, "--set", "train.peak_lr=0.01")
    assert "d_ff was 12 and is 13" in fails(capsys, *longer, "--set", "model.d_ff=13")
    assert "--fresh" in fails(capsys, *longer, "--fresh")


def test_a_damaged_newest_checkpoint_is_said_and_the_older_one_taken(run_file, tmp_path, capsys):
    out = tmp_path / "run"
    assert pretrain(run_file, out, "--set", "train.max_steps=4") == 0
    (out / "step-00000004" / "model.safetensors").write_bytes(b"")
    capsys.readouterr()
    assert pretrain(run_file, out, "--set", "train.max_steps=4") == 0
    said = capsys.readouterr()
    assert said.err.startswith("companion: warning: step-00000004 is damaged") and said.err.count("\n") == 1
    assert "going on" in said.out and "after step 3" in said.out


def test_what_is_wrong_with_a_run_is_said_in_one_line(run_file, tmp_path, capsys):
    out = ("--out", tmp_path / "run")
    assert "no run file" in fails(capsys, "pretrain", tmp_path / "gone.toml", *out)
    assert "has no field ['heads']" in fails(capsys, "pretrain", run_file, *out, "--set", "model.heads=2")
    assert "make it with: companion data SOURCE" in fails(
        capsys, "pretrain", run_file, *out, "--set", f"data.corpus={(tmp_path / 'none').as_posix()}"
    )
    assert "set model.vocab_size=50" in fails(capsys, "pretrain", run_file, *out, "--set", "model.vocab_size=51")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_is_said_in_one_line(run_file, tmp_path, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert "file" in fails(capsys, "pretrain", run_file, "--out", tmp_path / "file" / "run")


# --- evaluate and export


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    run_file = folder / "small.toml"
    run_file.write_text(RUN.replace("CORPUS", corpus.as_posix()), encoding="utf-8")
    assert pretrain(run_file, folder / "run", "--record", str(folder / "record.json")) == 0
    return folder


def test_evaluation_is_that_of_the_training(trained, capsys):
    assert main(["evaluate", str(trained / "run"), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    last = load_checkpoint(trained / "run")["history"][-1]
    assert scores["step"] == 6 and scores["mlm"] == pytest.approx(last["valid_mlm"], abs=1e-6)
    assert main(["evaluate", str(trained / "run"), "--step", "0"]) == 0
    said = capsys.readouterr().out
    assert "step 0;" in said and "mlm_perplexity" in said and "%" in said


def test_an_evaluation_is_noted_in_the_record_and_stands_on_the_card(trained, tmp_path, capsys):
    record = tmp_path / "record.json"
    record.write_bytes((trained / "record.json").read_bytes())
    assert main(["evaluate", str(trained / "run"), "--record", str(record)]) == 0
    noted = json.loads(record.read_text(encoding="utf-8"))["evaluation"]
    assert noted["step"] == 6 and noted["held_out_tokens"] > 0 and noted["mlm"] > 0
    assert main(["export", str(trained / "run"), "--out", str(tmp_path / "out"), "--record", str(record)]) == 0
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert f"{noted['held_out_tokens']} tokens" in card and f"| {noted['mlm_perplexity']} |" in card
    record.write_text("{", encoding="utf-8")
    assert "is no record" in fails(capsys, "evaluate", trained / "run", "--record", record)


def test_perplexity_is_the_exponential_of_the_loss():
    assert with_perplexity({"mlm": 2.0, "nsp": 1.0})["mlm_perplexity"] == pytest.approx(7.389056)


def test_an_exported_model_is_loaded_and_evaluated_by_its_folder(trained, tmp_path, capsys):
    out = tmp_path / "exported"
    assert main(["export", str(trained / "run"), "--out", str(out), "--record", str(trained / "record.json")]) == 0
    capsys.readouterr()
    model = load_pretrained(out)
    assert isinstance(model, BERT)
    card = (out / "README.md").read_text(encoding="utf-8")
    own = load_tokenizer(out)
    assert own.get_vocab() != load_tokenizer().get_vocab() and own.get_vocab_size() == model.config.vocab_size
    assert 'load_pretrained("exported")' in card and "6 steps" in card and "| mlm |" in card and "cannot do" in card
    assert main(["evaluate", str(out), "--json"]) == 0
    rounded = json.loads(capsys.readouterr().out)
    assert rounded["mlm"] == pytest.approx(load_checkpoint(trained / "run")["history"][-1]["valid_mlm"], abs=1e-3)


def test_an_earlier_step_without_a_record_is_exported_too(trained, tmp_path, capsys):
    assert main(["export", str(trained / "run"), "--step", "0", "--out", str(tmp_path), "--name", "first"]) == 0
    assert (tmp_path / "README.md").read_text(encoding="utf-8").startswith("# first\n")
    name = "transformer.embedding.token.weight"
    exported, saved = load_pretrained(tmp_path).state_dict()[name], load_checkpoint(trained / "run" / "step-00000000")
    assert torch.equal(exported, saved["model"][name].half().float())


def test_what_cannot_be_found_is_said_in_one_line(trained, tmp_path, capsys):
    assert "no pretrained model 'bert-huge'" in fails(capsys, "evaluate", "bert-huge")
    said = fails(capsys, "evaluate", trained / "run", "--step", "2")
    assert "no checkpoint of step 2; it has ['step-00000000', 'step-00000003', 'step-00000006']" in said
    assert "holds no run.json" in fails(capsys, "export", tmp_path, "--out", tmp_path / "out")
    assert "there is no record" in fails(capsys, "export", trained / "run", "--out", tmp_path, "--record", "gone.json")


@pytest.mark.parametrize("override", ["model.d_model=8", "data.eval_tokens=96", "train.peak_lr=1", "objective.task=lm"])
def test_an_evaluation_sets_nothing_that_would_change_the_model_or_do_nothing(trained, capsys, override):
    said = fails(capsys, "evaluate", trained / "run", "--set", override)
    assert f"['{override.split('=')[0]}'] cannot be set in an evaluation" in said and "data.corpus" in said
    assert main(["evaluate", str(trained / "run"), "--set", "data.seed=3", "--set", "objective.mask_share=0.3"]) == 0


@pytest.mark.parametrize("other", [{"data": {}, "config": {"finetune": {}}}, []])
def test_a_record_of_another_kind_is_refused(trained, tmp_path, capsys, other):
    (tmp_path / "other.json").write_text(json.dumps(other), encoding="utf-8")
    said = fails(capsys, "export", trained / "run", "--out", tmp_path / "out", "--record", tmp_path / "other.json")
    assert "other.json is no record of a pretraining" in said and "`companion pretrain --record`" in said
    assert not (tmp_path / "out").exists()


# --- the program


@pytest.mark.parametrize(
    "arguments",
    [[], ["train"], ["data"], ["pretrain", "run.toml", "--set", "max_steps=3"], ["evaluate", "x", "--step", "many"]],
)
def test_wrong_usage_exits_with_2_and_shows_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2 and "usage: companion" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["data"], ["pretrain"], ["evaluate"], ["export"]])
def test_help_has_examples_and_fits_a_terminal(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([*command, "--help"])
    said = capsys.readouterr().out
    assert exit_.value.code == 0
    assert (f"  companion {' '.join(command)}" in said and "example" in said) or not command
    assert max(len(line) for line in said.splitlines()) <= 120


def test_ctrl_c_elsewhere_stops_without_a_traceback(monkeypatch, tmp_path, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("companion.cli.data.read_texts", interrupt)
    assert main(["data", str(tmp_path), "--out", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err == "companion: stopped\n"


def test_a_console_without_all_characters_stops_nothing(run_file, tmp_path, monkeypatch):
    said, errors = (io.TextIOWrapper(io.BytesIO(), encoding="cp1252", write_through=True) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", said)
    monkeypatch.setattr(sys, "stderr", errors)
    assert pretrain(run_file, tmp_path / "é差", "--set", "train.max_steps=1") == 0
    assert b"a new run in" in said.buffer.getvalue() and "é?".encode("cp1252") in said.buffer.getvalue()
    assert main(["data", str(tmp_path / "好"), "--out", "out"]) == 1
    assert errors.buffer.getvalue().endswith(
        b"? is no folder; give one that holds .txt or .jsonl files" + os.linesep.encode()
    )


def test_a_stream_without_an_encoding_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert main(["data", str(tmp_path / "好"), "--out", "out"]) == 1
    assert "好 is no folder" in sys.stderr.getvalue()


def test_the_module_is_a_program_whose_exit_code_is_the_commands(tmp_path):
    command = [sys.executable, "-m", "companion.cli", "evaluate", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 1 and done.stderr.startswith("companion: error: no pretrained model")
