"""The menus, one row an action; the shortcut sheet is made from the same table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lipflow_studio.main_window import MainWindow


@dataclass(frozen=True)
class ActionRow:
    """An entry of a menu."""

    menu: str
    name: str  # unique; or one of separator, embedded, docks
    text: str = ""
    keys: tuple[str, ...] = ()
    run: Callable[[MainWindow], object] = lambda window: None
    tip: str = ""


ACTIONS = (
    ActionRow("&File", "open_avatar", "Open avatar…", ("Ctrl+O",), lambda w: w.open_avatar()),
    ActionRow("&File", "embedded"),
    ActionRow("&File", "separator"),
    ActionRow("&File", "open_headset", "Open headset images…", ("Ctrl+H",), lambda w: w.open_headset_images()),
    ActionRow("&File", "open_keypoints", "Open keypoints…", ("Ctrl+K",), lambda w: w.open_keypoints()),
    ActionRow("&File", "separator"),
    ActionRow("&File", "save_script", "Save commands as script…", (), lambda w: w.save_script()),
    ActionRow("&File", "separator"),
    ActionRow("&File", "quit", "Quit", ("Ctrl+Q",), lambda w: w.close()),
    ActionRow("&Edit", "select_all", "Select all keypoints", ("Ctrl+A",), lambda w: w.keypoint_view().select_all()),
    ActionRow("&Edit", "pin", "Pin selected", ("P",), lambda w: w.session.pin(True)),
    ActionRow("&Edit", "unpin", "Unpin selected", ("U",), lambda w: w.session.pin(False)),
    ActionRow("&Edit", "symmetric", "Symmetric drag on or off", ("S",), lambda w: w.keypoint_view().toggle_symmetry()),
    ActionRow(
        "&Edit", "reset_selected", "Reset selected keypoints", ("Backspace",), lambda w: w.keypoint_view().reset()
    ),
    ActionRow("&Edit", "reset_all", "Reset all keypoints", ("Shift+Backspace",), lambda w: w.session.reset_keypoints()),
    ActionRow("&View", "left", "Look from the left", ("1",), lambda w: w.session.view_from("left")),
    ActionRow("&View", "front", "Look from the front", ("2",), lambda w: w.session.view_from("front")),
    ActionRow("&View", "right", "Look from the right", ("3",), lambda w: w.session.view_from("right")),
    ActionRow("&View", "reset_camera", "Reset the camera", ("R",), lambda w: w.session.reset_camera()),
    ActionRow("&View", "separator"),
    ActionRow("&View", "docks"),
    ActionRow("&View", "separator"),
    ActionRow("&View", "reset_layout", "Reset the layout", (), lambda w: w.reset_layout()),
    ActionRow("F&it", "run", "Run or pause", ("Space",), lambda w: w.fit_panel().toggle()),
    ActionRow("F&it", "step", "Step", (".",), lambda w: w.session.step_fit()),
    ActionRow("F&it", "restart", "Restart", ("Ctrl+R",), lambda w: w.session.reset_fit()),
    ActionRow("&Help", "shortcuts", "Keyboard shortcuts", ("?", "F1"), lambda w: w.show_shortcuts()),
    ActionRow("&Help", "about", "About LiP-Flow Studio", (), lambda w: w.show_about()),
    ActionRow("&Help", "licences", "Licences", (), lambda w: w.show_licences()),
    ActionRow("&Help", "dismiss", "Dismiss the error message", ("Esc",), lambda w: w.session.dismiss_problem()),
)

GESTURES = (
    ("Keypoints", "drag", "move the selected keypoints; the fit follows"),
    ("Keypoints", "click, Shift+click", "select one, add or remove one"),
    ("Keypoints", "drag on empty ground", "select with a rubber band (Shift: add)"),
    ("Keypoints", "arrow keys", "nudge by one pixel (Shift: five)"),
    ("Keypoints", "wheel, middle drag", "zoom, pan; double click frames the face"),
    ("3D view", "drag", "orbit"),
    ("3D view", "right or Shift drag", "pan"),
    ("3D view", "wheel", "zoom; double click resets"),
)
