"""Where commands write: looked at before anything is computed for it."""

from __future__ import annotations

import os
from pathlib import Path

from lipflow.checks import InputError


def check_output(folder: Path) -> None:
    """Look whether ``folder`` is one, or can be made one, that can be written into.

    Raises:
        InputError: if it cannot.
    """
    what = f"output {folder}"
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        got = "a file" if there == folder else f"one within {there}, which is a file"
        raise InputError(what, expected="a folder", got=got, mend="give another")
    if not os.access(there, os.W_OK):
        got = "a read-only one" if there == folder else f"one within {there}, which is read-only"
        raise InputError(what, expected="a folder to write to", got=got, mend="give another")
