"""The Fit menu's entries for frames in time: of the open sequence, or else of the open capture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipflow_studio.actions.row import ActionRow
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.sequence import Sequences

if TYPE_CHECKING:
    from lipflow_studio.session import Session

MENU = "F&it"
NO_FRAMES = "Neither a sequence nor a capture is open"


def _player(session: Session) -> Sequences | Captures:
    """Whose frame is fitted to; where it is none's, the sequence if one is open."""
    sequences, captures = session.part(Sequences), session.part(Captures)
    if sequences.frame is None and captures.frame is not None:
        return captures
    return captures if sequences.info is None and captures.info is not None else sequences


def _has_frames(session: Session) -> bool:
    return _player(session).info is not None


def _toggle(session: Session) -> None:
    player = _player(session)
    player.play(not player.playing)


ROWS = (
    ActionRow(MENU, "separator"),
    ActionRow(
        MENU,
        "play",
        "Play the sequence",
        ("Shift+Space",),
        _toggle,
        "Fit to frame after frame of the open sequence or capture",
        enabled=_has_frames,
        needs=NO_FRAMES,
        title=lambda s: "Stop the sequence" if _player(s).playing else "Play the sequence",
    ),
    ActionRow(
        MENU,
        "next_frame",
        "Next frame",
        ("Alt+Right",),
        lambda s: _player(s).step(1),
        "Fit to the next frame of the open sequence or capture",
        enabled=_has_frames,
        needs=NO_FRAMES,
    ),
    ActionRow(
        MENU,
        "frame_before",
        "Frame before",
        ("Alt+Left",),
        lambda s: _player(s).step(-1),
        "Fit to the frame before, of the open sequence or capture",
        enabled=_has_frames,
        needs=NO_FRAMES,
    ),
)
