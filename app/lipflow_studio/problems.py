"""Errors as people read them: one line that says what happened and what helps."""

from __future__ import annotations

import errno

from lipflow.checks import InputError
from lipflow_studio.document import Problem

# What the system's own words leave open.
SYSTEM = {
    errno.ENOSPC: "no space left on the disk; free some, or choose another place",
    errno.EFBIG: "the file is larger than this place takes; choose another place",
    errno.EIO: "the disk fails; choose another place",
    errno.EDQUOT: "the quota of this disk is used up; free some space, or choose another place",
    errno.EACCES: "no permission; choose another place",
    errno.EPERM: "no permission; choose another place",
    errno.EROFS: "the disk is read-only; choose another place",
    errno.ENOENT: "there is no such file; choose another one",
    errno.ENOTDIR: "a part of its path is no folder; choose another place",
    errno.EEXIST: "this is a file, and no folder; choose another place",  # of a folder that was to be made
}


def describe_error(error: BaseException, details: str = "") -> Problem:
    """One line, and what there is to copy."""
    line = _line(error)
    return Problem(line, details or line)


def _line(error: BaseException) -> str:
    if isinstance(error, InputError):
        cause = error.__cause__
        # Of a file that cannot be read at all, it does not help to say what should be inside.
        if isinstance(cause, OSError) and cause.errno in SYSTEM:
            return f"{error.what}: {SYSTEM[cause.errno]}"
        return str(error)
    if isinstance(error, OSError) and error.errno in SYSTEM:
        where = error.filename2 or error.filename
        return f"{where or 'file'}: {SYSTEM[error.errno]}"
    return next(iter(f"{type(error).__name__}: {error}".splitlines()))
