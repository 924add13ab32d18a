"""Labelled texts from files: what is read, how it is divided, and what is said about bad ones."""

import csv
import json
import re

import pytest

from companion.data.labelled import LabelledTexts, read_labelled, split_validation

ROWS = [("Good, really.", "pos"), ("Bad.", "neg"), ('A "fine"\nfilm', "pos"), (" ", "neg"), ("Dull.", "neg")]


def write_csv(path, rows=ROWS, head="text,label"):
    lines = [head, *('"' + text.replace('"', '""') + f'",{label}' for text, label in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def write_jsonl(path, rows=ROWS, text="text", label="label"):
    path.write_text("".join(json.dumps({text: t, label: v}) + "\n" for t, v in rows), encoding="utf-8")
    return str(path)


def test_the_same_texts_from_csv_jsonl_and_folders(tmp_path):
    for name in ("neg", "pos", "other"):
        (tmp_path / "folder" / name).mkdir(parents=True)
    for i, (text, label) in enumerate(ROWS):
        (tmp_path / "folder" / label / f"{i}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "folder" / "other" / "x.txt").write_text("not read", encoding="utf-8")
    found = [
        read_labelled(write_csv(tmp_path / "a.csv")),
        read_labelled(write_jsonl(tmp_path / "a.jsonl")),
        read_labelled(str(tmp_path / "folder")),
    ]
    pairs = [sorted(zip(data.texts, data.labels, strict=True)) for data in found]
    assert pairs[0] == pairs[1] == pairs[2] == [('A "fine"\nfilm', 1), ("Bad.", 0), ("Dull.", 0), ("Good, really.", 1)]
    assert all(data.skipped == {"texts without a word": 1} for data in found)
    assert found[0].counts == {"neg": 2, "pos": 2} and found[0].rows == [0, 1, 2, 4]


def test_texts_of_invisible_characters_are_left_out_and_counted(tmp_path):
    nothing = [(text, "pos") for text in ("\u200b", "\ufeff ", "\x01", "\u0301\u0302")]
    rows = [("Good.", "pos"), *nothing, ("Bad.", "neg")]
    for source in (write_csv(tmp_path / "a.csv", rows), write_jsonl(tmp_path / "a.jsonl", rows)):
        data = read_labelled(source)
        assert data.texts == ["Good.", "Bad."] and data.rows == [0, 5]
        assert data.skipped == {"texts without a word": 4}


def write_folder(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"The text of {path}.", encoding="utf-8")
    return str(root)


def test_hidden_files_and_folders_are_not_read(tmp_path):
    hidden = ("neg/._1.txt", "neg/.ipynb_checkpoints/1-checkpoint.txt", ".ipynb_checkpoints/neg/1.txt", ".a.csv")
    source = write_folder(tmp_path / ".mine", "neg/1.txt", "pos/1.txt", *hidden)  # the root may be hidden itself
    assert read_labelled(source).texts == ["The text of neg/1.txt.", "The text of pos/1.txt."]
    with pytest.raises(ValueError, match=r"holds no \.csv"):
        read_labelled(write_folder(tmp_path / "none", *hidden))


def test_class_folders_in_several_places_are_refused(tmp_path):
    source = write_folder(tmp_path, *(f"{part}/{name}/1.txt" for part in ("train", "test") for name in ("neg", "pos")))
    places = [(tmp_path / part).as_posix() for part in ("test", "train")]
    with pytest.raises(ValueError, match=re.escape(f"in several places, {places}") + ".*give one of these"):
        read_labelled(source)
    assert read_labelled(places[1]).texts == ["The text of train/neg/1.txt.", "The text of train/pos/1.txt."]


def test_a_train_and_a_test_part_are_not_read_as_one(tmp_path):
    for name in ("Train.csv", "test.csv"):
        (tmp_path / name).write_text("text,label\nGood.,pos\nBad.,neg\n", encoding="utf-8")
    with pytest.raises(ValueError, match="a train and a test part; give one of these"):
        read_labelled(str(tmp_path))
    assert len(read_labelled(str(tmp_path / "Train.csv"))) == 2
    classes = write_folder(tmp_path / "rails", "train/1.txt", "test/1.txt")
    assert read_labelled(classes, ["test", "train"]).counts == {"test": 1, "train": 1}


def test_a_field_may_be_long_and_the_limit_of_the_process_is_kept(tmp_path):
    before, long = csv.field_size_limit(), "word " * 40_000
    source = write_csv(tmp_path / "a.csv", [(long, "pos"), ("Bad.", "neg")])
    assert read_labelled(source).texts == [long, "Bad."] and csv.field_size_limit() == before
    with pytest.raises(ValueError, match="line 2: the label 'pos' is not in the class list") as caught:
        read_labelled(source, ["a", "b"])
    assert csv.field_size_limit() == before, caught


def test_other_columns_and_classes(tmp_path):
    source = write_jsonl(tmp_path / "a.jsonl", [("one", 1), ("two", 0), ("three", 2)], text="body", label="stars")
    data = read_labelled(source, ["0", "1", "2"], text="body", label="stars")
    assert data.labels == [1, 0, 2] and data.names == ("0", "1", "2")


def test_what_is_wrong_with_a_file_is_said(tmp_path):
    bad = {
        "no column": (
            "a.csv",
            "review,label\nGood.,pos\n",
            r"no column 'text', only \['review', 'label'\]; name the right one with --set data\.text=",
        ),
        "no label": ("b.jsonl", '{"text": "Good."}\n', r"b.jsonl, line 1: there is no column 'label', only \['text'\]"),
        "not a class": (
            "c.csv",
            "text,label\nGood.,pos\nSo so.,mixed\n",
            r"line 3: the label 'mixed' is not in the class",
        ),
        "no value": (
            "d.jsonl",
            '{"text": "Good.", "label": null}',
            r"line 1: the label None is not in the class list .*; a label is a word or a whole number: mend it",
        ),
        "empty": (
            "r.csv",
            "text,label\nGood.,\n",
            r"r.csv, line 2: the label '' is not .*; a label is a word or a whole",
        ),
        "short": (
            "s.csv",
            "text,label\nGood.,pos\nBad film\n",
            r"s.csv, line 3: the row has no field 'label', since it has fewer fields than the header; add its label",
        ),
        "twice": ("t.csv", "text,text,label\nGood.,Fine.,pos\n", r"t.csv: several columns are called \['text'\]"),
        "one class": ("e.csv", "text,label\nGood.,pos\nFine.,pos\n", r"one class only, \['pos'\], and 2 of them"),
        "no text": ("f.csv", "text,label\n ,pos\n", r"f.csv has no text: left out: 1 text without a word; give texts"),
        "no row": ("n.csv", "text,label\n", r"n.csv has no text: there is no row in it; give texts with words"),
        "semicolons": (
            "o.csv",
            "text;label\nGood;pos\n",
            r"'text', only \['text;label'\]; the columns must be separated by commas, not by semicolons",
        ),
        "tabs": ("p.csv", "review\tstars\nGood\t5\n", "the columns must be separated by commas, not by tabs"),
        "both": ("q.csv", '"text";"label"\n"Good";"pos"\n', r"q.csv, line 1: no CSV .*must be separated by commas"),
        "no json": ("g.jsonl", "{", r"g.jsonl, line 1: no JSON"),
        "number": ("h.jsonl", '{"text": 5, "label": "pos"}', r"line 1: text is a int; a string is expected"),
        "nothing": ("i.csv", "", r"i.csv is empty; the first line must name the columns"),
        "comma": ("j.csv", "text,label\nGood, or not,pos\n", r"line 2: more fields than columns"),
        "quotes": ("k.csv", 'text,label\n"Good,pos\n', r"k.csv, line 2: no CSV"),
        "kind": ("l.tsv", "", r"is neither .csv nor .jsonl"),
        "bytes": ("m.csv", "text,label\nGo\udcffod,pos\n", r"line 2: byte 0xff is no UTF-8"),
    }
    for name, content, words in bad.values():
        (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
        with pytest.raises(ValueError, match=words):
            read_labelled(str(tmp_path / name))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"there is no data '.*gone'; give imdb, mini, a folder or a file"):
        read_labelled(str(tmp_path / "gone"))
    with pytest.raises(ValueError, match=r"holds no .csv and no .jsonl file, and no folder \['neg', 'pos'\]"):
        read_labelled(str(tmp_path / "empty"))
    with pytest.raises(ValueError, match=r"""labels=\[0, 1\] must be strings; .* --set 'data\.labels=\["0", "1"\]'"""):
        read_labelled("mini", [0, 1])
    for labels in (["pos"], ["a", "a"], "neg", ["a", ""], 5, [None, "a"]):
        with pytest.raises(ValueError, match="must be a list of two or more different names"):
            read_labelled("mini", labels)
    for labels in (["good", "bad"], ["neg", "pos", "mixed"]):
        way_out = r"set these: --set 'data\.labels=\[\"neg\", \"pos\"\]'$"
        with pytest.raises(ValueError, match=r"the classes of mini are \['neg', 'pos'\], not .*; " + way_out):
            read_labelled("mini", labels)
        with pytest.raises(ValueError, match=r"this classifier knows .*; test it on texts of its own .*: --data FILE$"):
            read_labelled("mini", labels, trained=True)


def uneven(n=40, share=4):
    return LabelledTexts(
        [f"t{i}" for i in range(n)], [int(i % share == 0) for i in range(n)], ("a", "b"), list(range(n))
    )


def test_a_sample_keeps_the_proportions_and_is_the_beginning_of_a_larger_one(tmp_path):
    data = uneven()
    source = write_csv(tmp_path / "a.csv", [(t, data.names[i]) for t, i in zip(data.texts, data.labels, strict=True)])
    small, large, other = (
        read_labelled(source, ["a", "b"], limit=n, seed=seed) for n, seed in ((8, 1), (20, 1), (8, 2))
    )
    assert small.counts == {"a": 6, "b": 2} and large.counts == {"a": 15, "b": 5}
    assert large.texts[:8] == small.texts != other.texts
    assert read_labelled(source, ["a", "b"], limit=2).counts == {"a": 1, "b": 1}
    for limit in (1, 41):
        with pytest.raises(ValueError, match=f"limit={limit}, but .* has 40 texts of 2 classes"):
            read_labelled(source, ["a", "b"], limit=limit)


def test_the_validation_split_is_stratified_seeded_and_shares_no_text():
    data = uneven()
    train, validation = split_validation(data, 0.2, seed=3)
    assert validation.counts == {"a": 6, "b": 2} and train.counts == {"a": 24, "b": 8}
    assert sorted(train.rows + validation.rows) == list(range(40))
    assert split_validation(data, 0.2, seed=3)[1].rows == validation.rows != split_validation(data, 0.2)[1].rows
    twice = LabelledTexts(data.texts * 2, data.labels * 2, data.names, list(range(80)))
    train, validation = split_validation(twice, 0.2, seed=3)
    assert not set(train.texts) & set(validation.texts) and len(validation) == 16
    way_out = r"; give more texts, or hold none out: --set finetune\.validation=0$"
    with pytest.raises(ValueError, match=r"nothing of \['b'\] would be left to train on" + way_out):
        split_validation(LabelledTexts(["x", "y", "z"], [0, 0, 1], ("a", "b"), [0, 1, 2]), 0.3)
    equal = r" \(4 texts, of which 3 differ; equal texts stay on one side\)"
    with pytest.raises(ValueError, match=r"nothing of \['b'\] would be left to train on" + equal + way_out):
        split_validation(LabelledTexts(["x", "y", "z", "z"], [0, 0, 1, 1], ("a", "b"), [0, 1, 2, 3]), 0.3)
    with pytest.raises(ValueError, match=r"a share of 1\.0 to validate on"):
        split_validation(data, 1.0)


def test_mini_reviews_have_the_classes_of_imdb():
    train, test = (read_labelled("mini", limit=20, seed=1, part=part) for part in ("train", "test"))
    assert train.names == ("neg", "pos") and len(train) == len(test) == 20
    assert not set(train.texts) & set(test.texts)
    assert len(read_labelled("mini")) == 2000


def test_the_classes_of_the_reviews_may_be_numbered_in_another_order():
    usual, turned = (read_labelled("mini", names, limit=20) for names in (["neg", "pos"], ["pos", "neg"]))
    assert turned.names == ("pos", "neg") and turned.labels == [1 - i for i in usual.labels]
    assert turned.texts == usual.texts and turned.digest() == usual.digest()  # the same texts, the same names


def test_texts_of_one_class_will_do_where_nothing_is_learned_from_them(tmp_path):
    source = write_csv(tmp_path / "a.csv", [("Good.", "pos"), ("Fine.", "pos"), ("Great.", "pos")])
    way_out = r"a classifier learns from 2 or more: give texts of \['neg'\], too"
    with pytest.raises(ValueError, match=r"one class only, \['pos'\], and 3 of them; " + way_out):
        read_labelled(source)
    assert read_labelled(source, trained=True).counts == {"neg": 0, "pos": 3}
    assert len(read_labelled(source, trained=True, limit=2)) == 2


def test_a_class_without_texts_can_be_tested_on_but_not_learned(tmp_path):
    source, names = write_csv(tmp_path / "a.csv"), ["neg", "neutral", "pos"]
    way_out = r"; give some, or leave it out: --set 'data\.labels=\[\"neg\", \"pos\"\]'$"
    left_out = r"\['neutral'\] \(left out: 1 text without a word\), and a class without texts cannot be learned"
    with pytest.raises(ValueError, match=r"a\.csv has no text of " + left_out + way_out):
        read_labelled(source, names)
    assert read_labelled(source, names, trained=True).counts == {"neg": 2, "neutral": 0, "pos": 2}


def test_no_name_is_not_taken_for_this_folder(tmp_path, monkeypatch):
    write_csv(tmp_path / "a.csv")
    monkeypatch.chdir(tmp_path)
    assert len(read_labelled(".")) == 4
    with pytest.raises(
        ValueError, match=r"an empty name is no data; give imdb, mini, a folder \(\. is this one\) or a"
    ):
        read_labelled("")


def test_lines_of_objects_are_read_by_either_name(tmp_path):
    for name in ("a.jsonl", "a.ndjson", "a.NDJSON"):
        assert read_labelled(write_jsonl(tmp_path / name)).labels == [1, 0, 1, 0]
    folder = tmp_path / "folder"
    folder.mkdir()
    write_jsonl(folder / "a.jsonl", ROWS[:2])
    write_jsonl(folder / "b.ndjson", ROWS[2:])
    assert len(read_labelled(str(folder))) == 4
