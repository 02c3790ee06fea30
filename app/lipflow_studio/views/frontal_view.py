"""A photograph beside what is rendered for its camera, and where the two differ."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QStackedLayout, QVBoxLayout, QWidget

from lipflow.colour import DISPLAY_GAMMA
from lipflow_studio.document import FitUpdate, FloatArray, FrontalImage, Source
from lipflow_studio.session import Session
from lipflow_studio.views.camera_triple import CameraTriple
from lipflow_studio.widgets.make import dressed, label

SHOWN_HEIGHT = 480  # pixels of what is drawn at most; a photograph has more


class FrontalView(QWidget):
    """Input, render and error of the frontal camera; or, while no image is open, how to open one."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.camera = CameraTriple("")
        self._stack = QStackedLayout(self)
        empty = dressed(QWidget(), "panel")
        column = QVBoxLayout(empty)
        for text, role in (
            ("No frontal image is open", ""),
            ("File › Open… takes one image together with its camera (JSON with K, R, t, size)", "hint"),
            ("or load a frame of a capture as its photo", "hint"),
        ):
            line = label(text, role)
            line.setAlignment(Qt.AlignmentFlag.AlignCenter)
            line.setWordWrap(True)
            column.addWidget(line)
        column.insertStretch(0, 1)
        column.addStretch(1)
        shown = dressed(QWidget(), "panel")
        inner = QVBoxLayout(shown)
        inner.setContentsMargins(8, 2, 8, 2)
        inner.addWidget(self.camera)
        self._stack.addWidget(empty)
        self._stack.addWidget(shown)
        session.frontal_changed.connect(self._show_image)
        session.fit_changed.connect(self._show_fit)
        self._show_image(session.frontal)
        self._show_fit(session.fit)

    def _show_image(self, frontal: FrontalImage | None) -> None:
        self._stack.setCurrentIndex(0 if frontal is None else 1)
        if frontal is not None:
            self.camera.name = frontal.name
            self.camera.show_input(_display(frontal.image))

    def _show_fit(self, update: FitUpdate | None) -> None:
        if update is None or self._session.frontal is None or update.source is not Source.FRONTAL:
            return
        if update.renders is not None and update.errors is not None:
            error = update.errors.mean(0)[:: _every(update.errors), :: _every(update.errors)]
            self.camera.show_render(_display(update.renders), np.ascontiguousarray(error))


def _every(image: FloatArray) -> int:
    return max(1, -(-image.shape[-2] // SHOWN_HEIGHT))


def _display(image: FloatArray) -> FloatArray:
    """[3, H, W] linear RGB -> [h, w, 3] in display gamma, at most SHOWN_HEIGHT pixels high."""
    step = _every(image)
    small = np.clip(image[:, ::step, ::step], 0, 1) ** np.float32(1 / DISPLAY_GAMMA)
    return np.ascontiguousarray(np.moveaxis(small, 0, -1))
