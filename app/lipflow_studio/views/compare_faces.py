"""Draws the contenders' faces with OpenGL, one a turn of the event loop, and shows them all at once."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from PySide6.QtCore import QObject, QSize, QTimer, Signal
from PySide6.QtGui import QImage

from lipflow_studio.comparison import Contender, Standing
from lipflow_studio.document import AvatarInfo, Picture
from lipflow_studio.look import Look
from lipflow_studio.orbit import Orbit
from lipflow_studio.parts.appearance import Appearance
from lipflow_studio.session import Session
from lipflow_studio.views.head_canvas import FINE_AFTER_MS
from lipflow_studio.views.head_painter import HeadPainter
from lipflow_studio.views.head_paintings import QUICK_PIXELS, SOFTWARE

HEAD_ASPECT = 0.7  # width by height that a head needs; in a narrower picture it is drawn smaller

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Face:
    """What draws one contender."""

    info: AvatarInfo
    painter: HeadPainter
    picture: Picture | None = None
    stale: bool = True  # what was drawn last is of an earlier picture, camera or size
    image: QImage | None = None  # on the screen


@dataclass(eq=False)
class _Round:
    """Faces that are drawn with the same camera, to be shown together."""

    orbit: Orbit
    fine: bool
    left: list[int]
    made: dict[int, QImage] = field(default_factory=dict)


class CompareFaces(QObject):
    """One painter a contender: meshes and textures differ.

    A face costs a processor that has no GPU beside it some 10 ms. So that the window never waits for all of them, each
    is drawn in a turn of its own, and as long as that took the window has for itself.
    """

    drawn = Signal()  # the images are others

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self._session = session
        self._faces: list[_Face | None] = []
        self._sizes: dict[int, QSize] = {}  # of those that are seen, in the screen's pixels
        self._fine = False
        self._held = False  # no fine pictures now: the faces move
        self._round: _Round | None = None
        self._turn = QTimer(self, singleShot=True)
        self._turn.timeout.connect(self._take_turn)
        self._rest = QTimer(self, interval=FINE_AFTER_MS, singleShot=True)
        self._rest.timeout.connect(self._refine_by_turns)

    @property
    def there(self) -> list[bool]:
        """Of each contender, whether its face is drawn."""
        return [face is not None and face.image is not None for face in self._faces]

    def image(self, place: int) -> QImage | None:
        face = self._faces[place] if place < len(self._faces) else None
        return None if face is None else face.image

    def show_contenders(self, contenders: Sequence[Contender]) -> None:
        """Painters for these; one that stays keeps its own."""
        spare = [face for face in self._faces if face is not None]
        faces: list[_Face | None] = []
        for contender in contenders:
            kept = next((face for face in spare if face.info is contender.info), None)
            if kept is not None:
                spare.remove(kept)
            faces.append(kept or self._make(contender.info))
        for face in spare:
            face.painter.close()
        self._faces, self._round = faces, None
        self.redraw()

    def show_standings(self, standings: Sequence[Standing | None], moving: bool) -> None:
        """Their new pictures; while faces move, none is drawn finely."""
        self._held = moving
        changed = False
        for place, standing in enumerate(standings[: len(self._faces)]):
            face, picture = self._faces[place], None if standing is None else standing.picture
            if face is None or picture is None or picture is face.picture:
                continue
            face.picture, face.stale, changed = picture, True, True
            self._give(place, face, picture)
        if changed:
            self._fine = False
            self._begin()
        if not self._fine:
            self._plan_rest()

    def show_sizes(self, sizes: Mapping[int, QSize]) -> None:
        """Draw these contenders, so large."""
        if dict(sizes) != self._sizes:
            self._sizes = dict(sizes)
            self.redraw()

    def show_look(self, look: Look) -> None:
        """How all are drawn."""
        for face in self._faces:
            if face is not None:
                face.painter.set_look(look)
        self.redraw()

    def redraw(self) -> None:
        """Draw all again: another camera, another theme."""
        self._fine = False
        self._outdate()
        self._begin()
        self._plan_rest()

    def refine(self) -> None:
        """Draw all finely, now."""
        self._turn.stop()
        self._fine, self._round = True, None
        self._outdate()
        while self._draw_one():
            pass

    def close(self) -> None:
        """Let OpenGL go; nothing is drawn any more."""
        self._rest.stop()
        self._turn.stop()
        for face in self._faces:
            if face is not None:
                face.painter.close()
        self._faces, self._round = [], None

    # Inside

    def _outdate(self) -> None:
        for face in self._faces:
            if face is not None:
                face.stale = True

    def _plan_rest(self) -> None:
        if self._held:
            self._rest.stop()
        else:
            self._rest.start()

    def _refine_by_turns(self) -> None:
        self._fine, self._round = True, None
        self._outdate()
        self._begin()

    def _begin(self) -> None:
        if not self._turn.isActive():
            self._turn.start(0)

    def _take_turn(self) -> None:
        began = time.perf_counter()
        if self._draw_one():
            self._turn.start(round(1000 * (time.perf_counter() - began)))

    def _draw_one(self) -> bool:
        """Draw one face; False where there was none to draw."""
        if self._round is None or (self._round.fine and not self._fine):
            left = [place for place in self._sizes if self._is_stale(place)]
            self._round = _Round(self._session.camera, self._fine, left) if left else None
        now = self._round
        if now is None:
            return False
        place = now.left.pop(0)
        face = self._faces[place] if place < len(self._faces) else None
        if face is not None:
            face.stale = False
            image = self._draw(face, self._sizes.get(place, QSize()), now)
            if image is not None:
                now.made[place] = image
        if not now.left:
            self._round = None
            for made, image in now.made.items():
                shown = self._faces[made]
                if shown is not None:
                    shown.image = image
            self.drawn.emit()
        return True

    def _is_stale(self, place: int) -> bool:
        face = self._faces[place] if place < len(self._faces) else None
        return face is not None and face.stale and face.painter.has_face

    def _draw(self, face: _Face, size: QSize, now: _Round) -> QImage | None:
        """A fine picture at rest, a quick one while it moves."""
        ratio = 2.0 if now.fine else 1.0
        pixels, most = size.width() * size.height(), QUICK_PIXELS / max(len(self._sizes), 1)
        if not now.fine and pixels > most and any(name in face.painter.name.lower() for name in SOFTWARE):
            ratio = math.sqrt(most / pixels)
        width, height = max(round(size.width() * ratio), 1), max(round(size.height() * ratio), 1)
        try:
            return face.painter.draw(fitted(now.orbit, width / height), width, height)
        except RuntimeError as error:  # its next picture finds another context
            log.warning("comparison: %s", error)
            return None

    def _make(self, info: AvatarInfo | None) -> _Face | None:
        if info is None:
            return None
        try:
            painter = HeadPainter()
            painter.set_topology(info)
            painter.set_look(self._session.part(Appearance).look)
        except RuntimeError as error:
            self._session.report(error)
            return None
        return _Face(info, painter)

    def _give(self, place: int, face: _Face, picture: Picture) -> None:
        """A context that was lost is replaced; where none is to be had, that face stays as it was drawn last."""
        try:
            face.painter.set_picture(picture)
        except RuntimeError as error:
            log.warning("comparison: %s; starting again", error)
            self._faces[place] = again = self._make(face.info)
            if again is not None:
                again.picture, again.image = picture, face.image
                again.painter.set_picture(picture)


def fitted(orbit: Orbit, aspect: float) -> Orbit:
    """The viewer with a wider field where a picture of width / height ``aspect`` would cut a head's sides off."""
    widen = max(1.0, HEAD_ASPECT / max(aspect, 1e-6))
    angle = 2 * math.degrees(math.atan(widen * math.tan(math.radians(orbit.field_of_view) / 2)))
    return replace(orbit, field_of_view=angle)
