"""The studio's look: one palette, one style sheet. Nothing else in the studio names a colour."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from PySide6.QtCore import QDir
from PySide6.QtGui import QColor, QFont, QPalette
from PySide6.QtWidgets import QApplication


@dataclass(frozen=True)
class Theme:
    """Colours by role, as #rrggbb."""

    window: str = "#14161b"  # behind everything
    panel: str = "#1b1e25"  # docks
    raised: str = "#252a34"  # buttons, fields
    hover: str = "#2f3542"
    line: str = "#2b303b"
    text: str = "#dfe3ea"
    muted: str = "#8d96a7"
    accent: str = "#4ea8de"
    accent_dim: str = "#27506b"
    good: str = "#6cc48a"
    warn: str = "#e3b15f"
    bad: str = "#e0696b"
    canvas_top: str = "#2a2f3a"  # backdrop of the 3D view
    canvas_bottom: str = "#111318"


DARK = Theme()

# One colour a landmark group; a group that is not listed takes the last ones in turn.
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

# Curves and cameras.
SERIES = {"energy": "#4ea8de", "data": "#e5b35c", "likelihood": "#7fcf98"}


def group_colour(name: str, position: int) -> str:
    """The colour of a landmark group by the part of the face its name mentions."""
    lowered = name.lower()
    for part, colour in GROUP_COLOURS.items():
        if part in lowered:
            return colour
    return OTHER_COLOURS[position % len(OTHER_COLOURS)]


def apply(application: QApplication, theme: Theme = DARK) -> None:
    """Dress the application: Fusion, the palette, the style sheet."""
    QDir.setSearchPaths("glyphs", [str(files("lipflow_studio") / "glyphs")])
    application.setStyle("Fusion")
    font = QFont(application.font())
    font.setFamilies(["Inter", "Segoe UI", "SF Pro Text", "Noto Sans", "DejaVu Sans"])
    font.setPixelSize(12)
    application.setFont(font)
    application.setPalette(_palette(theme))
    application.setStyleSheet(_style_sheet(theme))


def _palette(theme: Theme) -> QPalette:
    palette = QPalette()
    roles = {
        QPalette.ColorRole.Window: theme.panel,
        QPalette.ColorRole.WindowText: theme.text,
        QPalette.ColorRole.Base: theme.window,
        QPalette.ColorRole.AlternateBase: theme.panel,
        QPalette.ColorRole.Text: theme.text,
        QPalette.ColorRole.Button: theme.raised,
        QPalette.ColorRole.ButtonText: theme.text,
        QPalette.ColorRole.BrightText: theme.bad,
        QPalette.ColorRole.Highlight: theme.accent,
        QPalette.ColorRole.HighlightedText: "#0d1015",
        QPalette.ColorRole.ToolTipBase: theme.raised,
        QPalette.ColorRole.ToolTipText: theme.text,
        QPalette.ColorRole.PlaceholderText: theme.muted,
        QPalette.ColorRole.Link: theme.accent,
    }
    for role, colour in roles.items():
        palette.setColor(role, QColor(colour))
    for role in (QPalette.ColorRole.WindowText, QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor("#5a6170"))
    return palette


def _style_sheet(t: Theme) -> str:
    return f"""
    QMainWindow, QDialog {{ background: {t.window}; }}
    QMainWindow::separator {{ background: {t.window}; width: 5px; height: 5px; }}
    QMainWindow::separator:hover {{ background: {t.accent_dim}; }}
    QToolTip {{ background: {t.raised}; color: {t.text}; border: 1px solid {t.line}; padding: 4px 6px; }}

    QMenuBar {{ background: {t.window}; color: {t.text}; padding: 2px 6px; border-bottom: 1px solid {t.line}; }}
    QMenuBar::item {{ padding: 4px 10px; border-radius: 4px; background: transparent; }}
    QMenuBar::item:selected {{ background: {t.hover}; }}
    QMenu {{ background: {t.panel}; border: 1px solid {t.line}; padding: 5px; }}
    QMenu::item {{ padding: 5px 26px 5px 12px; border-radius: 4px; }}
    QMenu::item:selected {{ background: {t.accent_dim}; }}
    QMenu::item:disabled {{ color: #5a6170; }}
    QMenu::separator {{ height: 1px; background: {t.line}; margin: 5px 8px; }}

    QStatusBar {{ background: {t.window}; color: {t.muted}; border-top: 1px solid {t.line}; }}
    QStatusBar::item {{ border: none; }}
    QStatusBar QLabel {{ color: {t.muted}; padding: 2px 8px; }}
    QLabel#badge {{ color: {t.text}; background: {t.raised}; border-radius: 8px; padding: 1px 9px; margin: 2px 3px; }}

    QWidget#dockTitle {{ background: {t.panel}; border-bottom: 1px solid {t.line}; }}
    QLabel#dockName {{ color: {t.text}; font-size: 12px; font-weight: 600; }}
    QLabel#hint, QLabel#muted {{ color: {t.muted}; }}
    QLabel#value {{ color: {t.text}; font-family: "DejaVu Sans Mono", "Consolas", monospace; font-size: 12px; }}
    QLabel#section {{ color: {t.muted}; font-size: 11px; font-weight: 600; padding-top: 4px; }}
    QFrame#rule {{ background: {t.line}; max-height: 1px; border: none; }}
    QWidget#panel, QScrollArea#panel, QWidget#panelBody {{ background: {t.panel}; }}
    QWidget#strip {{ background: {t.panel}; border-bottom: 1px solid {t.line}; }}

    QPushButton, QToolButton {{ background: {t.raised}; color: {t.text}; border: 1px solid {t.line};
        border-radius: 5px; padding: 4px 10px; }}
    QToolButton {{ padding: 4px; }}
    QPushButton:hover, QToolButton:hover {{ background: {t.hover}; border-color: #3b4352; }}
    QPushButton:pressed, QToolButton:pressed {{ background: {t.accent_dim}; }}
    QPushButton:checked, QToolButton:checked {{ background: {t.accent_dim}; border-color: {t.accent}; }}
    QPushButton:disabled, QToolButton:disabled {{ color: #565d6b; background: {t.panel}; }}
    QPushButton:focus, QToolButton:focus {{ border-color: {t.accent}; }}
    QPushButton#primary {{ background: {t.accent_dim}; border-color: {t.accent}; }}
    QPushButton#primary:hover {{ background: #316284; }}
    QPushButton#primary:disabled {{ background: {t.panel}; border-color: {t.line}; }}
    QToolButton#flat {{ background: transparent; border: 1px solid transparent; }}
    QToolButton#flat:hover {{ background: {t.hover}; }}
    QToolButton#flat:checked {{ background: {t.accent_dim}; border-color: {t.accent}; }}

    QComboBox, QDoubleSpinBox, QSpinBox, QLineEdit {{ background: {t.window}; color: {t.text};
        border: 1px solid {t.line}; border-radius: 5px; padding: 3px 6px; min-height: 18px; }}
    QComboBox:hover, QDoubleSpinBox:hover, QSpinBox:hover {{ border-color: #3b4352; }}
    QComboBox:focus, QDoubleSpinBox:focus, QSpinBox:focus {{ border-color: {t.accent}; }}
    QComboBox::drop-down {{ border: none; width: 20px; }}
    QComboBox::down-arrow {{ image: url(glyphs:down.svg); width: 11px; height: 11px; }}
    QSpinBox::up-button, QDoubleSpinBox::up-button, QSpinBox::down-button, QDoubleSpinBox::down-button {{
        border: none; background: transparent; width: 18px; }}
    QSpinBox::up-arrow, QDoubleSpinBox::up-arrow {{ image: url(glyphs:up.svg); width: 9px; height: 9px; }}
    QSpinBox::down-arrow, QDoubleSpinBox::down-arrow {{ image: url(glyphs:down.svg); width: 9px; height: 9px; }}
    QComboBox:disabled, QDoubleSpinBox:disabled, QSpinBox:disabled {{ color: #565d6b; }}
    QComboBox QAbstractItemView {{ background: {t.panel}; border: 1px solid {t.line};
        selection-background-color: {t.accent_dim}; outline: none; }}
    QSlider::groove:horizontal {{ height: 4px; background: {t.window}; border-radius: 2px; }}
    QSlider::sub-page:horizontal {{ background: {t.accent_dim}; border-radius: 2px; }}
    QSlider::handle:horizontal {{ width: 12px; height: 12px; margin: -5px 0; border-radius: 6px;
        background: {t.accent}; border: 1px solid {t.window}; }}
    QSlider::handle:horizontal:disabled {{ background: #565d6b; }}
    QCheckBox {{ spacing: 7px; }}
    QCheckBox::indicator {{ width: 14px; height: 14px; border: 1px solid #444c5c; border-radius: 3px;
        background: {t.window}; }}
    QCheckBox::indicator:checked {{ background: {t.accent}; border-color: {t.accent}; image: url(glyphs:check.svg); }}

    QScrollArea {{ border: none; }}
    QScrollBar:vertical {{ background: transparent; width: 9px; margin: 0; }}
    QScrollBar::handle:vertical {{ background: #3a4150; border-radius: 4px; min-height: 24px; }}
    QScrollBar:horizontal {{ background: transparent; height: 9px; margin: 0; }}
    QScrollBar::handle:horizontal {{ background: #3a4150; border-radius: 4px; min-width: 24px; }}
    QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
    QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}

    QFrame#banner {{ background: #3a2327; border: 1px solid {t.bad}; border-radius: 6px; }}
    QFrame#banner QLabel {{ color: #f5d7d8; }}
    QFrame#dropZone {{ background: {t.window}; border: 1px dashed #3b4352; border-radius: 8px; }}
    QTabBar::tab {{ background: {t.window}; color: {t.muted}; padding: 5px 12px; border: none; }}
    QTabBar::tab:selected {{ background: {t.panel}; color: {t.text}; border-bottom: 2px solid {t.accent}; }}
    QTextBrowser {{ background: {t.window}; border: 1px solid {t.line}; border-radius: 6px; padding: 6px; }}
    """
