"""A disk on which no file finds room: the system refuses, as it does on a full one, in the middle of writing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

ROOM = 256  # bytes of a file that are written nevertheless
SAYS = "too large"  # of the system's words for it


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """While the block runs, no file of this process grows beyond ``ROOM`` bytes."""
    resource = pytest.importorskip("resource")
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
