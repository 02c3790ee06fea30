"""Bars of tools above a view that give way where it is narrow."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QToolButton,
    QWidget,
)

from lipflow_studio.widgets.make import dressed, tool

SHORTEST = 96  # pixels that a name keeps
PASSES = 3  # at most, until tools and width agree


class Name(QLabel):
    """A name that is shortened in its middle where there is no room for it."""

    def minimumSizeHint(self) -> QSize:
        return QSize(min(SHORTEST, super().sizeHint().width()), super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        inside = self.contentsRect()
        shown = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideMiddle, inside.width())
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        painter.drawText(inside, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, shown)


class Choice(QComboBox):
    """A choice whose text is shortened where there is no room for it: Qt's is cut."""

    def paintEvent(self, event: QPaintEvent) -> None:
        option, painter = QStyleOptionComboBox(), QStylePainter(self)
        self.initStyleOption(option)
        field = QStyle.SubControl.SC_ComboBoxEditField
        room = self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, field, self).width()
        option.currentText = self.fontMetrics().elidedText(option.currentText, Qt.TextElideMode.ElideRight, room - 2)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()


class FittingStrip(QWidget):
    """Tools in a row. Those that do not fit are reached by a menu at its end; a remark that does not fit is gone."""

    def __init__(self, left: int = 10) -> None:
        super().__init__()
        dressed(self, "strip")
        self._yielding: list[tuple[int, QWidget]] = []
        self._is_fitting = False
        self._row = row = QHBoxLayout(self)
        row.setContentsMargins(left, 3, 4, 3)
        row.setSpacing(3)
        self._menu = QMenu(self)
        self._menu.aboutToShow.connect(self._fill)
        self.more = tool("more", "What else there is no room for")
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.more.setMenu(self._menu)
        self.more.hide()
        row.addWidget(self.more)

    def add(self, widget: QWidget, yields: int = 0, stretch: int = 0) -> None:
        """Put a widget at the end.

        Args:
            yields: when it gives way: those of the highest number first, those of 0 never.
            stretch: its share of the room that is left.
        """
        self._row.insertWidget(self._row.count() - 1, widget, stretch)
        if yields:
            self._yielding.append((yields, widget))

    def add_space(self, pixels: int = 8) -> None:
        self._row.insertSpacing(self._row.count() - 1, pixels)

    def add_stretch(self) -> None:
        self._row.insertStretch(self._row.count() - 1, 1)

    @property
    def away(self) -> list[QWidget]:
        """What there is no room for now, from left to right."""
        return [widget for _, widget in self._yielding if widget.isHidden()]

    def minimumSizeHint(self) -> QSize:
        least = self._natural() - sum(self._width(widget) for _, widget in self._yielding)
        return QSize(least + self._width(self.more), self._row.minimumSize().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:  # a name or a remark is another
            self._fit()
        return super().event(event)

    def _width(self, widget: QWidget) -> int:
        hint = widget.minimumSizeHint() if isinstance(widget, Name) else widget.sizeHint()
        if widget.sizePolicy().horizontalPolicy() == QSizePolicy.Policy.Ignored:
            hint = widget.minimumSize()
        return hint.expandedTo(widget.minimumSize()).boundedTo(widget.maximumSize()).width() + self._row.spacing()

    def _natural(self) -> int:
        """The width at which all fits, in pixels."""
        margins, total = self._row.contentsMargins(), -self._row.spacing()
        yielding = {widget for _, widget in self._yielding}
        for place in range(self._row.count() - 1):
            item = self._row.itemAt(place)
            assert item is not None
            widget = item.widget()
            if widget is None:
                total += item.sizeHint().width() + self._row.spacing()
            elif not widget.isHidden() or widget in yielding:
                total += self._width(widget)
        return total + margins.left() + margins.right()

    def _fit(self) -> None:
        """Show what there is room for. What comes or goes lays the window out at once, and may resize this bar."""
        if self._is_fitting:
            return
        self._is_fitting = True
        for _ in range(PASSES):
            width = self.width()
            self._show_what_fits(width)
            if self.width() == width:
                break
        self._is_fitting = False

    def _show_what_fits(self, width: int) -> None:
        need, gone = self._natural(), set()
        tools_gone = False
        for number in sorted({number for number, _ in self._yielding}, reverse=True):
            if need <= width:
                break
            for widget in (widget for other, widget in self._yielding if other == number):
                need -= self._width(widget)
                gone.add(widget)
                if isinstance(widget, QToolButton) and not tools_gone:
                    tools_gone = True
                    need += self._width(self.more)
        for _, widget in self._yielding:
            widget.setVisible(widget not in gone)
        self.more.setVisible(tools_gone)

    def _fill(self) -> None:
        self._menu.clear()
        for made in self.away:
            if isinstance(made, QToolButton):
                action = self._menu.addAction(made.icon(), made.accessibleName(), made.click)
                action.setCheckable(made.isCheckable())
                action.setChecked(made.isChecked())
                action.setEnabled(made.isEnabled())
                if made.menu() is not None:
                    action.setMenu(made.menu())
