"""Keypoints: select, move, pin, let go."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from lipflow.checks import InputError
from lipflow_studio.commands import command
from lipflow_studio.document import KeypointSet, Source

if TYPE_CHECKING:
    from lipflow_studio.session import Session

MAX_STRENGTH = 1000.0  # of a pin; a keypoint that a camera saw has 1
Point = tuple[float, float]


def displaced(session: Session, right: float, down: float, origins: Mapping[int, Point]) -> dict[int, Point]:
    """Where a displacement (fractions of the image) takes grabbed landmarks from their ``origins``; with symmetry on,
    their mirror images, which are among the origins too, go the other way sideways."""
    grabbed = session.selection
    return {i: (x + (right if i in grabbed else -right), y + down) for i, (x, y) in origins.items()}


def grabbed_points(session: Session) -> dict[int, Point]:
    """The selected landmarks, and their mirror images with symmetry on, where they are now."""
    moving, info = set(session.selection), session.avatar_info
    if session.symmetric and info is not None:
        moving |= {info.landmarks.mirror[i] for i in moving}
    handles = session.handles()
    return {i: (float(handles[i][0]), float(handles[i][1])) for i in sorted(moving)}


@command(same=lambda indices: "selection")
def select(session: Session, indices: list[int]) -> None:
    """Select landmarks by their positions."""
    count = 0 if session.keypoints is None else len(session.keypoints.given)
    session.put_selection(frozenset(i for i in indices if 0 <= i < count))


@command()
def select_all(session: Session) -> None:
    """Select every landmark."""
    session.put_selection(frozenset(() if session.keypoints is None else range(len(session.keypoints.given))))


@command(same=lambda on: "symmetric")
def set_symmetric(session: Session, on: bool) -> None:
    """Whether the mirror image of a moved landmark moves along."""
    session.put_symmetric(bool(on))


def _same_drag(points: Mapping[int, Point], gesture: Hashable = None) -> Hashable:
    return None if gesture is None else (gesture, tuple(sorted(points)))


@command(same=_same_drag)
def move_keypoints(session: Session, points: Mapping[int, Point], gesture: Hashable = None) -> None:
    """Put landmarks somewhere in the image ([0, 1]²) and pin them there; the fit follows.

    Moves of one ``gesture`` are one undo step.
    """
    if session.keypoints is None or not points:
        return
    try:
        points = {int(i): (float(x), float(y)) for i, (x, y) in points.items()}
    except (TypeError, ValueError) as error:
        session.report(InputError("keypoints", expected="landmarks at pairs of numbers", got=error))
        return
    if not all(0 <= i < len(session.keypoints.given) and np.isfinite(p).all() for i, p in points.items()):
        session.report(InputError("keypoints", expected="known landmarks at finite positions", got=points))
        return
    _move(session, "move" if gesture is None else "drag", points, gesture)


@command()
def nudge(session: Session, right: float, down: float) -> None:
    """Move the selected landmarks by fractions of the image; a run of nudges is one undo step."""
    if session.keypoints is None or not session.selection:
        return
    points = displaced(session, right, down, grabbed_points(session))
    _move(session, "nudge", points, ("nudge", tuple(sorted(session.selection)), session.symmetric))


@command()
def pin(session: Session, pinned: bool = True) -> None:
    """Pin the selected landmarks where they are, or let them go."""
    if session.keypoints is None or not session.selection:
        return
    here = {i: p for i, p in _positions(session).items() if i in session.selection}
    after = _resting(session).moved(here) if pinned else session.keypoints.released(session.selection)
    _edit(session, f"{'pin' if pinned else 'unpin'} of {called(session, session.selection)}", after)


@command(same=lambda strength: "strength")
def set_strength(session: Session, strength: float) -> None:
    """How strongly the selected landmarks are pinned: the factor on their squared distance; 0 lets them go."""
    if session.keypoints is None or not session.selection:
        return
    strength = float(np.clip(strength, 0.0, MAX_STRENGTH))
    if strength == 0:
        session.pin(False)
        return
    here = {i: p for i, p in _positions(session).items() if i in session.selection}
    text = f"change of the pin strength of {called(session, session.selection)}"
    gesture = ("strength", tuple(sorted(session.selection)))
    _edit(session, text, _resting(session).moved(here, strength), gesture)


@command()
def reset_keypoints(session: Session, selected: bool = False) -> None:
    """Unpin the selected landmarks, or all, and send them back to where the avatar's neutral face has them.

    Where no other is pinned or elsewhere, the neutral face is put on: a fit that nothing pulls stays near the face that
    it leaves.
    """
    info, keypoints = session.avatar_info, session.keypoints
    if info is None or keypoints is None or (selected and not session.selection):
        return
    indices = sorted(session.selection) if selected else list(range(len(keypoints.given)))
    given, strength = keypoints.given.copy(), keypoints.strength.copy()
    given[indices], strength[indices] = info.keypoints[indices], 0.0
    text = f"reset of {called(session, indices) if selected else 'all keypoints'}"
    after = KeypointSet(given, strength, keypoints.frame if selected else None)
    if after == KeypointSet.at_rest(info.keypoints):
        session.edit(text, keypoints=after, source=Source.KEYPOINTS, code=info.start.copy())
    else:
        _edit(session, text, after)


def called(session: Session, indices: Iterable[int]) -> str:
    """Landmarks as the undo menu names them."""
    members = list(indices)
    if session.avatar_info is not None and len(members) == 1:
        return session.avatar_info.landmarks.names[members[0]]
    return f"{len(members)} keypoints"


def _move(session: Session, verb: str, points: dict[int, Point], gesture: Hashable) -> None:
    _edit(session, f"{verb} of {called(session, points)}", _resting(session).moved(points), gesture)


def _edit(session: Session, text: str, keypoints: KeypointSet, gesture: Hashable = None) -> None:
    session.edit(text, gesture, keypoints=keypoints, source=Source.KEYPOINTS)


def _positions(session: Session) -> dict[int, Point]:
    return {i: (float(x), float(y)) for i, (x, y) in enumerate(session.handles())}


def _resting(session: Session) -> KeypointSet:
    """The keypoints; after a fit to something else those that are not pinned rest on its face, to keep it."""
    assert session.keypoints is not None
    if session.source is Source.KEYPOINTS:
        return session.keypoints
    given = session.handles().astype(np.float32).clip(0, 1)
    return KeypointSet(given, session.keypoints.strength)
