"""Widgets dressed for the style sheet: a role is the name by which the theme knows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractSpinBox, QFrame, QHBoxLayout, QLabel, QPushButton, QToolButton, QWidget

from lipflow_studio.icons import icon

Dressed = TypeVar("Dressed", bound=QWidget)


def dressed(widget: Dressed, role: str, tip: str = "") -> Dressed:
    """The widget, known to the style sheet by its role."""
    widget.setObjectName(role)
    widget.setToolTip(tip)
    widget.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
    if isinstance(widget, QAbstractSpinBox):
        widget.lineEdit().setTextMargins(4, 0, 0, 0)  # style sheets do not move a spin box's text
    return widget


def label(text: str, role: str = "", tip: str = "") -> QLabel:
    return dressed(QLabel(text), role, tip)


def button(name: str, text: str, tip: str, action: Callable[[], object], role: str = "") -> QPushButton:
    """A push button with an icon; it runs ``action`` when clicked."""
    made = dressed(QPushButton(icon(name), text), role, tip)
    made.clicked.connect(lambda: action())
    return made


def tool(name: str, tip: str, action: Callable[[], object] | None = None) -> QToolButton:
    """A flat button of an icon alone. It takes no focus, so that keys go on to the view beside it."""
    made = dressed(QToolButton(), "flat", tip)
    made.setIcon(icon(name))
    made.setAccessibleName(tip)
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    if action is not None:
        made.clicked.connect(lambda: action())
    return made


def strip(left: int = 10) -> tuple[QWidget, QHBoxLayout]:
    """A bar above a view, and the row its widgets go into."""
    bar = dressed(QWidget(), "strip")
    row = QHBoxLayout(bar)
    row.setContentsMargins(left, 3, 4, 3)
    row.setSpacing(3)
    return bar, row


def rule() -> QFrame:
    """A thin line between parts of a panel."""
    return dressed(QFrame(), "rule")
