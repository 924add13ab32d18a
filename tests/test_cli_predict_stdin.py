"""``companion predict -``: lines as they come, bad bytes, objects where texts are expected; and a broken pipe."""

import io
import json
import os
import subprocess
import sys
import threading

import pytest

from companion.cli import main
from companion.cli.lines import EXAMPLE, file_lines, stdin_groups

PROGRAM = [sys.executable, "-c", "import sys; from companion.cli import main; sys.exit(main())", "predict"]
BAD = "line 2 is no UTF-8 (invalid start byte); skipped; save all as UTF-8, or convert it, as with iconv"


@pytest.fixture
def give(monkeypatch):
    """Puts bytes on standard input."""

    def put(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return put


def numbers(out):
    return [json.loads(line)["line"] for line in out.splitlines()]


@pytest.mark.parametrize("where", [["-"], ["--file", "-"], ["--file", "a.txt"]])
def test_a_line_that_is_no_utf8_is_skipped_and_the_others_are_answered(where, give, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    content = b"good\r\nGood\xff film\n\nbad\n"
    (tmp_path / "a.txt").write_bytes(content)
    give(content)
    assert main(["predict", *where, "--json"]) == 1
    said = capsys.readouterr()
    assert numbers(said.out) == [1, 4]
    place = "a.txt" if where[-1] == "a.txt" else "standard input"
    flaw, empty = said.err.splitlines()
    assert flaw.startswith(f"companion: error: {place}, {BAD}") and empty == "companion: line 3 has no word; skipped"


def test_nothing_and_only_what_cannot_be_read(give, capsys):
    for content in (b"", b"\n \n"):
        give(content)
        assert main(["predict", "-"]) == 1
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("companion: error: standard input: no text with a word; give at least one, like ")
    give(b"\xff\n")
    assert main(["predict", "-"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("where", [["-"], ["--file", "-"]])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b'{"text": "Good."}\n',
            "line 1 is a JSON object, but each line there is taken for a text; save the lines as a ",
        ),
        (b'\xef\xbb\xbf{"id": 1}', ".jsonl file, and give --file FILE"),
        ("\ufeffGood.\n".encode("utf-16-le"), "standard input is UTF-16; save it as UTF-8"),
        ("\ufeffGood.\n".encode("utf-16-be"), "or convert it: iconv -f utf-16 -t utf-8"),
    ],
)
def test_what_would_be_taken_for_texts_is_an_error(where, content, words, give, capsys):
    give(content)
    assert main(["predict", *where]) == 1
    said = capsys.readouterr()
    assert said.out == "" and words in said.err and said.err.count("\n") == 1


def test_braces_and_numbers_are_texts(give, capsys):
    give(b'{a film}\n{"text": "Good."}\n[3]')
    assert main(["predict", "-", "--json"]) == 0
    assert numbers(capsys.readouterr().out) == [1, 2, 3]


class Slow(io.BytesIO):
    """A stream that gives its parts one by one, as a pipe may."""

    def __init__(self, *parts):
        self.parts = iter(parts)

    def read1(self, size):
        return next(self.parts, b"")


def read(*parts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(Slow(*parts)))
        return [[(line.number, line.text) for line in group] for group in stdin_groups()]


def test_lines_come_together_as_they_are_there():
    assert read(b"one\r\ntw", b"o\nthr", b"ee", b"\n\xc3", b"\xa9") == [
        [(1, "one")],
        [(2, "two")],
        [(3, "three")],
        [(4, "é")],
    ]
    assert [len(group) for group in read(b"x\n" * 300, b"y")] == [256, 44, 1]
    assert read() == []


def test_a_file_and_standard_input_have_the_same_lines(tmp_path, give):
    content = b"\xef\xbb\xbfone\r\n\n\xff\n" + b"four\n" * 300 + b"the last\x0b one"
    (tmp_path / "a.txt").write_bytes(content)
    give(content)
    lines = [line for group in stdin_groups() for line in group]
    filed = list(file_lines(tmp_path / "a.txt"))
    assert [line[:2] for line in filed] == [line[:2] for line in lines] and len(lines) == 304
    assert [line.number for line in lines if line.flaw] == [line.number for line in filed if line.flaw] == [3]


def test_a_line_in_a_pipe_is_answered_before_the_next_one_comes():
    with subprocess.Popen([*PROGRAM, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        timer = threading.Timer(90, process.kill)  # it would wait for ever
        timer.start()
        process.stdin.write(b"A good film.\n")
        process.stdin.flush()
        assert process.stdout.readline().split(maxsplit=2)[-1].rstrip() == b"A good film."
        rest, _ = process.communicate(b"Dull.\n" * 300)
        timer.cancel()
    assert rest.count(b"Dull.") == 300 and process.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there it is another error")
def test_it_ends_quietly_when_nobody_reads_on():
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run([*PROGRAM, EXAMPLE], stdout=theirs, stderr=subprocess.PIPE, timeout=90, check=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, b"")
