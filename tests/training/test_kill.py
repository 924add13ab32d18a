"""Killed at any moment and taken up again, a run ends bit for bit as one that was never killed. Dropout is on."""

import random
import sys
import time
from pathlib import Path

import pytest
from tiny_training import (
    CONTEXT,
    KILL,
    differences,
    in_child,
    killed_in_a_step,
    killed_while_saving,
    killed_while_writing,
    resume,
    run_with_small_files,
    slow_run,
    tiny_trainer,
)

from companion.training.checkpoint import STATE, checkpoints

KILLED = 1 if sys.platform == "win32" else -KILL


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    trainer = tiny_trainer()
    trainer.fit(checkpoint_dir=tmp_path_factory.mktemp("uninterrupted"))
    return trainer.state_dict()


def ends_the_same(run_dir: Path, uninterrupted) -> bool:
    trainer = resume(tiny_trainer(), run_dir)
    assert trainer.step < 12
    trainer.fit(checkpoint_dir=run_dir)
    assert differences(trainer.state_dict(), uninterrupted) == []
    assert [p.name for p in sorted(run_dir.iterdir())] == ["step-00000009", "step-00000012"]
    return True


@pytest.mark.parametrize(
    ("step", "call"), [(3, "os.mkdir"), (6, "os.rename"), (9, "os.rmdir")], ids=["to begin", "to finish", "to clean up"]
)
def test_while_saving(step, call, tmp_path, uninterrupted):
    assert in_child(killed_while_saving, tmp_path, step, call) == KILLED
    assert ends_the_same(tmp_path, uninterrupted)


def test_with_half_a_file_written(tmp_path, uninterrupted):
    assert in_child(killed_while_writing, tmp_path, STATE) == KILLED
    assert (tmp_path / ".partial-step-00000006" / STATE).stat().st_size > 0
    assert [p.name for p in checkpoints(tmp_path)] == ["step-00000003"]
    assert ends_the_same(tmp_path, uninterrupted)


def test_between_gradients_and_update(tmp_path, uninterrupted):
    assert in_child(killed_in_a_step, tmp_path, 8) == KILLED
    assert ends_the_same(tmp_path, uninterrupted)


def test_again_and_again_by_somebody_else(tmp_path):
    straight = tiny_trainer(checkpoint_every=2)
    straight.fit()
    pause, kills = random.Random(0), 0
    for _ in range(40):
        child = CONTEXT.Process(target=slow_run, args=(tmp_path,))
        child.start()
        time.sleep(pause.uniform(0.1, 0.2) * 1.2**kills)  # longer each time, so that it ends on a slow machine too
        child.kill()
        child.join()
        if child.exitcode == 0:
            break
        kills += 1
    assert kills >= 1 and child.exitcode == 0
    finished = resume(tiny_trainer(checkpoint_every=2), tmp_path)
    assert differences(finished.state_dict(), straight.state_dict()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_where_files_cannot_grow(tmp_path, uninterrupted):
    tiny_trainer().fit(until=3, checkpoint_dir=tmp_path)
    size = (tmp_path / "step-00000003" / STATE).stat().st_size
    assert in_child(run_with_small_files, tmp_path, size - 100) == 7
    assert ends_the_same(tmp_path, uninterrupted)
