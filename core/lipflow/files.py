"""Writing files so that a stop at any moment leaves the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write a file or folder to; rename it into place when the block ends well.

    A file is replaced; a folder is, too, in two renames: a stop just between them leaves the old one and the new one
    beside ``path``. When the block raises, what was written beside is removed and ``path`` is as it was. The yielded
    name keeps the suffix, since writers choose their format by it. An OSError names ``path``, where it names no other
    file.
    """
    with _beside(path, path.parent) as beside:
        yield beside
        if beside.is_file():
            beside.chmod(0o644)  # some writers make private files
        if beside.is_dir() and path.is_dir():
            before = beside.with_name(f"{beside.name}.before")
            os.replace(path, before)
            os.replace(beside, path)
            shutil.rmtree(before)
        else:
            os.replace(beside, path)


@contextlib.contextmanager
def filling(folder: Path, last: str) -> Iterator[Path]:
    """Yield an empty folder beside ``folder``, which it becomes when the block ends well.

    Into a folder that is there its files move one by one, ``last`` as the last, and other files stay: they are written
    within it, since it may be the only place that can be written to, or a disk of its own. Otherwise as ``replacing``.
    """
    with _beside(folder, folder if folder.is_dir() else folder.parent) as beside:
        beside.mkdir()
        yield beside
        if folder.exists():
            for file in sorted(beside.iterdir(), key=lambda file: file.name == last):
                os.replace(file, folder / file.name)
        else:
            os.replace(beside, folder)


@contextlib.contextmanager
def _beside(path: Path, place: Path) -> Iterator[Path]:
    """A name in ``place`` for what becomes ``path``: what is left there at the end is removed, and no OSError tells of
    it."""
    place.mkdir(parents=True, exist_ok=True)
    beside = place / f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}"
    try:
        yield beside
    except OSError as error:
        # Writers that are refused tell of no file, of the one beside, or of one in it.
        error.filename = str(error.filename or beside).replace(str(beside), str(path))
        raise
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # a read-only disk refuses to remove what is not there, too
                beside.unlink(missing_ok=True)


def write_json(path: Path, body: object) -> None:
    """Write indented JSON, atomically; NaN and infinity are refused."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(body, indent=1, allow_nan=False) + "\n")
