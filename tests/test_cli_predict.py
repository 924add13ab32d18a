"""``companion predict``: kinds of files, what is cut or unknown, wrong usage, examples that the model gets right."""

import json
import re

import pytest

from companion.cli import build_parser, main
from companion.cli.predict import EPILOG, EXAMPLE

TEXTS = [EXAMPLE, 'Dull, dull, dull.\nAnd "long", too.', "A waste of time."]
LONG = "word " * 600


def answers(capsys, *arguments):
    """What was printed for each text, read as JSON, and what was said on standard error."""
    capsys.readouterr()
    assert main(["predict", *map(str, arguments), "--json"]) == 0
    said = capsys.readouterr()
    return [json.loads(line) for line in said.out.splitlines()], said.err


def fails(capsys, *arguments):
    capsys.readouterr()
    assert main(["predict", *map(str, arguments)]) == 1
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    lines = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    for name in ("a.jsonl", "a.ndjson", "a.NDJSON"):
        (folder / name).write_text(lines, encoding="utf-8")
    rows = "".join('{},"{}"\n'.format(i, text.replace('"', '""')) for i, text in enumerate(TEXTS))
    (folder / "a.csv").write_text(f"id,text\n{rows}", encoding="utf-8")
    return folder


# --- files


def test_json_lines_by_both_names_and_a_csv_give_the_same(files, capsys):
    expected, _ = answers(capsys, "--file", files / "a.jsonl")
    assert [row["line"] for row in expected] == [1, 2, 3] and [row["label"] for row in expected] == [
        "pos",
        "neg",
        "neg",
    ]
    for name in ("a.ndjson", "a.NDJSON"):
        assert answers(capsys, "--file", files / name)[0] == expected
    rows, _ = answers(capsys, "--file", files / "a.csv")
    assert [row["line"] for row in rows] == [2, 4, 5]  # the second text ends on the line after the one it begins on
    assert [{**row, "line": 0} for row in rows] == [{**row, "line": 0} for row in expected]


def test_a_csv_row_without_a_word_is_said_and_skipped(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("id,text\n1,Good.\n2,\n3\n4,Bad.\n", encoding="utf-8")
    rows, said = answers(capsys, "--file", tmp_path / "a.csv")
    assert [row["line"] for row in rows] == [2, 5]
    assert said == "companion: line 3 has no word; skipped\ncompanion: line 4 has no word; skipped\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "a.csv",
            "review\nGood.\n",
            "there is no column 'text', only ['review']; rename the column with the texts to 'text'",
        ),
        ("a.csv", "id;text\n1;Good.\n", "the columns must be separated by commas, not by semicolons"),
        ("a.ndjson", "Good.\n", "a.ndjson, line 1: no JSON"),
        ("a.jsonl", '{"review": "Good."}\n', "only ['review']; rename the field with the text to 'text'"),
        ("a.txt", "\ufeffGood.\n".encode("utf-16-le"), "a.txt is UTF-16; save it as UTF-8, or convert it: iconv"),
        ("a.jsonl", b'{"text": "Good\xff"}\n', "line 1: byte 0xff is no UTF-8; save the file as UTF-8"),
        ("a.csv", "id,text\n", 'a.csv: no text with a word; give at least one, like "'),
        ("a.txt", "", "a.txt: no text with a word; give at least one"),
        ("a.json", '[{"text": "Good."}]', 'a.json: of JSON, --file reads one object a line, like {"text": '),
        ("a.json", '{"text": "Good."}\n', "write it so, as a .jsonl file"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_with_a_way_out(tmp_path, capsys, name, content, words):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    said = fails(capsys, "--file", tmp_path / name)
    assert words in said and said.count("\n") == 1


def test_any_other_file_holds_a_text_a_line(tmp_path, capsys):
    (tmp_path / "a.md").write_text('{"text": "Good."}\nBad.\n', encoding="utf-8")
    rows, _ = answers(capsys, "--file", tmp_path / "a.md")
    assert [row["line"] for row in rows] == [1, 2] and rows[0]["tokens"] > 5  # the braces are part of the text


# --- long texts


def test_texts_that_are_cut_are_said_at_the_end(tmp_path, capsys):
    (tmp_path / "a.txt").write_text(f"{EXAMPLE}\n{LONG}\nDull.\n{LONG}\n", encoding="utf-8")
    assert main(["predict", "--file", str(tmp_path / "a.txt")]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 4
    line = "companion: 2 of 4 texts are longer than the model reads (510 tokens); beginning and end are read\n"
    assert said.err == line
    assert main(["predict", LONG]) == 0  # by the classifier that needs no PyTorch
    line = "companion: the text is longer than the model reads (510 tokens); beginning and end are read\n"
    assert capsys.readouterr().err == line


def test_nothing_is_said_of_texts_that_fit_or_where_each_answer_says_it(capsys):
    assert main(["predict", "word " * 510]) == 0
    assert capsys.readouterr().err == ""
    rows, said = answers(capsys, LONG)
    assert said == "" and (rows[0]["tokens"], rows[0]["read"]) == (600, 510)


# --- texts that the tokenizer does not know

MANY = "more than 20 % of the tokens are [UNK], words with characters that the tokenizer does not know"


def test_a_text_in_another_script_is_said(capsys):
    assert main(["predict", "भारत"]) == 0
    assert capsys.readouterr().err == f"companion: {MANY}; the answer may mean little\n"
    assert main(["predict", "A good film. 🎉🎉🎉 And more.", EXAMPLE, "[UNK]"]) == 0  # a little, and none
    assert capsys.readouterr().err == ""


def test_so_are_those_in_a_file_and_json_says_of_each(tmp_path, capsys):
    (tmp_path / "a.txt").write_text(f"{EXAMPLE}\n🎉\n\nभारत good film\n", encoding="utf-8")
    rows, said = answers(capsys, "--file", tmp_path / "a.txt")
    assert [(row["tokens"], row["unknown"]) for row in rows] == [(9, 0), (1, 1), (3, 1)]
    assert said.splitlines()[1:] == [f"companion: in 2 of 3 texts {MANY}; such an answer may mean little"]


# --- usage and help


@pytest.mark.parametrize("arguments", [["-", "extra"], ["extra", "-"], ["-", "-"]])
def test_standard_input_stands_alone(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["predict", *arguments])
    assert exit_.value.code == 2
    assert "- is standard input, and stands alone: companion predict - < FILE" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["Good.", "--file", "a.txt"], ["--json"]])
def test_no_text_and_texts_from_two_places_are_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["predict", *arguments])
    said = capsys.readouterr().err
    assert exit_.value.code == 2 and "usage: companion predict" in said
    assert f'give texts, or --file FILE, or - for standard input, like: companion predict "{EXAMPLE}"' in said


def test_the_example_in_the_help_is_what_the_shipped_classifier_says(capsys):
    shown = json.loads(re.search(r"\{.*\}", EPILOG)[0])
    (said,), _ = answers(capsys, EXAMPLE)
    assert {**said, "probability": round(said["probability"], 2)} == shown and said["label"] == "pos"


def test_every_text_in_a_help_is_one_that_it_gets_right(capsys):
    """No help shows a sentence that the shipped classifier calls by the wrong name."""
    right = {EXAMPLE: "pos", "Dull, dull, dull.": "neg"}
    found = set(re.findall(r'companion predict "([^"]+)"', build_parser(["data"]).epilog))
    for command in ("predict", "export", "finetune"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        found |= set(re.findall(r'companion predict "([^"]+)"', capsys.readouterr().out))
    assert found == set(right)
    assert {text: answers(capsys, text)[0][0]["label"] for text in found} == right
