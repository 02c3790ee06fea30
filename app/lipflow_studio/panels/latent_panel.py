"""P and Q side by side: dots of training frames and of the prior's draws, the way of the fit, the shown face."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QSize, Qt, Signal
from PySide6.QtGui import QHideEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QStackedLayout,
    QStackedWidget,
    QTabBar,
    QVBoxLayout,
    QWidget,
)

from lipflow.latent_space import LatentSpace, Projection
from lipflow_studio.document import FloatArray
from lipflow_studio.latent_engine import Drawn, Places
from lipflow_studio.panels.keyframe_controls import KeyframeControls
from lipflow_studio.panels.latent_controls import ColourControls, ComponentControls, PriorControls
from lipflow_studio.parts.faces import HOVER, Faces
from lipflow_studio.parts.frame_places import FramePlaces
from lipflow_studio.parts.keyframes import Keyframes
from lipflow_studio.parts.latent import Latent, LatentOptions
from lipflow_studio.session import Session
from lipflow_studio.views.latent_scene import MUTED, Dots, SpacePicture, Spot
from lipflow_studio.views.latent_view import LatentPlane
from lipflow_studio.views.latent_view_3d import LatentCloud
from lipflow_studio.widgets.face_card import FaceCard
from lipflow_studio.widgets.make import dressed, label, tool
from lipflow_studio.widgets.scrolling import Scrolling
from lipflow_studio.widgets.strip import FittingStrip

CONTROLS_WIDTH = 312
BESIDE = 390  # pixels of the window's height for the head, both rows of tabs, menu and status bar
TITLES = {"p": ("P", "the prior's space"), "q": ("Q", "the decoder's space")}
HOW = "click: load  ·  drag: pan or orbit  ·  wheel: zoom  ·  arrows and Return: the same by keyboard"


class SpacePane(QWidget):
    """One space under its title, in two dimensions or three; what it shows stays when these change."""

    hovered = Signal(object)  # Spot | None
    chosen = Signal(object)  # Spot

    def __init__(self, space: str) -> None:
        super().__init__()
        self.space = space
        self.setMinimumSize(QSize(132, 100))
        self._dots: dict[str, Dots | None] = {}
        self._lines: dict[str, FloatArray | None] = {}
        self._place: FloatArray | None = None
        self.plane, self.cloud = LatentPlane(), LatentCloud()
        self.stack = QStackedWidget()
        for picture in (self.plane, self.cloud):
            picture.hovered.connect(self.hovered)
            picture.chosen.connect(self.chosen)
            picture.setAccessibleName(f"{TITLES[space][0]}, {TITLES[space][1]}")
            self.stack.addWidget(picture)
        self.bar = bar = FittingStrip(left=8)
        title, more = TITLES[space]
        self.shares = label("", "muted", "Share of the codes' variance that each drawn component explains")
        bar.add(label(title, "dockName", HOW))
        bar.add(label(more, "muted", HOW), yields=1)
        bar.add_stretch()
        bar.add(self.shares, yields=2)
        bar.setFixedHeight(26)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(bar)
        column.addWidget(self.stack, 1)

    @property
    def picture(self) -> SpacePicture:
        return self.cloud if self.stack.currentWidget() is self.cloud else self.plane

    def sizeHint(self) -> QSize:
        return QSize(300, 150)  # pyqtgraph asks for much more, and the head would shrink for it

    def on_screen(self, spot: Spot) -> QPoint:
        """Where a dot is on the screen."""
        return self.stack.mapToGlobal(self.picture.pixel_of(spot).toPoint())

    def show_dimensions(self, dimensions: int) -> None:
        wanted = self.cloud if dimensions == 3 else self.plane
        if self.stack.currentWidget() is wanted:
            return
        self.stack.setCurrentWidget(wanted)
        for layer, dots in self._dots.items():
            wanted.show_dots(layer, dots)
        for name, points in self._lines.items():
            wanted.show_line(name, points)
        wanted.show_place(self._place)
        wanted.mark(None)
        wanted.frame()

    def show_shares(self, projection: Projection | None, dimensions: int) -> None:
        shares = [] if projection is None else [f"{100 * share:.0f}" for share in projection.share[:dimensions]]
        self.shares.setText(" · ".join(shares) + " %" if shares else "")

    def show_dots(self, layer: str, dots: Dots | None) -> None:
        self._dots[layer] = dots
        self.picture.show_dots(layer, dots)

    def show_line(self, name: str, points: FloatArray | None) -> None:
        self._lines[name] = points
        self.picture.show_line(name, points)

    def show_place(self, point: FloatArray | None) -> None:
        self._place = point
        self.picture.show_place(point)


class LatentPanel(QWidget):
    """Both spaces and their controls; side by side where there is room, else one above the other."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        dressed(self, "panel")
        self._session = session
        self._latent, self._keyframes, self._faces = session.part(Latent), session.part(Keyframes), session.part(Faces)
        self._frames = session.part(FramePlaces)
        self._hovered: FloatArray | None = None
        self._framed = False  # whether both spaces show all dots, the first draws too
        self.panes = {space: SpacePane(space) for space in TITLES}
        self.card = FaceCard(self)
        self.message = label("", "hint")
        self.message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._row = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(4)
        spaces = QWidget()
        self._spaces = QBoxLayout(QBoxLayout.Direction.LeftToRight, spaces)
        self._spaces.setContentsMargins(0, 0, 0, 0)
        self._spaces.setSpacing(4)
        for pane in self.panes.values():
            self._spaces.addWidget(pane, 1)
            pane.hovered.connect(lambda spot, p=pane: self._hover(p, spot))
            pane.chosen.connect(self._choose)
        self._row.addWidget(spaces, 1)
        self._row.addWidget(self._controls())
        shown = QWidget()
        shown.setLayout(self._row)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self.message)
        self._stack.addWidget(shown)
        self._listen()

    def _controls(self) -> QWidget:
        bar = self.panes["q"].bar
        self.solid = tool("cube", "Two or three dimensions (Shift+3)", self._turn_solid)
        self.solid.setCheckable(True)
        bar.add(self.solid)
        bar.add(tool("frame", "Frame both spaces (Home, or double click)", self.frame))
        self.controls = dressed(QWidget(), "panel")
        self.controls.setMinimumWidth(CONTROLS_WIDTH)
        self.tabs, self.pages = QTabBar(), QStackedWidget()
        self.tabs.setUsesScrollButtons(False)
        self.tabs.setDrawBase(False)
        self.colours = ColourControls(self._session)
        self.prior = PriorControls(self._latent)
        self.components = ComponentControls(self._latent)
        self.keyframes = KeyframeControls(self._session)
        pages: tuple[tuple[str, str, QWidget], ...] = (
            ("Colours", "What the dots show", self.colours),
            ("Prior", "Draws from the prior", self.prior),
            ("Sliders", "Move the face along the principal components", self.components),
            ("Keyframes", "Faces, and the way between them", self.keyframes),
        )
        for index, (title, tip, made) in enumerate(pages):
            self.tabs.addTab(title)
            self.tabs.setTabToolTip(index, tip)
            self.pages.addWidget(Scrolling(made, BESIDE))
        self.tabs.currentChanged.connect(self.pages.setCurrentIndex)
        column = QVBoxLayout(self.controls)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.tabs)
        column.addWidget(self.pages, 1)
        return self.controls

    def _listen(self) -> None:
        latent, session = self._latent, self._session
        latent.options_changed.connect(self._show_options)
        latent.space_changed.connect(self._show_space)
        latent.drawn_changed.connect(lambda _: self._show_drawn())
        latent.trail_changed.connect(lambda places: self._show_line("trail", places))
        latent.way_changed.connect(lambda places: self._show_line("way", places))
        latent.way_changed.connect(lambda _: self._show_keys())
        latent.place_changed.connect(self._show_place)
        session.avatar_changed.connect(lambda _: self._show_message())
        self._frames.changed.connect(lambda _: self._show_stored())
        self._faces.made.connect(self._show_portrait)
        self._show_all()

    # What the document says

    def _show_all(self) -> None:
        state = self._latent.state
        self._show_options(self._latent.options)
        self._show_space(None if state is None else state.space)
        if state is not None:
            self._show_line("trail", state.trail)
            self._show_line("way", state.way)
            self._show_keys()
            self._show_place(state.place)

    def _show_message(self) -> None:
        ready = self._latent.state is not None
        self._stack.setCurrentIndex(1 if ready else 0)
        opened = self._session.avatar_info is not None
        self.message.setText(
            "Finding the principal components…" if opened else "Open an avatar to see its latent spaces (Ctrl+O)"
        )

    def _show_options(self, options: LatentOptions) -> None:
        self.solid.setChecked(options.dimensions == 3)
        state = self._latent.state
        for space, pane in self.panes.items():
            pane.show_dimensions(options.dimensions)
            pane.show_shares(None if state is None else getattr(state.space, space), options.dimensions)
        self._show_stored()

    def _show_space(self, space: LatentSpace | None) -> None:
        self._show_message()
        self._hover(None, None)
        for name, pane in self.panes.items():
            pane.show_shares(None if space is None else getattr(space, name), self._latent.options.dimensions)
        self._framed = False
        self._show_stored()
        self.frame()
        self._show_drawn()

    def _show_stored(self) -> None:
        """The training frames, and the open capture's."""
        state = self._latent.state
        codes = self._frames.codes
        if state is None:
            self._show_dots("stored", None, np.zeros(0, np.int64))
        else:
            kinds = self._kinds(state.space.cloud.labels if state.carried else ("",) * len(state.stored.z))
            if self._latent.options.colour == "input" and state.drawn is not None:
                kinds[state.drawn.frames] = np.arange(len(state.drawn.frames))
            self._show_dots("stored", state.stored, kinds)
        if codes is None:
            self._show_dots("frames", None, np.zeros(0, np.int64))
        else:
            self._show_dots("frames", codes.places, self._kinds(tuple(id.segment for id in codes.ids)), 6.5)

    def _kinds(self, labels: tuple[str, ...]) -> np.ndarray:
        """The colours of frames by their segments; muted where they are coloured otherwise, or have none."""
        options, names = self._latent.options, self._frames.segments
        only = options.segment if options.segment in names else ""
        kind_of = {name: kind for kind, name in enumerate(names) if only in ("", name)}
        if options.colour != "segment":
            kind_of = {}
        return np.array([kind_of.get(label, MUTED) for label in labels], np.int64)

    def _show_drawn(self) -> None:
        state = self._latent.state
        drawn: Drawn | None = None if state is None else state.drawn
        if drawn is None:
            self._show_dots("drawn", None, np.zeros(0, np.int64))
            return
        self._show_dots("drawn", drawn.places, drawn.inputs, 4.5)
        if not self._framed:
            self._framed = True
            self.frame()
        if self._latent.options.colour == "input":
            self._show_stored()

    def _show_keys(self) -> None:
        way, path = self._latent.way, self._keyframes.path
        if way is None:
            self._show_dots("keys", None, np.zeros(0, np.int64))
            return
        at = [round(path.time_of(i) * (len(way.z) - 1)) for i in range(len(path.keys))]
        keys = Places(way.z[at], way.p[at], way.q[at])
        self._show_dots("keys", keys, np.zeros(len(at), np.int64), 8.0)

    def _show_dots(self, layer: str, places: Places | None, kinds: np.ndarray, size: float = 6.0) -> None:
        for space, pane in self.panes.items():
            pane.show_dots(layer, None if places is None else Dots(getattr(places, space), kinds, size))

    def _show_line(self, name: str, places: Places | None) -> None:
        for space, pane in self.panes.items():
            pane.show_line(name, None if places is None else getattr(places, space))

    def _show_place(self, place: Places | None) -> None:
        for space, pane in self.panes.items():
            pane.show_place(None if place is None else getattr(place, space)[0])

    # Gestures

    def frame(self) -> None:
        """Show all dots of both spaces."""
        for pane in self.panes.values():
            pane.picture.frame()

    def _turn_solid(self) -> None:
        self._latent.set_options(dimensions=3 if self.solid.isChecked() else 2)

    def _choose(self, spot: Spot) -> None:
        code, name = self._found(spot)
        if code is not None:
            self._session.show_code(code.tolist(), f"load of {name}")

    def _hover(self, pane: SpacePane | None, spot: Spot | None) -> None:
        """Show the face of a dot, and ring the same code in the other space."""
        for other in self.panes.values():
            if other is not pane:
                other.picture.mark(spot)
        code, name = (None, "") if spot is None else self._found(spot)
        self._hovered = code
        self._faces.want(HOVER, [] if code is None else [code])
        if code is None or pane is None or spot is None:
            self.card.hide()
            return
        place = pane.on_screen(spot)
        self.card.show_at(place, name, self._faces.portrait(code))

    def _found(self, spot: Spot) -> tuple[FloatArray | None, str]:
        """The code of a dot, and its name."""
        state = self._latent.state
        finders: dict[str, Callable[[int], tuple[FloatArray | None, str]]] = {
            "stored": self._stored,
            "frames": self._frame,
            "drawn": self._drawn,
            "keys": self._key,
        }
        return (None, "") if state is None else finders[spot.layer](spot.index)

    def _stored(self, index: int) -> tuple[FloatArray | None, str]:
        state = self._latent.state
        assert state is not None
        what = f"{state.space.cloud.labels[index]}, code {index}" if state.carried else f"draw {index} of the prior"
        return state.stored.z[index], what

    def _frame(self, index: int) -> tuple[FloatArray | None, str]:
        codes = self._frames.codes
        return (None, "") if codes is None else (codes.places.z[index], f"frame {codes.ids[index]}")

    def _drawn(self, index: int) -> tuple[FloatArray | None, str]:
        state = self._latent.state
        if state is None or state.drawn is None:
            return None, ""
        return state.drawn.places.z[index], f"a draw for {state.drawn.names[int(state.drawn.inputs[index])]}"

    def _key(self, index: int) -> tuple[FloatArray | None, str]:
        return self._keyframes.path.keys[index], f"keyframe {index + 1}"

    def _show_portrait(self, key: bytes) -> None:
        if self._hovered is not None and bytes(key) == self._faces.key(self._hovered):
            self.card.show_portrait(self._faces.portrait(self._hovered))

    # Window events

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._latent.watch(self, True)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._hover(None, None)
        self._latent.watch(self, False)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.StyleChange and hasattr(self, "colours"):
            self.colours.show_space()
        super().changeEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """A wide panel has its parts side by side, a tall one above each other."""
        size = self.size()
        tall = size.width() < CONTROLS_WIDTH + 360 and size.height() > size.width()
        direction = QBoxLayout.Direction.TopToBottom if tall else QBoxLayout.Direction.LeftToRight
        self._row.setDirection(direction)
        self._spaces.setDirection(direction)
        super().resizeEvent(event)
