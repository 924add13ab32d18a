"""Files to texts and texts to sentences: what is read, what is counted, what is refused."""

import json
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.data.texts import is_readable, read_texts, split_sentences
from companion.data.tokenizer import encode_texts, load_tokenizer


def write(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return folder


def test_each_text_file_is_a_document_and_each_line_of_a_jsonl_file(tmp_path):
    rows = [{"text": "Third.", "label": 1}, {"text": "Fourth\u2028line."}]
    lines = "\r\n".join(json.dumps(row) for row in rows) + "\r\n\r\n"
    folder = write(tmp_path, a_txt="First.\nStill first.", b__c_TXT="\ufeffSecond.", d_jsonl=lines, e_md="Not read.")
    assert read_texts(folder) == (["First.\nStill first.", "Second.", "Third.", "Fourth\u2028line."], {})


def test_hidden_files_and_folders_are_not_read(tmp_path):
    folder = write(tmp_path, a_txt="A text.")
    for hidden in ("._a.txt", ".ipynb_checkpoints/a-checkpoint.txt"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        (folder / hidden).write_text("A copy.", encoding="utf-8")
    assert read_texts(folder).texts == ["A text."]


def test_what_is_left_out_is_counted(tmp_path):
    folder = write(
        tmp_path, a_txt="", b_txt=" \n\t", c_txt="A text.", d_jsonl='{"text": null}\n{"label": 1}\n{"text": "  "}\n'
    )
    assert read_texts(folder) == (["A text."], {"empty documents": 3, "rows without text": 2})


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"holds no \.txt and no \.jsonl file"),
        ({"a_txt": " "}, r"no text in .* \(1 file\): left out: 1 empty document; give texts with words"),
        ({"a_txt": b"one\ntwo \xff three"}, r"a\.txt, line 2: byte 0xff is no UTF-8"),
        ({"a_jsonl": '{"text": "a"}\n{"text": '}, r"a\.jsonl, line 2: no JSON \(.*\); one object a line is expected"),
        ({"a_jsonl": '["a"]'}, r"a\.jsonl, line 1: a list; an object is expected"),
        ({"a_jsonl": '{"text": 7}'}, r"a\.jsonl, line 1: text is a int; a string is expected"),
        ({"a_jsonl": '{"text": "\\ud83d"}'}, r"a\.jsonl, line 1: text has half a character"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        read_texts(write(tmp_path, **files))


@pytest.mark.parametrize("text", ["", " \u3000\n", "\ufeff", "\u200b \u200b", "\x00\x07", "\u0301", "\ue000", "\ufffd"])
def test_a_text_of_which_nothing_is_kept_is_not_readable(text):
    assert encode_texts([text], load_tokenizer()) == [[]]
    assert not is_readable(text) and is_readable(text + "!") and is_readable("好" + text)


def test_a_readable_text_has_a_token():
    characters = [chr(i) for i in range(0x20000) if not 0xD800 <= i < 0xE000]
    readable = [c for c in characters if is_readable(c)]
    assert len(readable) > 80_000
    assert all(encode_texts(readable, load_tokenizer()))


def test_what_is_not_readable_has_no_token_or_is_unknown_whatever_it_is():
    """Marks that nothing bears, like the vowel signs of Indian scripts: the tokenizer has no piece for any."""
    marks = [c for c in map(chr, range(0x20000)) if unicodedata.category(c) in ("Mn", "Mc", "Me", "Cf")]
    left = {tuple(ids) for ids in encode_texts([c for c in marks if not is_readable(c)], load_tokenizer())}
    assert left == {(), (load_tokenizer().token_to_id("[UNK]"),)}
    assert not any(is_readable(c) for c in marks) and is_readable("क" + "\u093e")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'no'} is no folder")):
        read_texts(tmp_path / "no")


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        (" \n ", []),
        ("no mark at all", ["no mark at all"]),
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It cost $3.50. Cheap.", ["It cost $3.50.", "Cheap."]),
        ("Well... maybe not. 7 of 10.", ["Well... maybe not.", "7 of 10."]),
        ("Mr. Ray met J. R. Ewing. They talked.", ["Mr. Ray met J. R. Ewing.", "They talked."]),
        ('He said "Go!" Then he left.', ['He said "Go!"', "Then he left."]),
        ("a title\n\nand its text", ["a title", "and its text"]),
        ("很好看。不过太长！", ["很好看。", "不过太长！"]),
        ("Été. Étrange film. Ça va.", ["Été.", "Étrange film.", "Ça va."]),
    ],
)
def test_where_sentences_end(text, sentences):
    assert split_sentences(text) == sentences


@settings(max_examples=60)
@given(st.text(alphabet=st.sampled_from('ab A.!?"\n\u2028)。 é7'), max_size=30))
def test_sentences_lose_nothing_but_white_space(text):
    sentences = split_sentences(text)
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(s and s == s.strip() and "\n" not in s for s in sentences)
