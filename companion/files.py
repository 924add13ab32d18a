"""Files that are written whole or not at all, so that nobody reads half of one after a kill or on a full disk."""

from collections.abc import Mapping
from pathlib import Path


def write_text_whole(path: Path, text: str) -> None:
    r"""Write a text as UTF-8, its line ends as they are, and its folder too; what stood there stays until it is whole.

    Raises:
        OSError: there is no room, or no right to write there; what stood there is unharmed.
        ValueError: half a character (``\ud800`` to ``\udfff`` alone), which UTF-8 cannot write.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "new" / "a.txt"
    >>> write_text_whole(path, "good\n")
    >>> path.read_bytes(), [entry.name for entry in path.parent.iterdir()]
    (b'good\n', ['a.txt'])
    """
    write_whole({path: text.encode("utf-8")})


def write_whole(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together: each beside its place, as ``.NAME.new``, then all are renamed, in this order.

    Folders are made. A link stays, and the file that it leads to is replaced; a device, such as ``/dev/null``, is
    written to.

    Raises:
        OSError: one of them cannot be written; none is replaced then.
    """
    beside: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            if path.exists() and not path.is_file():
                path.write_bytes(data)
                continue
            place = path.resolve()
            place.parent.mkdir(parents=True, exist_ok=True)
            beside[place] = place.with_name(f".{place.name}.new")
            beside[place].write_bytes(data)
        for place, new in beside.items():
            new.replace(place)
    except BaseException:  # Ctrl-C, too
        for new in beside.values():
            new.unlink(missing_ok=True)
        raise
