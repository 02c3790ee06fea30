"""The studio's look: two palettes, one style sheet. Nothing else in the studio names a colour.

What paints by itself asks for ``current()`` whenever it paints; widgets with colours of their own dress anew in
``changeEvent`` (``QEvent.Type.StyleChange``). Icons follow by themselves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from PySide6.QtCore import QDir, Qt
from PySide6.QtGui import QColor, QFont, QPalette
from PySide6.QtWidgets import QApplication

from lipflow_studio.style_sheet import style_sheet


@dataclass(frozen=True)
class Theme:
    """Colours by role, as #rrggbb."""

    name: str = "dark"
    window: str = "#14161b"  # behind everything
    panel: str = "#1b1e25"  # docks
    raised: str = "#252a34"  # buttons
    field: str = "#14161b"  # what is typed into, and lists
    groove: str = "#363d4a"  # of sliders
    hover: str = "#2f3542"
    line: str = "#2b303b"  # between parts
    edge: str = "#616b7d"  # of what is pressed or typed into: three times as light or dark as a panel
    line_hover: str = "#3f4757"  # scroll bars, edges of what floats
    text: str = "#dfe3ea"
    muted: str = "#8d96a7"
    disabled: str = "#5a6170"
    accent: str = "#4ea8de"
    accent_dim: str = "#27506b"  # behind what is chosen
    on_accent: str = "#0d1015"  # text on the accent
    primary_hover: str = "#316284"
    good: str = "#6cc48a"
    warn: str = "#e3b15f"
    bad: str = "#e8777a"
    bad_back: str = "#3a2327"  # the banner's ground
    bad_text: str = "#f5d7d8"
    canvas_top: str = "#2a2f3a"  # backdrop of the 3D view
    canvas_bottom: str = "#111318"
    ink: str = "#14161b"  # outline of points over pictures
    ring: str = "#ffffff"  # around selected points
    series: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: {"energy": "#4ea8de", "data": "#e5b35c", "likelihood": "#7fcf98"}
    )  # curves
    kinds: tuple[str, ...] = ("#4ea8de", "#e5b35c", "#7fcf98", "#f2808f", "#c39bf0", "#5fd0c5", "#d9d07a", "#9fb2cc")
    """For things of several kinds: segments, runs, avatars; taken in turn."""


DARK = Theme()
LIGHT = Theme(
    name="light",
    window="#e3e7ed",
    panel="#f5f7f9",
    raised="#ffffff",
    field="#ffffff",
    groove="#c3cbd6",
    hover="#e6eef6",
    line="#ccd3dc",
    edge="#79828f",
    line_hover="#a7b1bf",
    text="#1b212a",
    muted="#566172",
    disabled="#a0a9b5",
    accent="#0f6bad",
    accent_dim="#cbe2f4",
    on_accent="#ffffff",
    primary_hover="#b7d6ee",
    good="#17753e",
    warn="#8f5a00",
    bad="#bb2f37",
    bad_back="#fbe3e4",
    bad_text="#741820",
    canvas_top="#eef1f5",
    canvas_bottom="#bcc5d0",
    ring="#0f6bad",
    series={"energy": "#0f6bad", "data": "#8f5a00", "likelihood": "#17753e"},
    kinds=("#0f6bad", "#8f5a00", "#17753e", "#b23650", "#7a4fc0", "#0b7468", "#6f6600", "#4d6585"),
)
THEMES = {theme.name: theme for theme in (DARK, LIGHT)}

# One colour a landmark group, over a picture; a group that is not listed takes the last ones in turn.
GROUP_COLOURS = {
    "jaw": "#9fb2cc",
    "brow": "#e5b35c",
    "nose": "#7fcf98",
    "lid": "#6fb7f2",
    "eye": "#6fb7f2",
    "lip": "#f2808f",
    "mouth": "#f2808f",
}
OTHER_COLOURS = ("#c39bf0", "#5fd0c5", "#d9d07a", "#e39acb")


def group_colour(name: str, position: int) -> str:
    """The colour of a landmark group by the part of the face its name mentions."""
    lowered = name.lower()
    for part, colour in GROUP_COLOURS.items():
        if part in lowered:
            return colour
    return OTHER_COLOURS[position % len(OTHER_COLOURS)]


def current() -> Theme:
    """How the application is dressed; dark before it is."""
    application = QApplication.instance()
    return THEMES.get(str(application.property("theme")), DARK) if application is not None else DARK


def is_on(application: QApplication) -> bool:
    """Whether the application is dressed at all."""
    return application.property("theme") is not None


def chosen(choice: str) -> Theme:
    """The theme of a choice: its name, or "system" for what the desktop asks for (dark where it does not say)."""
    if choice in THEMES:
        return THEMES[choice]
    return LIGHT if QApplication.styleHints().colorScheme() == Qt.ColorScheme.Light else DARK


def apply(application: QApplication, theme: Theme = DARK) -> None:
    """Dress the application: Fusion and the font once, then the palette and the style sheet."""
    if not is_on(application):
        _undress(application)
    application.setProperty("theme", theme.name)
    application.setPalette(_palette(theme))
    application.setStyleSheet(style_sheet(theme))


def _undress(application: QApplication) -> None:
    """Take off what the desktop has put on."""
    QDir.setSearchPaths("glyphs", [str(files("lipflow_studio") / "glyphs")])
    application.setStyle("Fusion")
    font = QFont(application.font())
    font.setFamilies(["Inter", "Segoe UI", "SF Pro Text", "Noto Sans", "DejaVu Sans"])
    font.setPixelSize(12)
    application.setFont(font)


def _palette(theme: Theme) -> QPalette:
    palette = QPalette()
    roles = {
        QPalette.ColorRole.Window: theme.panel,
        QPalette.ColorRole.WindowText: theme.text,
        QPalette.ColorRole.Base: theme.field,
        QPalette.ColorRole.AlternateBase: theme.panel,
        QPalette.ColorRole.Text: theme.text,
        QPalette.ColorRole.Button: theme.raised,
        QPalette.ColorRole.ButtonText: theme.text,
        QPalette.ColorRole.BrightText: theme.bad,
        QPalette.ColorRole.Highlight: theme.accent,
        QPalette.ColorRole.HighlightedText: theme.on_accent,
        QPalette.ColorRole.ToolTipBase: theme.raised,
        QPalette.ColorRole.ToolTipText: theme.text,
        QPalette.ColorRole.PlaceholderText: theme.muted,
        QPalette.ColorRole.Link: theme.accent,
    }
    for role, colour in roles.items():
        palette.setColor(role, QColor(colour))
    for role in (QPalette.ColorRole.WindowText, QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(theme.disabled))
    return palette
