"""The folder beside a pack in which it is made: for one process at a time, with its room on the disk taken."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np

from lipflow.locks import lock


def hold(folder: Path) -> int | None:
    """Make a folder if need be and hold it for this process alone, until the handle is closed; None if another holds
    it, or has moved it into place just now.

    Raises:
        OSError: if it can be neither made nor read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    if lock(handle) and _is_at(handle, folder):
        return handle
    os.close(handle)
    return None


def done_in(folder: Path) -> int:
    """How many frames another process has packed there."""
    try:
        return int(np.load(folder / "done.npy", mmap_mode="r").sum())
    except (OSError, ValueError, EOFError):  # not there yet, or no longer
        return 0


def reserve(path: Path) -> None:
    """Take a file's room on the disk, where the system can: were it taken bit by bit through memory, a disk that is
    full by then would kill the process.

    Raises:
        OSError: if there is not enough.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise


def _is_at(handle: int, path: Path) -> bool:
    """Whether ``path`` is still what was opened."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
