"""Checkpoints that survive a kill, a full disk and a flipped bit, or say which of them happened.

A run's folder holds one folder for each checkpoint::

    step-00001000/
        model.safetensors    the weights
        state.pt             all else that training needs: optimizer, position in the data, history, configurations
        checkpoint.json      what this is, to read; the sizes and SHA-256 digests of the two files, and its own

A checkpoint is written under another name, flushed to the disk, and then renamed: under its own name it is always
whole. Only then are older ones removed.
"""

import hashlib
import io
import json
import os
import re
import shutil
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from companion.errors import require

FORMAT = 1
WEIGHTS, STATE, MANIFEST = "model.safetensors", "state.pt", "checkpoint.json"
_NAME = re.compile(r"step-(\d{8})(\.replaced)?")
_PARTIAL = ".partial-"


class CheckpointError(ValueError):
    """A checkpoint is damaged or incomplete."""


def save_checkpoint(
    run_dir: str | os.PathLike[str], state: Mapping[str, Any], *, keep: int = 2, keep_steps: Collection[int] = ()
) -> Path:
    """Write ``state`` as a checkpoint of the run; remove all but the newest ``keep`` (and ``keep_steps``).

    Args:
        run_dir: the run's folder; made if it is not there.
        state: what :meth:`companion.Trainer.state_dict` gives; at least ``step`` and ``model``, a dictionary of
            tensors. All else must be tensors, numbers, strings, None, and dictionaries, lists or tuples of them. For a
            moment it takes its own size again in memory.
        keep: how many of the newest checkpoints stay.
        keep_steps: steps whose checkpoints are never removed.

    Returns:
        The checkpoint's folder.

    Raises:
        OSError: it could not be written, for example because the disk is full. What was there before is untouched.
    """
    require(keep >= 1, f"keep={keep} must be at least 1, or nothing would remain")
    run_dir = Path(run_dir)
    step = int(state["step"])
    folder, partial = run_dir / f"step-{step:08d}", run_dir / f"{_PARTIAL}step-{step:08d}"
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        _remove_partial(run_dir)
        partial.mkdir()
        _write_files(partial, state)
        _put_in_place(partial, folder)
    except OSError as error:
        raise _not_written(error, run_dir, step) from error
    _rotate(run_dir, keep, keep_steps, folder)
    return folder


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The state that :func:`save_checkpoint` wrote, its digests verified.

    Args:
        path: a checkpoint, or the folder of a run, of which the newest is taken. If that is damaged, an older one is
            taken instead, with a warning that says so; a checkpoint that was named itself has no substitute.

    Raises:
        CheckpointError: it is damaged (which file, and how), or all of them are.
        FileNotFoundError: there is none.
    """
    path = Path(path)
    if (path / MANIFEST).exists() or _NAME.fullmatch(path.name):
        return _read(path)
    folders = checkpoints(path)
    if not folders:
        raise FileNotFoundError(f"no checkpoint in {path}; it should hold folders named like step-00001000")
    problems: list[str] = []
    for folder in reversed(folders):
        try:
            state = _read(folder)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        if problems:
            warnings.warn(f"{'; '.join(problems)}; taking the older {folder.name} instead", stacklevel=2)
        return state
    raise CheckpointError(f"no checkpoint in {path} is whole: {'; '.join(problems)}")


def checkpoints(run_dir: str | os.PathLike[str]) -> list[Path]:
    """The checkpoints of a run, oldest first; none if there is no such folder."""
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        return []
    found = [p for p in run_dir.iterdir() if _NAME.fullmatch(p.name) and p.is_dir()]
    # One that is just being replaced stands before the one that replaces it.
    return sorted(found, key=lambda p: (checkpoint_step(p), not p.name.endswith(".replaced")))


def latest_checkpoint(run_dir: str | os.PathLike[str]) -> Path | None:
    """The newest checkpoint of a run, not yet verified; None if there is none."""
    return next(reversed(checkpoints(run_dir)), None)


def checkpoint_step(path: str | os.PathLike[str]) -> int:
    """The step that a checkpoint's name tells.

    >>> checkpoint_step("runs/bert/step-00001000")
    1000
    """
    name = _NAME.fullmatch(Path(path).name)
    require(name is not None, f"{path} is not named like a checkpoint, step-00001000")
    assert name is not None
    return int(name[1])


def _write_files(folder: Path, state: Mapping[str, Any]) -> None:
    from safetensors.torch import save

    weights, shared = _without_duplicates(state["model"])
    rest = {name: value for name, value in state.items() if name != "model"}
    buffer = io.BytesIO()
    torch.save(rest, buffer)
    files = {WEIGHTS: save(weights, metadata={"format": "pt"}), STATE: buffer.getvalue()}
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "step": int(state["step"]),
        "torch": torch.__version__,
        **{
            name: state[name]
            for name in ("config", "model_kind", "model_config", "objective", "processes")
            if name in state
        },
        "shared": shared,
        "files": {name: {"bytes": len(data), "sha256": _digest(data)} for name, data in files.items()},
    }
    manifest = json.loads(json.dumps(manifest))  # tuples are lists in JSON, and the digest is that of what is read
    manifest["sha256"] = _manifest_digest(manifest)
    files[MANIFEST] = (json.dumps(manifest, indent=2) + "\n").encode()
    for name, data in files.items():
        _write(folder / name, data)
    _flush_folder(folder)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(partial: Path, folder: Path) -> None:
    """Rename; a checkpoint of the same step steps aside first and is still found if we are killed in between."""
    aside = folder.with_name(f"{folder.name}.replaced")
    if folder.exists():
        _discard(aside)
        folder.rename(aside)
    partial.rename(folder)
    _flush_folder(folder.parent)
    _discard(aside)


def _rotate(run_dir: Path, keep: int, keep_steps: Collection[int], written: Path) -> None:
    """Remove older checkpoints, but never the one just written: a run may have gone back to an earlier step."""
    candidates = [p for p in checkpoints(run_dir) if checkpoint_step(p) not in keep_steps]
    for folder in candidates[:-keep]:
        if folder != written:
            _discard(folder)


def _discard(folder: Path) -> None:
    """Remove a checkpoint; its name goes first, so that no half of it is ever taken for a whole one."""
    if folder.exists():
        doomed = folder.with_name(f"{_PARTIAL}{folder.name}.removed")
        if doomed.exists():
            shutil.rmtree(doomed)
        shutil.rmtree(folder.rename(doomed))


def _remove_partial(run_dir: Path) -> None:
    """Remove what a killed or failed process left."""
    for path in run_dir.glob(f"{_PARTIAL}*"):
        shutil.rmtree(path)


def _not_written(error: OSError, run_dir: Path, step: int) -> OSError:
    try:
        _remove_partial(run_dir)  # gives the space back
    except OSError:
        left = "; a part of it is left there"
    else:
        left = ""
    newest = latest_checkpoint(run_dir)
    before = "there is no older one" if newest is None else f"the newest one there, {newest.name}, is untouched"
    message = f"the checkpoint of step {step} could not be written: {error.strerror}{left}; {before}"
    return OSError(error.errno, message, str(run_dir))


def _read(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load

    manifest = _read_manifest(folder)
    data = {name: _verified(folder, name, entry) for name, entry in manifest["files"].items()}
    state: dict[str, Any] = torch.load(io.BytesIO(data[STATE]), weights_only=True, map_location="cpu")
    weights = load(data[WEIGHTS])
    weights |= {alias: weights[name] for alias, name in manifest["shared"].items()}
    return {**state, "model": weights}


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no checkpoint {folder}")
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        whole = manifest["sha256"] == _manifest_digest(manifest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder.name} is damaged: {MANIFEST} cannot be read ({error})") from error
    if not whole:
        raise CheckpointError(f"{folder.name} is damaged: {MANIFEST} has another digest than it should")
    require(
        manifest["format"] == FORMAT,
        f"{folder} has the format {manifest['format']}, but this version of companion reads {FORMAT}",
    )
    return manifest


def _verified(folder: Path, name: str, entry: Mapping[str, Any]) -> bytes:
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{folder.name} is damaged: {name} cannot be read ({error.strerror})") from error
    if len(data) != entry["bytes"]:
        raise CheckpointError(f"{folder.name} is damaged: {name} has {len(data)} bytes instead of {entry['bytes']}")
    if _digest(data) != entry["sha256"]:
        raise CheckpointError(f"{folder.name} is damaged: {name} has another SHA-256 digest than it should")
    return data


def _without_duplicates(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors that share memory (a head tied to the embedding) once, and which names stand for which others."""
    unique: dict[str, Tensor] = {}
    shared: dict[str, str] = {}
    names: dict[tuple[Any, ...], str] = {}
    for name, tensor in weights.items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.device)
        if tensor.numel() and place in names:
            shared[name] = names[place]
        else:
            names[place] = name
            unique[name] = tensor.detach().cpu().contiguous()
    return unique, shared


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _manifest_digest(manifest: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in manifest.items() if name != "sha256"}
    return _digest(json.dumps(rest, sort_keys=True).encode())


def _flush_folder(folder: Path) -> None:
    """Flush the folder's entries, where the system has such a thing."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
