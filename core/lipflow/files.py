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

    A file is replaced; a folder is, too. When the block raises, what was written beside is removed and ``path`` is as
    it was. The yielded name keeps the suffix, since writers choose their format by it. An OSError names ``path``, where
    it names no other file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield beside
        if beside.is_file():
            beside.chmod(0o644)  # some writers make private files
        if beside.is_dir() and path.is_dir():
            shutil.rmtree(path)
        os.replace(beside, path)
    except OSError as error:
        if error.filename in (None, str(beside)):  # writers that are refused tell of no file, or of the one beside
            error.filename = str(path)
        raise
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)


def write_json(path: Path, body: object) -> None:
    """Write indented JSON, atomically; NaN and infinity are refused."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(body, indent=1, allow_nan=False) + "\n")
