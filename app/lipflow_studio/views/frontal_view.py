"""A photograph beside what is rendered for its camera, and where the two differ."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from PySide6.QtCore import QEvent, QLineF, QPointF, Qt, QTimer
from PySide6.QtGui import QColor, QImage, QPainter, QPen
from PySide6.QtWidgets import QHBoxLayout, QStackedLayout, QVBoxLayout, QWidget
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from lipflow.camera import Camera
from lipflow.colour import DISPLAY_GAMMA
from lipflow_studio.covering import covered
from lipflow_studio.document import AvatarInfo, FitUpdate, FloatArray, FrontalImage, Source
from lipflow_studio.session import Session
from lipflow_studio.theme import current
from lipflow_studio.views.camera_triple import CameraTriple
from lipflow_studio.widgets.make import dressed, label, tool

SHOWN_HEIGHT = 480  # pixels of what is drawn at most; a photograph has more
Faces = npt.NDArray[np.signedinteger]  # [F, 3]
FORMAT = QImage.Format.Format_RGB888
OUTLINE_MS = 250  # at least so long between two outlines


class FrontalView(QWidget):
    """Input, render and error of the frontal camera; or, while no image is open, how to open one.

    The face's outline and keypoints can be laid over the input: whether its camera is right is seen before anything is
    fitted to it.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.camera = CameraTriple("")
        self._skin: tuple[AvatarInfo, Faces] | None = None  # the avatar's faces without eyes, teeth and lashes
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
        self.outline = tool(
            "mode_wireframe", "Outline and keypoints of the face over the input: whether the image's camera is right"
        )
        self.outline.setCheckable(True)
        self.outline.toggled.connect(lambda _: self._show_input())
        self._soon = QTimer(self, interval=OUTLINE_MS, singleShot=True)
        self._soon.timeout.connect(self._show_input)
        inner = QHBoxLayout(shown)
        inner.setContentsMargins(8, 2, 8, 2)
        inner.setSpacing(14)
        inner.addWidget(self.outline)
        inner.addWidget(self.camera, 1)
        self._stack.addWidget(empty)
        self._stack.addWidget(shown)
        session.frontal_changed.connect(self._show_image)
        session.source_changed.connect(self._show_source)
        session.fit_changed.connect(self._show_fit)
        session.picture_changed.connect(lambda _: self._follow())
        self._show_image(session.frontal)
        self._show_source(session.source)
        self._show_fit(session.fit)

    def _show_image(self, frontal: FrontalImage | None) -> None:
        self._stack.setCurrentIndex(0 if frontal is None else 1)
        if frontal is not None:
            self.camera.name = frontal.name
            self._show_input(anew=True)

    def _show_source(self, source: Source) -> None:
        """Where the face leaves the image, there is no render of it beside that."""
        self.camera.show_fitted(source is Source.FRONTAL)
        self._show_input(anew=True)

    def _follow(self) -> None:
        """The outline is that of the shown face."""
        if self.outline.isChecked() and self.isVisible() and not self._soon.isActive():
            self._soon.start()

    def _show_input(self, anew: bool = False) -> None:
        frontal, picture, info = self._session.frontal, self._session.picture, self._session.avatar_info
        if frontal is None:
            return
        shown = _display(frontal.image)
        if self.outline.isChecked() and picture is not None and info is not None:
            if self._skin is None or self._skin[0] is not info:
                self._skin = info, largest_piece(info.topology.faces)
            vertices, scale = picture.shape.vertices, np.float32(1 / _every(frontal.image))
            marks = frontal.camera.project(torch.from_numpy(vertices[info.landmarks.index])).numpy()
            lines = outline(vertices, self._skin[1], frontal.camera)
            shown = _marked(shown, scale * lines, scale * marks[marks[:, 2] > 0, :2])
        self.camera.show_input(shown, anew=anew)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.StyleChange:
            self._show_input()
        super().changeEvent(event)

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


def largest_piece(faces: Faces) -> Faces:
    """The faces [F, 3] of the mesh's piece with the most vertices."""
    count = int(faces.max()) + 1
    joined = np.concatenate([faces[:, :2], faces[:, 1:]])
    graph = sparse.coo_matrix((np.ones(len(joined)), (joined[:, 0], joined[:, 1])), (count, count))
    _, pieces = connected_components(graph, directed=False)
    return faces[pieces[faces[:, 0]] == np.bincount(pieces).argmax()]


def outline(vertices: FloatArray, faces: Faces, camera: Camera) -> FloatArray:
    """Where a mesh's triangles [F, 3] that face a camera end: the edges [E, 2, 2], pixels, that only one of them has.

    Edges that the mesh itself hides are none of them: the mouth has an inside. Triangles that are not wholly before
    the camera are left out.
    """
    pixels = camera.project(torch.from_numpy(vertices)).numpy()
    corners = pixels[faces]  # [F, 3, 3]
    (ax, ay), (bx, by) = ((corners[:, k, :2] - corners[:, 0, :2]).T for k in (1, 2))
    ahead = (corners[..., 2] > 0).all(axis=1)
    seen = (ax * by - ay * bx < 0) & ahead  # counterclockwise, with rows downwards
    starts, ends = faces[seen].ravel(), np.roll(faces[seen], -1, axis=1).ravel()
    # Two triangles share an edge, each in its own direction.
    single = ~np.isin(starts * len(vertices) + ends, ends * len(vertices) + starts)
    lines = np.stack([pixels[starts[single]], pixels[ends[single]]], axis=1)  # [E, 2, 3]
    upwards = np.array([1.0, -1.0, 1.0], np.float32)
    hidden = covered(pixels * upwards, np.ascontiguousarray(faces[ahead].T), lines.mean(axis=1) * upwards)
    return lines[~hidden, :, :2]


def _marked(image: FloatArray, lines: FloatArray, dots: FloatArray) -> FloatArray:
    """A picture [h, w, 3] in [0, 1] with lines [E, 2, 2] and dots [N, 2], pixels, over it."""
    pixels = np.ascontiguousarray((255 * image).astype(np.uint8))
    height, width, _ = pixels.shape
    drawn, accent, thick = QImage(pixels.data, width, height, 3 * width, FORMAT), QColor(current().accent), height / 180
    far = 4 * max(width, height)  # a camera that is wrong puts them anywhere
    lines, dots = lines[(np.abs(lines) < far).all(axis=(1, 2))], dots[(np.abs(dots) < far).all(axis=1)]
    painter = QPainter(drawn)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.translate(0.5, 0.5)
    painter.setPen(QPen(accent, thick))
    painter.drawLines([QLineF(*line) for line in lines.reshape(-1, 4).tolist()])
    painter.setPen(QPen(accent, 1.6 * thick, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
    painter.drawPoints([QPointF(*dot) for dot in dots.tolist()])
    painter.end()
    return (pixels / np.float32(255)).astype(np.float32)
