"""Files are written whole or not at all, by everything that should write them so."""

import os
import sys

import pytest
import torch
from full_disk import full_disk

from companion import BERT, TransformerConfig
from companion.experiments.imdb import FIELDS, Cell, write_cell
from companion.experiments.results import Record
from companion.files import write_text_whole, write_whole
from companion.models.pretrained import save_pretrained
from companion.training.record import write_record
from companion.training.run_folder import write_run_values


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_text_is_written_as_it_is_and_its_folder_is_made(tmp_path):
    path = tmp_path / "a" / "b" / "text.json"
    write_text_whole(path, "first, and longer\n")
    write_text_whole(path, "Übung\n好\r\n")
    assert content(path.parent) == {"text.json": "Übung\n好\r\n".encode()}


def test_what_stood_there_stays_until_all_of_the_new_files_are_whole(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    write_whole({one: b"old one", two: b"old two"})
    for after in (0, 1):
        with full_disk(after=after), pytest.raises(OSError, match="No space left"):
            write_whole({one: b"new one", two: b"new two"})
        assert content(tmp_path) == {"one": b"old one", "two": b"old two"}
    with pytest.raises(ValueError, match="surrogates not allowed"):
        write_text_whole(one, "half a character: \ud800")
    assert content(tmp_path) == {"one": b"old one", "two": b"old two"}


def test_the_files_are_put_in_place_in_their_order(tmp_path, monkeypatch):
    moved = []
    replace = type(tmp_path).replace
    monkeypatch.setattr(type(tmp_path), "replace", lambda self, to: [moved.append(to.name), replace(self, to)][1])
    write_whole({tmp_path / name: b"" for name in ("c", "a", "b")})
    assert moved == ["c", "a", "b"]


def test_a_folder_in_its_place_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError) as error:
        write_text_whole(tmp_path / "a", "text")
    assert error.value.filename == str(tmp_path / "a") and content(tmp_path / "a") == {}


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need a POSIX system")
def test_a_link_stays_a_link_and_a_device_a_device(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(real / "a.txt")
    for text in ("first", "second"):
        write_text_whole(link, text)
        assert link.is_symlink() and content(real) == {"a.txt": text.encode()}
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text_whole(pipe, "through")
        assert os.read(reader, 100) == b"through" and pipe.is_fifo()
    finally:
        os.close(reader)


def saved(folder, seed):
    torch.manual_seed(seed)
    model = BERT(TransformerConfig(vocab_size=9, d_model=8, n_layers=1, max_len=8 + seed))
    save_pretrained(folder, model, card=f"# {seed}\n", about={"seed": seed})


def cell(folder, seed):
    write_cell(folder, Cell("nb", 10, 0), {**dict.fromkeys(FIELDS), "accuracy": seed / 10})


WRITERS = {
    "record": lambda folder, seed: write_record(folder / "record.json", {"seed": seed}),
    "run": lambda folder, seed: write_run_values(folder, {"train": {"seed": seed}}),
    "cells": lambda folder, seed: Record(folder / "r.json", command="c", config={}).add({"seed": seed}, {"x": 1.0}),
    "imdb": cell,
    "export": saved,
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_a_full_disk_stops_leaves_what_was_there(tmp_path, name):
    folder = tmp_path / "new"
    WRITERS[name](folder, 1)
    before = content(folder)
    for after in range(len(before)):
        with full_disk(after=after), pytest.raises(OSError, match="No space left"):
            WRITERS[name](folder, 2)
        assert content(folder) == before
    WRITERS[name](folder, 2)
    assert content(folder).keys() == before.keys() and content(folder) != before
    assert not any(b"\r" in data for file, data in content(folder).items() if file.endswith(".json"))
