"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.real_capture import write_real_capture
from support.tiny_capture import write_tiny_capture


@pytest.fixture(scope="session")
def tiny_capture_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small complete capture in the Multiface layout; read it, never write into it."""
    return write_tiny_capture(tmp_path_factory.mktemp("capture") / "m--20200101--0000--tiny--GHS")


@pytest.fixture(scope="session")
def real_capture_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real captured frame as a capture folder; mark its tests ``real``."""
    return write_real_capture(tmp_path_factory.mktemp("real") / "m--20180227--0000--6795937--GHS")
