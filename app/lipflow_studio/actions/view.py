"""The View menu: the camera, panels, the theme."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipflow_studio.actions import head
from lipflow_studio.actions.row import ActionRow
from lipflow_studio.parts.desk import Desk
from lipflow_studio.parts.headset_display import MODES, HeadsetDisplay

if TYPE_CHECKING:
    from lipflow_studio.session import Session


def _theme(choice: str, text: str, tip: str) -> ActionRow:
    return ActionRow(
        "&View/Theme",
        f"theme_{choice}",
        text,
        run=lambda s: s.part(Desk).set_theme(choice),
        tip=tip,
        checked=lambda s: s.part(Desk).theme == choice,
    )


def _headset(mode: str) -> ActionRow:
    """Compare so, or, where it is compared so already, side by side."""
    about = MODES[mode]

    def choose(session: Session) -> None:
        part = session.part(HeadsetDisplay)
        part.set_display(mode="side" if part.display.mode == mode else mode)

    return ActionRow(
        "&View/Headset images",
        f"headset_{mode}",
        about.title,
        about.keys,
        choose,
        about.tip,
        checked=lambda s: s.part(HeadsetDisplay).display.mode == mode,
    )


ROWS = (
    ActionRow("&View", "left", "Look from the left", ("1",), lambda s: s.view_from("left"), "50° from the front"),
    ActionRow("&View", "front", "Look from the front", ("2",), lambda s: s.view_from("front"), "Straight ahead"),
    ActionRow("&View", "right", "Look from the right", ("3",), lambda s: s.view_from("right"), "50° from the front"),
    ActionRow(
        "&View",
        "reset_camera",
        "Reset the camera",
        ("R",),
        lambda s: s.reset_camera(),
        "In front of the face, the whole head in view",
    ),
    *head.ROWS,
    ActionRow("&View", "separator"),
    ActionRow("&View/Panels", "panels"),
    _theme("system", "As the system", "Light or dark, as the desktop is"),
    _theme("light", "Light", "Dark text on light ground, whatever the desktop's theme"),
    _theme("dark", "Dark", "Light text on dark ground, whatever the desktop's theme"),
    *(_headset(mode) for mode in MODES),
    ActionRow(
        "&View",
        "reset_layout",
        "Reset the layout",
        (),
        lambda s: s.part(Desk).reset_layout(),
        "Every panel back to where it is at the first start",
    ),
)
