"""How far the running export is, and a button that ends it."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QWidget

from lipflow_studio.parts.export import Export, Exporting
from lipflow_studio.session import Session
from lipflow_studio.widgets.make import label, tool

BAR_SIZE = 120, 6
LONGEST = 28  # characters of a file's name


class ExportLine(QWidget):
    """Hidden while nothing is exported."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        export = session.part(Export)
        self.name = label("")
        self.bar = QProgressBar()
        self.bar.setFixedSize(*BAR_SIZE)
        self.bar.setTextVisible(False)
        self.cancel_button = tool("close", "Cancel: nothing of the file remains", export.cancel)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        row.addStretch(1)
        for widget in (self.name, self.bar, self.cancel_button):
            row.addWidget(widget)
        export.running_changed.connect(self._show)
        self._show(export.running)

    def _show(self, running: Exporting | None) -> None:
        self.setVisible(running is not None)
        if running is None:
            return
        name = running.name if len(running.name) <= LONGEST else running.name[: LONGEST - 1] + "…"
        more = f" and {running.waiting} more" if running.waiting else ""
        self.name.setText(f"Exporting {name}{more}")
        self.bar.setMaximum(running.total)  # 0: it only moves
        self.bar.setValue(running.done)
        self.bar.setToolTip(f"{running.done} of {running.total}" if running.total else "")
