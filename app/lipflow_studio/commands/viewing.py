"""The viewer's camera, and the cameras whose place it can take."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lipflow.checks import InputError
from lipflow_studio.commands import command
from lipflow_studio.orbit import PRESETS, Orbit
from lipflow_studio.parts.capture import Captures

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
    """Look from a named direction, keeping the framing; or from the place of one of ``viewpoints``."""
    places = {name: orbit for group in viewpoints(session).values() for name, orbit in group.items()}
    if preset in PRESETS:
        camera, home = session.camera, session.home
        # From a camera's place there is no framing to keep: it may be a hand's breadth before the mouth.
        framed = camera if camera.field_of_view == home.field_of_view else home
        azimuth, elevation = PRESETS[preset]
        session.put_camera(replace(framed, azimuth=azimuth, elevation=elevation))
    elif preset in places:
        session.put_camera(places[preset])
    else:
        known = " or ".join([*PRESETS, *places])
        session.report(InputError("view", expected=known, got=repr(preset)))


def viewpoints(session: Session) -> Mapping[str, Mapping[str, Orbit]]:
    """The cameras that the viewer can look through, in groups: the avatar's own, and those of the open capture."""
    groups: dict[str, Mapping[str, Orbit]] = {}
    if session.avatar_info is not None:
        groups["Avatar"] = session.avatar_info.viewpoints
    capture = session.part(Captures).info
    if capture is not None:
        groups[f"Capture {capture.name}"] = capture.viewpoints
    return groups


@command()
def reset_camera(session: Session) -> None:
    """Look at the whole head from the front."""
    session.put_camera(session.home)
