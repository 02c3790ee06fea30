"""The viewer's camera."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lipflow_studio.commands import command
from lipflow_studio.orbit import PRESETS

if TYPE_CHECKING:
    from lipflow_studio.session import Session


def _same_fields(**changes: Any) -> Hashable:
    return tuple(sorted(changes))


@command(same=_same_fields)
def set_camera(session: Session, **changes: Any) -> None:
    """Change fields of the viewer's camera (azimuth, elevation, distance, target)."""
    if "target" in changes:
        x, y, z = changes["target"]
        changes["target"] = (float(x), float(y), float(z))
    session.put_camera(replace(session.camera, **changes))


@command()
def view_from(session: Session, preset: str) -> None:
    """Look from a named direction, keeping the framing."""
    azimuth, elevation = PRESETS[preset]
    session.put_camera(replace(session.camera, azimuth=azimuth, elevation=elevation))


@command()
def reset_camera(session: Session) -> None:
    """Look at the whole head from the front."""
    session.put_camera(session.home)
