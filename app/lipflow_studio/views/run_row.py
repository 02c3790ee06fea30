"""A run in a list: its name, what it is doing, and how far it is."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from lipflow_studio.parts.training import Run
from lipflow_studio.run_watch import RunState
from lipflow_studio.theme import Theme, current
from lipflow_studio.time_left import time_left

HEIGHT, MARGIN, BAR, GAP = 40, 7, 3, 10  # pixels


def told(run: Run) -> str:
    """What a run is doing, in a few words."""
    if run.state is RunState.PREPARING:
        return run.note[:80] or "Starting…"
    if run.state is RunState.FAILED:
        return f"Failed: {run.note}" if run.note else "Failed"
    steps = f"{run.step:,} of {run.config.steps:,} steps"
    left = "" if run.eta_s is None else f", {time_left(run.eta_s)}"
    words = {
        RunState.QUEUED: "Waits for the run before it",
        RunState.FINISHED: f"Finished, {run.config.steps:,} steps",
        RunState.RUNNING: f"{steps}{left}",
    }
    return words.get(run.state, f"{run.state.value} at {steps}")


class RunRow(QStyledItemDelegate):
    """Paints a row of the list."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        return QSize(120, HEIGHT)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        run, look = index.data(Qt.ItemDataRole.UserRole), current()
        rect: QRect = option.rect
        state: QStyle.StateFlag = option.state
        painter.save()
        chosen = bool(state & QStyle.StateFlag.State_Selected)
        if chosen:
            painter.fillRect(rect, QColor(look.accent_dim))
        elif state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(rect, QColor(look.hover))
        inside = rect.adjusted(MARGIN, 3, -MARGIN, -BAR - 3)
        half = inside.height() // 2
        colour = _colour(run.state, look)
        font, middle = painter.fontMetrics(), Qt.AlignmentFlag.AlignVCenter
        seed = f"seed {run.config.seed}"  # runs of one variant differ by it: it is never cut
        above = QRect(inside.left(), inside.top(), inside.width(), half)
        below = above.translated(0, half)
        painter.setPen(QColor(look.text if chosen else look.muted))
        painter.drawText(below, Qt.AlignmentFlag.AlignRight | middle, seed)
        below.setWidth(below.width() - font.horizontalAdvance(seed) - GAP)
        rows = (above, run.what, look.text), (below, told(run), look.text if chosen else colour)
        for line, text, ink in rows:
            painter.setPen(QColor(ink))
            shown = font.elidedText(text, Qt.TextElideMode.ElideRight, line.width())
            painter.drawText(line, Qt.AlignmentFlag.AlignLeft | middle, shown)
        bar = QRect(inside.left(), rect.bottom() - BAR - 1, inside.width(), BAR)
        painter.fillRect(bar, QColor(look.groove))
        bar.setWidth(round(bar.width() * min(1.0, run.step / max(1, run.config.steps))))
        painter.fillRect(bar, QColor(colour))
        painter.restore()


def _colour(state: RunState, look: Theme) -> str:
    return {
        RunState.RUNNING: look.accent,
        RunState.PREPARING: look.accent,
        RunState.PAUSED: look.warn,
        RunState.FINISHED: look.good,
        RunState.FAILED: look.bad,
    }.get(state, look.muted)
