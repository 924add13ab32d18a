"""Own texts without a test part: what is printed works as it stands, and what is left out, cut or unsure is said."""

import json
import re
import shlex
from pathlib import Path

import pytest

from companion.cli import main
from companion.training.finetune import load_finetuned

SHAPE = """
vocab_size = 8192
max_len = 40
d_model = 8
n_layers = 1
n_heads = 2
d_ff = 12
position = "rope"
"""
RUN = """
[model]
MODEL
[data]
source = "SOURCE"
length = 12
[finetune]
epochs = 1
evaluations = 1
validation = 0.2
[train]
batch_size = 12
[machine]
device = "cpu"
"""
ROWS = [(f"A {word} film, number {i}.", name) for i in range(12) for word, name in (("bad", "neg"), ("good", "pos"))]
LONG = ("the film was " * 9, "neg")


def write(folder, kind, rows=ROWS):
    """The rows as a file or a folder of classes; its path."""
    path = folder / f"mine{kind}"
    if kind == ".csv":
        path.write_text("text,label\n" + "".join(f'"{text}",{name}\n' for text, name in rows), encoding="utf-8")
    elif kind == ".jsonl":
        lines = (json.dumps({"text": text, "label": name}) + "\n" for text, name in rows)
        path.write_text("".join(lines), encoding="utf-8")
    else:
        for i, (text, name) in enumerate(rows):
            (path / name).mkdir(parents=True, exist_ok=True)
            (path / name / f"{i}.txt").write_text(text, encoding="utf-8")
    return path


def finetune(capsys, folder, source, *overrides, method="scratch", code=0):
    """What a fine-tuning on the source says; its run is folder/"a run"."""
    model = SHAPE if method == "scratch" else 'pretrained = "bert-book-imdb"'
    run = RUN.replace("MODEL", model).replace("SOURCE", source.as_posix())
    (folder / "own.toml").write_text(run, encoding="utf-8")
    sets = [word for override in (f"finetune.method={method}", *overrides) for word in ("--set", override)]
    capsys.readouterr()
    assert main(["finetune", str(folder / "own.toml"), "--out", str(folder / "a run"), *sets]) == code
    said = capsys.readouterr()
    return said.err if code else said.out


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ""])
@pytest.mark.parametrize("validation", [0.2, 0])
def test_the_commands_that_are_printed_work(tmp_path, capsys, kind, validation):
    source = write(tmp_path, kind)
    said = finetune(capsys, tmp_path, source, f"finetune.validation={validation}")
    commands = said.splitlines()[-1].removeprefix("next: ").split("; ")
    assert len(commands) == 2 and ("--split validation" in commands[0]) == bool(validation)
    for command in commands:
        program, *arguments = [source.as_posix() if word == "FILE" else word for word in shlex.split(command)]
        assert program == "companion" and main(arguments) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert f"; {4 if validation else 24} texts\n" in said and said.endswith("  TEXT\n")


def test_few_held_out_texts_give_no_temperature(tmp_path, capsys):
    said = finetune(capsys, tmp_path, write(tmp_path, ".csv"))
    found = re.search(
        r"best on the 4 held-out texts at step \d: accuracy (\d+)\.00% \(95 % interval (\S+) to (\S+) %\), "
        r"loss \d\.\d{4}; too few texts for a temperature, calibration error \d+\.\d\d%\n",
        said,
    )
    share, low, high = map(float, found.groups())
    assert low <= share <= high and high - low > 45
    assert load_finetuned(tmp_path / "a run")[0].temperature == 1.0
    assert main(["evaluate", str(tmp_path / "a run"), "--split", "validation", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["ece"] == scores["calibrated_ece"] and scores["temperature"] == 1.0


def test_a_hundred_held_out_texts_give_one(tmp_path, capsys):
    rows = [(f"A film, number {i}.", ("neg", "pos")[i % 3 == 0]) for i in range(500)]
    said = finetune(capsys, tmp_path, write(tmp_path, ".csv", rows), "finetune.epochs=0.3")
    assert "best on the 100 held-out texts" in said and "too few" not in said
    assert re.search(r"; temperature \d+\.\d{3}, calibration error \S+ before and \S+ after\n", said)


def test_what_was_left_out_and_what_is_cut_is_said(tmp_path, capsys):
    source = write(tmp_path, ".csv", [*ROWS, LONG, (" ", "pos")])
    said = finetune(capsys, tmp_path, source, "finetune.validation=0")
    assert "25 texts to learn from (13 neg, 12 pos), 0 held out; left out: 1 text without a word\n" in said
    line = "1 of 25 texts is longer than the model reads (10 tokens); beginning and end are read\n"
    assert f"left out: 1 text without a word\n{line}" in said
    evaluate = ["evaluate", str(tmp_path / "a run"), "--data", str(source)]
    assert main(evaluate) == 0
    said = capsys.readouterr()
    assert "; 25 texts; left out: 1 text without a word\n" in said.out and said.err == f"companion: {line}"
    assert main([*evaluate, "--json", "--set", "data.eval_keep=windows"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["skipped"] == {"texts without a word": 1} and said.err == ""


@pytest.mark.parametrize("method", ["full", "probe"])
def test_a_probe_and_a_whole_model_say_what_is_cut(tmp_path, capsys, method):
    source = write(tmp_path, ".csv", [*ROWS, LONG])
    said = finetune(capsys, tmp_path, source, "finetune.validation=0", method=method)
    assert "1 of 25 texts is longer than the model reads (10 tokens); beginning and end are read\n" in said


def test_other_labels_have_a_way_out_that_works(tmp_path, capsys):
    """In a training the classes can be named; a classifier knows its own, and its texts are mended."""
    two, three = (
        write(tmp_path, ".csv"),
        write(tmp_path, ".jsonl", [*ROWS, *((f"So so, {i}.", "neutral") for i in range(6))]),
    )
    label = "line 25: the label 'neutral' is not in the class list ['neg', 'pos']"
    said = finetune(capsys, tmp_path, three, code=1)
    assert f"{label}; mend it, or name all classes that are there: --set 'data.labels=" in said
    named = shlex.split(said[said.index("--set") :])[1]
    assert "10 neg, 5 neutral, 10 pos" in finetune(capsys, tmp_path, three, named)
    of_three = ["evaluate", str(tmp_path / "a run"), "--data"]
    assert main([*of_three, str(two)]) == 0 and main([*of_three, "imdb"]) == 1
    assert "knows ['neg', 'neutral', 'pos']; test it on texts of its own classes" in capsys.readouterr().err
    said = finetune(capsys, tmp_path, two, named, code=1)
    assert "has no text of ['neutral'], and a class without texts cannot be learned; give some, or leave it out" in said
    assert main(["evaluate", "imdb-classifier", "--data", str(three)]) == 1
    said = capsys.readouterr().err
    assert said.endswith(
        f"{label}, and the classifier knows no other class; rename or leave out the rows with ['neutral']\n"
    )


def test_texts_that_the_tokenizer_does_not_know_are_said(tmp_path, capsys):
    rows = [(f"{text} {i}", name) for i in range(12) for text, name in (("बहुत अच्छी", "pos"), ("बहुत खराब", "neg"))]
    strange, usual = write(tmp_path, ".jsonl", rows), write(tmp_path, ".csv")
    line = r"67 % of the tokens are \[UNK\], words with characters that the tokenizer does not know, .* companion data"
    assert re.search(f"^{line}", finetune(capsys, tmp_path, strange), re.MULTILINE)
    evaluate = ["evaluate", str(tmp_path / "a run"), "--data"]
    assert main([*evaluate, str(strange)]) == 0 and re.match(f"companion: {line}", capsys.readouterr().err)
    assert main([*evaluate, str(usual)]) == 0 and capsys.readouterr().err == ""


def test_what_cannot_work_is_said_before_the_texts_are_read(tmp_path, capsys, monkeypatch):
    source = write(tmp_path, ".csv")
    monkeypatch.setattr("companion.cli.finetune.read_split", None)
    monkeypatch.setattr("companion.cli.pretrain.build_trainer", None)
    (tmp_path / "a run").write_text("", encoding="utf-8")
    assert "a run cannot be the run's folder; name another one: --out FOLDER" in finetune(
        capsys, tmp_path, source, code=1
    )
    recipe = Path(__file__).parents[1] / "book" / "recipes" / "bert-book-imdb.toml"
    assert main(["pretrain", str(recipe), "--out", str(tmp_path / "a run" / "below")]) == 1
    assert f"{tmp_path / 'a run'} is a file, so {tmp_path / 'a run' / 'below'} cannot be" in capsys.readouterr().err


def test_what_a_classifier_cannot_do_in_a_test_is_said_by_the_name_that_was_set(tmp_path, capsys):
    finetune(capsys, tmp_path, write(tmp_path, ".csv"))
    exported = tmp_path / "exported"
    assert main(["export", str(tmp_path / "a run"), "--out", str(exported)]) == 0
    for model in (tmp_path / "a run", exported):
        evaluate = ["evaluate", str(model), "--data", str(tmp_path / "mine.csv")]
        for more, words in (
            (
                ["--set", "data.length=41"],
                "data.length=41, but the model reads at most 40 tokens; lower it, and to have",
            ),
            (["--record", str(tmp_path / "nope.json")], "nope.json; `companion finetune --record` writes one"),
            (["--data", ""], "an empty name is no data; give imdb, mini"),
        ):
            assert main([*evaluate, *more]) == 1 and words in capsys.readouterr().err
        assert main([*evaluate, "--set", "data.length=40", "--set", "data.eval_keep=windows"]) == 0


def test_files_that_cannot_be_learned_from_are_said_with_a_way_out(tmp_path, capsys):
    def said_of(rows, *overrides):
        return finetune(capsys, tmp_path, write(tmp_path, ".csv", rows), *overrides, code=1)

    assert "has no text: there is no row in it; give texts with words, each with its label" in said_of([])
    assert "has no text: left out: 2 texts without a word; give" in said_of([(" ", "neg"), ("", "pos")])
    few = said_of([("Good.", "pos"), ("Bad.", "neg"), ("Bad.", "neg")])
    assert (
        "nothing of ['neg', 'pos'] would be left to train on (3 texts, of which 2 differ; equal texts stay on one"
        in few
    )
    assert "or hold none out: --set finetune.validation=0" in few
    (tmp_path / "mine.csv").write_text("text;label\nGood.;pos\n", encoding="utf-8")
    said = finetune(capsys, tmp_path, tmp_path / "mine.csv", code=1)
    assert "only ['text;label']; the columns must be separated by commas, not by semicolons" in said
