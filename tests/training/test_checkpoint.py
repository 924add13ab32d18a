"""Checkpoints: whole or not there, verified when loaded, and older ones kept until a newer one is whole."""

import errno
import json
import os
import random
import re
import shutil
import warnings

import pytest
import torch
from tiny_training import Moment

from companion import load_checkpoint, save_checkpoint
from companion.training import checkpoint
from companion.training.checkpoint import (
    MANIFEST,
    STATE,
    WEIGHTS,
    CheckpointError,
    checkpoint_step,
    checkpoints,
    latest_checkpoint,
)

FILES = [WEIGHTS, STATE, MANIFEST]


def state(step: int) -> dict:
    generator = torch.Generator().manual_seed(step)
    tied = torch.randn(5, 3, generator=generator)
    return {
        "step": step,
        "config": {"betas": (0.9, 0.999), "seed": 4},
        "model": {"embedding": tied, "bias": torch.randn(3, generator=generator).bfloat16(), "head": tied},
        "optimizer": {"state": {0: {"step": torch.tensor(float(step)), "exp_avg": tied.double()}}},
        "stream": {"index": 2**40},
        "history": [{"loss": 0.1 + step, "nan": None}],
    }


def same(a: dict, b: dict) -> bool:
    torch.testing.assert_close(a, b, rtol=0, atol=0)
    return True


def names(run_dir) -> list[str]:
    return sorted(path.name for path in run_dir.iterdir())


def test_what_was_saved_is_loaded(tmp_path):
    saved = state(7)
    folder = save_checkpoint(tmp_path / "deep" / "run", saved)
    assert folder.name == "step-00000007" and names(folder) == sorted(FILES)
    for path in (folder, tmp_path / "deep" / "run", str(folder)):
        loaded = load_checkpoint(path)
        assert same(loaded, saved) and loaded["model"]["bias"].dtype == torch.bfloat16
        assert loaded["config"]["betas"] == (0.9, 0.999)
    assert loaded["model"]["head"] is loaded["model"]["embedding"]  # stored once
    assert json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["shared"] == {"head": "embedding"}
    assert (folder / WEIGHTS).stat().st_size < 400


def test_the_weights_are_an_ordinary_safetensors_file(tmp_path):
    from safetensors.torch import load_file

    weights = load_file(save_checkpoint(tmp_path, state(1)) / WEIGHTS)
    assert sorted(weights) == ["bias", "embedding"]


def test_names_sort_and_tell_the_step(tmp_path):
    assert checkpoints(tmp_path / "nowhere") == [] and latest_checkpoint(tmp_path) is None
    for step in (2, 10, 9):
        save_checkpoint(tmp_path, state(step), keep=5)
    (tmp_path / "notes").mkdir()
    (tmp_path / "step-9").mkdir()
    assert [checkpoint_step(p) for p in checkpoints(tmp_path)] == [2, 9, 10]
    assert latest_checkpoint(tmp_path) == tmp_path / "step-00000010"
    with pytest.raises(ValueError, match="notes is not named like a checkpoint"):
        checkpoint_step(tmp_path / "notes")


def test_rotation_keeps_the_newest_and_the_named(tmp_path):
    for step in range(1, 8):
        save_checkpoint(tmp_path, state(step), keep=2, keep_steps=(2, 3))
    assert [checkpoint_step(p) for p in checkpoints(tmp_path)] == [2, 3, 6, 7]
    save_checkpoint(tmp_path, state(4), keep=1, keep_steps=(2,))  # a run that went back keeps what it just wrote
    assert [checkpoint_step(p) for p in checkpoints(tmp_path)] == [2, 4, 7]
    with pytest.raises(ValueError, match="keep=0 must be at least 1"):
        save_checkpoint(tmp_path, state(8), keep=0)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it. The real signal is in test_kill.py."""


def stop() -> None:
    raise Killed


@pytest.mark.parametrize("again", [False, True], ids=["a new step", "a step that is there already"])
def test_stopped_before_any_file_system_call_of_a_save(again, tmp_path):
    new = {**state(6 if again else 9), "history": ["new"]}
    moments = 0
    while True:
        moments += 1
        run_dir = tmp_path / str(moments)
        for step in (3, 6):
            save_checkpoint(run_dir, state(step))
        try:
            with Moment(moments, stop):
                save_checkpoint(run_dir, new)
            break
        except Killed:
            loaded = load_checkpoint(run_dir)  # a warning would be an error
        old = same(loaded["model"], state(6)["model"]) if loaded["history"] != ["new"] else False
        assert old or same(loaded["model"], new["model"])
        save_checkpoint(run_dir, new)
        assert load_checkpoint(run_dir)["history"] == ["new"]
        assert names(run_dir) == (["step-00000003", "step-00000006"] if again else ["step-00000006", "step-00000009"])
        shutil.rmtree(run_dir)
    assert moments > 15  # two folders, three files, flushes, renames, and the removal of four entries


@pytest.mark.parametrize("call", [1, 2, 3, 4, 5], ids=[*FILES, "its folder", "the run's folder"])
def test_a_full_disk_loses_nothing_and_says_so(call, tmp_path, monkeypatch):
    save_checkpoint(tmp_path, state(3))
    fsync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == call:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    message = "checkpoint of step 6 could not be written: No space left on device; .* step-0000000[36], is untouched"
    with pytest.raises(OSError, match=message) as caught:
        save_checkpoint(tmp_path, state(6), keep=1)
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(tmp_path)
    monkeypatch.undo()
    assert same(load_checkpoint(tmp_path / "step-00000003"), state(3))
    assert all(name.startswith("step-") for name in names(tmp_path))  # the space is given back
    save_checkpoint(tmp_path, state(6), keep=1)
    assert names(tmp_path) == ["step-00000006"]


def test_a_first_checkpoint_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(OSError, match=r"could not be written: .*; there is no older one"):
        save_checkpoint(tmp_path / "file", state(1))


def truncate(path) -> None:
    path.write_bytes(path.read_bytes()[:-2])  # more than the last line break


def empty(path) -> None:
    path.write_bytes(b"")


def flip(path, position: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if position is None else position] ^= 1
    path.write_bytes(data)


def remove(path) -> None:
    path.unlink()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [truncate, empty, flip, remove])
def test_damage_is_found_and_an_older_one_only_taken_with_a_word(name, damage, tmp_path):
    for step in (3, 6):
        save_checkpoint(tmp_path, state(step))
    damage(tmp_path / "step-00000006" / name)
    damaged = f"step-00000006 is damaged: {re.escape(name)} "
    with pytest.raises(CheckpointError, match=damaged):  # named itself, it has no substitute
        load_checkpoint(tmp_path / "step-00000006")
    with pytest.warns(UserWarning, match=f"{damaged}.*taking the older step-00000003 instead"):
        loaded = load_checkpoint(tmp_path)
    assert same(loaded, state(3))
    damage(tmp_path / "step-00000003" / name)
    with pytest.raises(CheckpointError, match=f"no checkpoint in .* is whole: {damaged}.*; step-00000003 is damaged"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_anywhere_is_found(name, tmp_path):
    folder = save_checkpoint(tmp_path, state(1))
    whole = (folder / name).read_bytes()
    for position in random.Random(0).sample(range(len(whole)), 60):
        flip(folder / name, position)
        with pytest.raises(CheckpointError):
            load_checkpoint(folder)
        (folder / name).write_bytes(whole)
    assert same(load_checkpoint(folder), state(1))


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint in .*it should hold folders named like step-00001000"):
        load_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*step-00000001"):
        load_checkpoint(tmp_path / "step-00000001")


def test_another_format_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    folder = save_checkpoint(tmp_path, state(1))
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has the format 2, but this version of companion reads 1"):
        load_checkpoint(folder)


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return (warnings.warn, ("executed",))

    folder = save_checkpoint(tmp_path, {**state(1), "history": Evil()})
    with pytest.raises(Exception, match=r"(?i)weights.only"):
        load_checkpoint(folder)
