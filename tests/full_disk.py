"""A disk that is full in the middle of a file."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def full_disk(*, after: int = 0) -> Iterator[None]:
    """Inside, the first ``after`` files that pathlib writes are whole; of the next one half is written, and no more."""
    whole, left = Path.write_bytes, [after]

    def write_bytes(self: Path, data: bytes) -> int:
        left[0] -= 1
        if left[0] >= 0:
            return whole(self, data)
        whole(self, bytes(data[: len(data) // 2]))
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    def write_text(self: Path, data: str, **_: Any) -> int:
        return write_bytes(self, data.encode())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_bytes)
        patch.setattr(Path, "write_text", write_text)
        yield
