"""The 3D view's part of the View menu: what the head shows, what is behind it, its light, pictures of it."""

from __future__ import annotations

from lipflow_studio.actions.row import ActionRow, Ask, has_avatar
from lipflow_studio.look import BACKGROUNDS, LIGHTS, MODES
from lipflow_studio.parts.appearance import Appearance

MENU = "&View/3D view"


def _mode(name: str) -> ActionRow:
    about = MODES[name]
    return ActionRow(
        MENU,
        f"mode_{name}",
        about.title,
        (about.keys,),
        lambda s: s.part(Appearance).set_mode(name),
        about.tip,
        checked=lambda s: s.part(Appearance).look.mode == name,
    )


def _background(name: str) -> ActionRow:
    return ActionRow(
        f"{MENU}/Background",
        f"background_{name}",
        BACKGROUNDS[name],
        run=lambda s: s.part(Appearance).set_background(name),
        tip="Behind the head, in saved pictures, too",
        checked=lambda s: s.part(Appearance).look.background == name,
    )


def _light(name: str) -> ActionRow:
    title, light = LIGHTS[name]
    return ActionRow(
        f"{MENU}/Light",
        f"light_{name}",
        title,
        run=lambda s: s.part(Appearance).set_light(name),
        tip=f"{_whence(*light)}; Geometry is drawn under it",
        checked=lambda s: s.part(Appearance).look.light == light,
    )


def _whence(right: float, up: float) -> str:
    """Where a light stands, as the viewer sees it; degrees."""
    sides = ((right, "to the right", "to the left"), (up, "up", "down"))
    words = [f"{abs(angle):.0f}° {above if angle > 0 else below}" for angle, above, below in sides if angle]
    return " and ".join(words) or "From where the viewer is"


ROWS = (
    ActionRow("&View/Look through", "viewpoints"),
    *(_mode(name) for name in MODES),
    ActionRow(MENU, "separator"),
    ActionRow(
        MENU,
        "head_points",
        "Keypoints on the head",
        ("Shift+P",),
        lambda s: s.part(Appearance).set_points(not s.part(Appearance).look.points),
        "Show the keypoints on the head, and drag them there; the fit follows",
        checked=lambda s: s.part(Appearance).look.points,
    ),
    *(_background(name) for name in BACKGROUNDS),
    *(_light(name) for name in LIGHTS),
    ActionRow(
        "&View",
        "save_picture",
        "Save picture of the head…",
        ("Ctrl+Shift+P",),
        lambda s, path: s.part(Appearance).save_picture(path),
        "What the 3D view shows, at twice its size",
        ask=Ask("Save picture of the head", "Pictures (*.png *.jpg)", save="head.png"),
        enabled=has_avatar,
    ),
    ActionRow(
        "&View",
        "save_cutout",
        "Save the head without background…",
        (),
        lambda s, path: s.part(Appearance).save_picture(path, transparent=True),
        "The same, with nothing behind the head (PNG)",
        ask=Ask("Save the head without background", "Pictures (*.png)", save="head.png"),
        enabled=has_avatar,
    ),
)
