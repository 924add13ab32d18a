"""Rows of a CSV file: the columns that were asked for, by name, each with the line that it ends on."""

import pytest

from companion.data.tables import csv_rows

TEXT = [("text", "call the column with the texts so")]


def test_the_columns_that_were_asked_for_in_their_order(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('id,text,label\n1,"Two\nlines, ""quoted""",pos\n\n2,Bad.,neg\n3\n', encoding="utf-8")
    rows = csv_rows(path, [("label", ""), ("text", "")])
    assert rows == [(3, ["pos", 'Two\nlines, "quoted"']), (5, ["neg", "Bad."]), (6, [None, None])]
    assert csv_rows(path, TEXT)[1] == (5, ["Bad."])


def test_columns_that_nobody_asks_for_may_have_the_same_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,,\nGood.,,\n", encoding="utf-8")
    assert csv_rows(path, TEXT) == [(2, ["Good."])]


def test_a_spreadsheets_mark_at_the_beginning_is_no_part_of_a_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("\ufefftext\r\nGood.\r\n".encode())
    assert csv_rows(path, TEXT) == [(2, ["Good."])]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("review\nGood.\n", r"a\.csv: there is no column 'text', only \['review'\]; call the column with the texts so"),
        ("id;text\n1;Good.\n", r"only \['id;text'\]; the columns must be separated by commas, not by semicolons"),
        ("id\ttext\n1\tGood.\n", r"the columns must be separated by commas, not by tabs"),
        ("text,id,text\nGood.,1,\n", r"several columns are called \['text'\]; rename all but the right one"),
        ("", r"a\.csv is empty; the first line must name the columns"),
        ("text\nGood, or not\n", r"line 2: more fields than columns; put a text with commas in quotation marks"),
        ('text\n"He said "no"."\n', r"line 2: no CSV \(.*a quotation mark inside .* is written twice"),
    ],
)
def test_what_is_wrong_is_said_with_a_way_out(tmp_path, content, words):
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        csv_rows(tmp_path / "a.csv", TEXT)
