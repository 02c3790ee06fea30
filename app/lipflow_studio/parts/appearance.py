"""How the head is drawn, and pictures of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QImage

from lipflow.checks import InputError
from lipflow_studio.commands import command
from lipflow_studio.heat import Heat
from lipflow_studio.image_files import write_image
from lipflow_studio.look import LIGHTS, Look
from lipflow_studio.parts.base import Part
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.posterior import Posterior
from lipflow_studio.views.head_picture import PictureOptions, head_picture
from lipflow_studio.workers import Worker

if TYPE_CHECKING:
    from lipflow_studio.session import Session

NO_TRUTH = "No true mesh to compare with: open a capture and load one of its frames"
NOT_A_FRAME = "The face is not fitted to a capture's frame: load one to compare with its mesh"
NO_POSTERIOR = "No posterior yet: fit something, then sample it (Shift+U)"
SAMPLING = "Sampling the posterior…"
FORMATS = (".png", ".jpg", ".jpeg")
LARGEST = 4096  # pixels, a side of the view that is pictured
POLL_MS = 20


class Appearance(Part):
    """The look of the head, and what its heat-maps show. No part of the document: undo leaves it alone."""

    name: ClassVar[str] = "appearance"

    look_changed = Signal(object)  # Look
    heat_changed = Signal(object)  # Heat | str what is missing for it | None where the mode shows none

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.look = Look()
        self.heat: Heat | str | None = None
        self.size = (640, 800)  # width and height of the view, pixels of the screen; the view says so
        self._drawing: tuple[Path, Generator[None, None, QImage]] | None = None
        self._writer: Worker[Any, Path] | None = None
        self._timer = QTimer(self, interval=POLL_MS)
        self._timer.timeout.connect(self._go_on)
        captures, posterior = session.part(Captures), session.part(Posterior)
        changes = (
            session.avatar_changed,
            session.picture_changed,
            session.source_changed,
            session.headset_changed,
            session.frontal_changed,
            captures.truth_changed,
            posterior.deviation_changed,
            posterior.stale_changed,
            posterior.running_changed,
        )
        for change in changes:
            change.connect(lambda _: self._look_for_heat())

    # Commands

    @command()
    def set_mode(self, mode: str) -> None:
        """What the surface shows: a key of ``MODES``."""
        self._put(mode=mode)

    @command()
    def set_background(self, background: str) -> None:
        """What is behind the head: a key of ``BACKGROUNDS``."""
        self._put(background=background)

    @command(same=lambda light: "light" if not isinstance(light, str) else None)
    def set_light(self, light: str | Sequence[float]) -> None:
        """Where the light of the geometry comes from: a key of ``LIGHTS``, or degrees to the viewer's right and up."""
        if isinstance(light, str) and light not in LIGHTS:
            expected = " or ".join([*LIGHTS, "two angles"])
            self.session.report(InputError("light", expected=expected, got=repr(light)))
            return
        self._put(light=LIGHTS[light][1] if isinstance(light, str) else light)

    @command()
    def set_points(self, on: bool) -> None:
        """Whether the keypoints are shown on the head, to be dragged there."""
        self._put(points=bool(on))

    @command()
    def save_picture(self, path: str, transparent: bool = False, size: Sequence[int] | None = None) -> None:
        """Write what the 3D view shows as a picture, at twice its size.

        Args:
            transparent: nothing behind the head (PNG).
            size: width and height of the view, pixels; without, as it is.
        """
        session, file = self.session, Path(path)
        formats = FORMATS[:1] if transparent else FORMATS
        if session.picture is None or session.picture.texture is None or session.avatar_info is None:
            session.report(InputError("picture of the head", expected="a face", got="none", mend="open an avatar"))
        elif file.suffix.lower() not in formats:
            session.report(InputError(f"picture {file.name}", expected=" or ".join(formats), got=file.suffix or "none"))
        elif self.busy:
            session.report(InputError(f"picture {file.name}", expected="one at a time", got="another being drawn"))
        else:
            try:
                width, height = (int(n) for n in (self.size if size is None else size))
                if not 0 < min(width, height) <= max(width, height) <= LARGEST:
                    raise ValueError(f"{width} × {height}")
            except (TypeError, ValueError) as error:
                session.report(InputError("size", expected=f"width and height, 1 to {LARGEST}", got=error))
                return
            options = PictureOptions(width, height, transparent=bool(transparent))
            self._drawing = (file, head_picture(session, self.look, self.heat, options))
            self.recording.begin("picture")
            self._timer.start()

    # Part

    @property
    def busy(self) -> bool:
        return self._drawing is not None or self._writer is not None

    def saved(self) -> Mapping[str, Any]:
        look = self.look
        return {"mode": look.mode, "background": look.background, "light": list(look.light), "points": look.points}

    def restore(self, saved: Mapping[str, Any]) -> None:
        known = set(self.saved())
        if not set(saved) <= known:
            raise InputError("appearance", expected=" or ".join(sorted(known)), got=", ".join(sorted(saved)))
        self._show(Look(**saved))

    def close(self) -> bool:
        self._timer.stop()
        self._drawing = None
        return self._writer is None or self._writer.stop()

    # Inside

    def _go_on(self) -> None:
        """A little of the picture at a time; a thread writes the file."""
        if self._writer is not None:
            self._take_written(self._writer)
        elif self._drawing is None:
            self._timer.stop()
        else:
            path, steps = self._drawing
            try:
                next(steps)
            except StopIteration as done:
                self._drawing, image = None, done.value
                self._writer = Worker(lambda: _write(image, path), name="picture").start()
            except RuntimeError as error:
                self._drawing = None
                self.recording.ended("picture", failed=True)
                mend = "without a display, run it under xvfb-run"
                self.session.report(InputError("picture of the head", expected="OpenGL", got=error, mend=mend))

    def _take_written(self, writer: Worker[Any, Path]) -> None:
        alive = writer.alive  # asked first: one that ends after this is read at the next look
        path, failure = writer.take(), writer.take_failure()
        if failure is not None:
            self.recording.ended("picture", failed=True)
            self.session.report(failure.error, failure.details)
        elif path is not None:
            self.recording.ended("picture", failed=False)
            self.session.told.emit(f"Saved {path.name}")
        if not alive:
            self._writer = None

    def _put(self, **changes: Any) -> None:
        try:
            self._show(replace(self.look, **changes))
        except InputError as error:
            self.session.report(error)

    def _show(self, look: Look) -> None:
        if look != self.look:
            self.look = look
            self._look_for_heat()
            self.look_changed.emit(look)

    def _look_for_heat(self) -> None:
        """What the mode colours the head by; nothing is computed while none is shown."""
        heat = heat_of(self.session, self.look.mode)
        if heat is not self.heat:
            self.heat = heat
            self.heat_changed.emit(heat)


def heat_of(session: Session, mode: str) -> Heat | str | None:
    """What a mode colours the present face by; or one line on what is missing for it; or None where it does not."""
    return HEATS[mode](session) if mode in HEATS else None


def _error(session: Session) -> Heat | str:
    captures, picture = session.part(Captures), session.picture
    truth = captures.truth_of_observation
    if truth is None or picture is None:
        return NO_TRUTH if captures.truth is None else NOT_A_FRAME
    found, true = picture.shape.vertices, truth.vertices
    if len(found) != len(true):
        has, wants = f"{len(true):,} vertices", f"{len(found):,}"
        return f"The frame's mesh has {has}, the avatar's {wants}: open an avatar of the same capture"
    difference = found - true
    distance = np.sqrt(np.einsum("vc,vc->v", difference, difference))
    return Heat(distance, "Distance to the tracked mesh", str(truth.id), "CET-L18")


def _deviation(session: Session) -> Heat | str:
    posterior, info = session.part(Posterior), session.avatar_info
    values = None if posterior.update is None else posterior.update.vertex_std
    if values is None or info is None or len(values) != len(info.vertices):
        return SAMPLING if posterior.running else NO_POSTERIOR
    note = "of an earlier face" if posterior.stale else "of this face"
    return Heat(values, "Posterior standard deviation", note, "CET-L19")


# The modes that colour the head by a number.
HEATS: dict[str, Callable[[Session], Heat | str]] = {"error": _error, "deviation": _deviation}


def _write(image: QImage, path: Path) -> Generator[Path, Any, None]:
    write_image(image, path)
    yield path
