"""The View menu: the camera, panels, the theme."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipflow_studio.actions import head
from lipflow_studio.actions.row import ActionRow
from lipflow_studio.parts.desk import Desk
from lipflow_studio.parts.headset_display import MODES, HeadsetDisplay

if TYPE_CHECKING:
    from lipflow_studio.session import Session


def _theme(choice: str, text: str) -> ActionRow:
    return ActionRow(
        "&View/Theme",
        f"theme_{choice}",
        text,
        run=lambda s: s.part(Desk).set_theme(choice),
        checked=lambda s: s.part(Desk).theme == choice,
    )


def _headset(mode: str, keys: tuple[str, ...] = ()) -> ActionRow:
    """Compare so, or, where it is compared so already, side by side."""

    def choose(session: Session) -> None:
        part = session.part(HeadsetDisplay)
        part.set_display(mode="side" if part.display.mode == mode else mode)

    return ActionRow(
        "&View/Headset images",
        f"headset_{mode}",
        MODES[mode],
        keys,
        choose,
        checked=lambda s: s.part(HeadsetDisplay).display.mode == mode,
    )


ROWS = (
    ActionRow("&View", "left", "Look from the left", ("1",), lambda s: s.view_from("left")),
    ActionRow("&View", "front", "Look from the front", ("2",), lambda s: s.view_from("front")),
    ActionRow("&View", "right", "Look from the right", ("3",), lambda s: s.view_from("right")),
    ActionRow("&View", "reset_camera", "Reset the camera", ("R",), lambda s: s.reset_camera()),
    *head.ROWS,
    ActionRow("&View", "separator"),
    ActionRow("&View/Panels", "panels"),
    _theme("system", "As the system"),
    _theme("light", "Light"),
    _theme("dark", "Dark"),
    _headset("side"),
    _headset("flicker", ("H",)),
    _headset("split", ("Shift+H",)),
    _headset("difference"),
    ActionRow("&View", "reset_layout", "Reset the layout", (), lambda s: s.part(Desk).reset_layout()),
)
