"""Folders for one process at a time."""

from __future__ import annotations

import fcntl


def lock(handle: int) -> bool:
    """Lock a folder that is open until it is closed; False if it is locked already, by another process or this one."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks on folders: then only care keeps two processes apart
        return True
    return True
