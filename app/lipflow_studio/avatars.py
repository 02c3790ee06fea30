"""Finding avatars: the embedded ones by name, others by their file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from lipflow.checks import InputError

DEFAULT = "lip-flow-kpt"


def embedded() -> dict[str, Path]:
    """Names and files of the embedded avatars."""
    folder = Path(str(files("lipflow_assets"))) / "avatars"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find(which: str) -> Path:
    """The file of an avatar given by name or path.

    Raises:
        InputError: if it is neither.
    """
    known = embedded()
    path = known.get(which, Path(which))
    if not path.is_file():
        raise InputError("avatar", expected=f"a file, or one of {', '.join(known) or 'none embedded'}", got=which)
    return path


def embedded_driven_by(kind: str) -> Path:
    """The embedded avatar that a kind of signal drives ("hmc" or "kpt").

    Raises:
        InputError: if none is.
    """
    for name, path in embedded().items():
        if name.endswith(f"-{kind}"):
            return path
    raise InputError("avatar", expected=f"an embedded avatar driven by {kind}", got="none", mend="open one first")
