"""The window's bottom line: remarks at its left; state, rate, device and what renders as badges at its right."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QStatusBar, QWidget

from lipflow_studio.document import FitUpdate, Picture, Status
from lipflow_studio.session import Session
from lipflow_studio.widgets.export_line import ExportLine
from lipflow_studio.widgets.make import label

REMARK_MS = 8000
NARROW = 1000  # pixels of width below which what draws the 3D view is told by Help › About alone


class StatusBar(QStatusBar):
    """Follows the Session; the window tells it what draws the 3D view."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.setSizeGripEnabled(False)
        self.setContentsMargins(4, 0, 7, 0)  # in line with the panels
        self._state = label(session.status.value, "badge", "What the fit is doing")
        self._rate = label("– it/s", "badge", "Iterations of the fit per second, of time spent computing")
        self._device = label(session.device_name, "badge", "Where torch computes")
        self._backend = label("", "badge", "What renders for the fit")
        self._gl = label("", "badge", "What draws the 3D view")
        self._backend.hide()
        self._gl.hide()
        for badge, widest in ((self._state, Status.CONVERGED.value), (self._rate, "9999 it/s")):
            badge.setAlignment(Qt.AlignmentFlag.AlignCenter)
            badge.setMinimumWidth(badge.fontMetrics().horizontalAdvance(widest) + 24)
        self.addPermanentWidget(ExportLine(session))
        for badge in (self._state, self._rate, self._device, self._backend, self._gl):
            self.addPermanentWidget(badge)
        session.status_changed.connect(lambda status: self._state.setText(status.value))
        session.fit_changed.connect(self._show_rate)
        self._doing = ""  # what is being loaded
        session.told.connect(lambda text: self.showMessage(text, REMARK_MS) if text else self.showMessage(self._doing))
        session.busy_changed.connect(self._show_doing)
        session.picture_changed.connect(self._show_backend)

    def show_gl(self, name: str) -> None:
        """Name what draws the 3D view."""
        self._gl.setText(name.split(" (")[0])
        self._gl.setToolTip(f"What draws the 3D view: {name}")
        self._gl.setVisible(self.width() >= NARROW)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._gl.setVisible(bool(self._gl.text()) and self.width() >= NARROW)

    def _show_doing(self, text: str) -> None:
        self._doing = f"{text}…" if text else ""
        self.showMessage(self._doing)

    def _show_rate(self, update: FitUpdate | None) -> None:
        self._rate.setText("– it/s" if update is None else f"{update.iterations_per_s:.0f} it/s")

    def _show_backend(self, picture: Picture) -> None:
        """Once something was rendered for the keypoints, the backend is loaded and can be named at no cost."""
        if self._backend.isHidden() and picture.frontal is not None:
            name = self._session.renderer
            self._backend.setText(f"{name.split(' (')[0].upper()} renderer")
            self._backend.setToolTip(f"What renders for the fit: {name}")
            self._backend.show()
