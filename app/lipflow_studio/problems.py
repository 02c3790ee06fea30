"""Errors as people read them: one line that says what happened and what helps."""

from __future__ import annotations

import errno

from lipflow.checks import InputError
from lipflow_studio.document import Problem

# What the system's own words leave open.
SYSTEM = {
    errno.ENOSPC: "no space left on the disk; free some, or choose another place",
    errno.EDQUOT: "the quota of this disk is used up; free some space, or choose another place",
    errno.EACCES: "no permission; choose another place",
    errno.EPERM: "no permission; choose another place",
    errno.EROFS: "the disk is read-only; choose another place",
    errno.ENOENT: "it is not there any more",
    errno.ENOTDIR: "a part of its path is no folder; choose another place",
}


def describe_error(error: BaseException, details: str = "") -> Problem:
    """One line, and what there is to copy."""
    line = _line(error)
    return Problem(line, details or line)


def _line(error: BaseException) -> str:
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and error.errno in SYSTEM:
        where = error.filename2 or error.filename
        return f"{where or 'file'}: {SYSTEM[error.errno]}"
    return next(iter(f"{type(error).__name__}: {error}".splitlines()))
