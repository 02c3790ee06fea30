"""Finding what ships: the embedded avatars by name, others by their file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from lipflow.checks import InputError

DEFAULT = "lip-flow-kpt"


def assets_folder() -> Path:
    """The installed assets, the same way in a checkout and in a wheel."""
    return Path(str(files("lipflow_assets")))


def embedded_avatars() -> dict[str, Path]:
    """Names and files of the embedded avatars."""
    return {path.stem: path for path in sorted((assets_folder() / "avatars").glob("*.safetensors"))}


def find_avatar(which: str) -> Path:
    """The file of an avatar given by its name or by a path.

    Raises:
        InputError: if it is neither.
    """
    known = embedded_avatars()
    path = known.get(which, Path(which))
    if not path.is_file():
        raise InputError("avatar", expected=f"a file, or one of {', '.join(known) or 'none embedded'}", got=which)
    return path


def avatar_driven_by(kind: str) -> Path:
    """The embedded avatar that a kind of signal drives ("hmc" or "kpt"): LiP-Flow's, where it is there.

    Raises:
        InputError: if none is.
    """
    driven = [path for name, path in embedded_avatars().items() if name.endswith(f"-{kind}")]
    if driven:
        return next((path for path in driven if path.stem == f"lip-flow-{kind}"), driven[0])
    raise InputError("avatar", expected=f"an embedded avatar driven by {kind}", got="none", mend="open one first")
