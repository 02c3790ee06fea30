"""Headset images of a capture's frame, made otherwise: other light, another background, a headset that sits askew."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from PySide6.QtCore import QTimer, Signal

from lipflow.checks import InputError
from lipflow_studio import capture_work
from lipflow_studio.capture_work import FrameRequest, LoadedFrame
from lipflow_studio.commands import command
from lipflow_studio.document import PLAIN, HeadsetImages, HeadsetRecipe
from lipflow_studio.parts.base import Part
from lipflow_studio.parts.capture import Captures
from lipflow_studio.workers import Worker

if TYPE_CHECKING:
    from lipflow_studio.session import Session

TICK_MS = 15
AMOUNTS = ("lighting", "background", "slop")  # the fields of HeadsetAugmentation
NAMES = {"lighting": "headset lighting", "background": "headset background", "slop": "headset slop", "seed": "draw"}
NO_FRAME = "Load a frame as headset images first."
FROM_FILES = "The headset images came from files. Load a frame of a capture as headset images to vary them."
NOT_OPEN = "The headset images are of a capture that is not open."


def _same_fields(**changes: Any) -> Hashable:
    return tuple(sorted(changes))


class Augmentation(Part):
    """What is asked for is made in a thread, the newest first; each result is an edit of the document."""

    name: ClassVar[str] = "augmentation"

    recipe_changed = Signal(object)  # HeadsetRecipe | None

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.recipe: HeadsetRecipe | None = None
        """What the images are made from, or will be in a moment; None where they cannot be made otherwise."""
        self._captures = session.part(Captures)
        self._making = False
        self._editing = False
        self._worker: Worker[FrameRequest, LoadedFrame] | None = None
        self._retired: list[Worker[Any, Any]] = []
        self._timer = QTimer(self, interval=TICK_MS)
        self._timer.timeout.connect(self._tick)
        session.avatar_changed.connect(lambda _: self._retire())
        session.headset_changed.connect(lambda _: self._follow())
        self._captures.info_changed.connect(lambda _: self._change_capture())

    # Commands

    @command(same=_same_fields)
    def change(self, **changes: Any) -> None:
        """Change ``lighting``, ``background`` or ``slop`` (0: not at all, 1: as a real headset), or the ``seed``."""
        if self.recipe is None:
            mend = "load a frame as headset images first"
            self.session.report(InputError("augmentation", expected="a capture's frame", got="none", mend=mend))
            return
        try:
            unknown = sorted(set(changes) - set(NAMES))
            if unknown:
                raise InputError("augmentation", expected=" or ".join(NAMES), got=unknown[0])
            seed = changes.pop("seed", self.recipe.seed)
            after = replace(self.recipe, augmentation=replace(self.recipe.augmentation, **changes), seed=seed)
        except InputError as error:
            self.session.report(error)
            return
        if after != self.recipe:
            self._put(after)
            self._make()

    @command()
    def draw(self) -> None:
        """Other random light, background and seat, of the same amounts."""
        self.change(seed=0 if self.recipe is None else self.recipe.seed + 1)

    @command()
    def clear(self) -> None:
        """The images as the frame is."""
        self.change(**vars(PLAIN))

    # What views ask

    @property
    def hint(self) -> str:
        """Why there is nothing to be changed; empty where there is."""
        headset = self.session.headset
        if self.recipe is not None:
            return ""
        return NO_FRAME if headset is None else FROM_FILES if headset.recipe is None else NOT_OPEN

    @property
    def busy(self) -> bool:
        return self._making

    def close(self) -> bool:
        self._timer.stop()
        self._retire()
        return all([worker.stop() for worker in self._retired])

    # Inside

    def _make(self) -> None:
        assert self.recipe is not None
        if self._worker is None:
            self._worker = Worker[FrameRequest, LoadedFrame](capture_work.frames, name="augmentation").start()
        self._worker.send(self._captures.request("headset", self.recipe, truth=False))
        self.recording.ended("augmentation", failed=False)  # what was asked for before goes into these images
        self.recording.begin("augmentation")
        self._making = True
        self._timer.start()

    def _tick(self) -> None:
        self._retired = [worker for worker in self._retired if worker.alive]
        worker = self._worker
        if worker is None or not self._making:
            if not self._retired:
                self._timer.stop()
            return
        loaded, failure = worker.take(), worker.take_failure()
        if failure is not None:
            self.recording.ended("augmentation", failed=True)
            self.session.report(failure.error, failure.details)
            self._retire()
            self._follow()
        elif loaded is not None and loaded.error is not None:
            self.recording.ended("augmentation", failed=True)
            self.session.report(loaded.error)
            self._follow()
        elif loaded is not None and loaded.about is self.session.avatar_info:
            self._use(loaded.given)

    def _use(self, given: object) -> None:
        before = self.session.headset
        if not isinstance(given, HeadsetImages) or given.recipe is None or before is None or before.recipe is None:
            return
        if given.recipe.frame != before.recipe.frame:
            return
        self._making = given.recipe != self.recipe
        changed = tuple(name for name in NAMES if _value(given.recipe, name) != _value(before.recipe, name))
        if not changed:
            return
        text = "another draw" if changed == ("seed",) else "change of " + " and ".join(NAMES[name] for name in changed)
        gesture = None if changed == ("seed",) else ("augmentation", changed)
        self._editing = True
        try:
            self.session.edit(text, gesture, headset=given)
        finally:
            self._editing = False

    def _follow(self) -> None:
        """Other images: what is asked for is what they were made from. A sequence goes on with what was asked."""
        if self._editing:
            return
        headset, asked = self.session.headset, self.recipe
        recipe = headset.recipe if headset is not None and self._captures.offers(headset.recipe) else None
        if self._making and self._captures.playing and recipe is not None and asked is not None:
            self._put(replace(recipe, augmentation=asked.augmentation, seed=asked.seed))
            self._make()
            return
        self._making = False
        self._put(recipe)

    def _change_capture(self) -> None:
        self._retire()
        self._follow()

    def _retire(self) -> None:
        self._making = False
        if self._worker is not None:
            self._worker.ask_to_stop()
            self._retired.append(self._worker)
            self._worker = None

    def _put(self, recipe: HeadsetRecipe | None) -> None:
        self.recipe = recipe
        self.recipe_changed.emit(recipe)


def _value(recipe: HeadsetRecipe, name: str) -> float | int:
    return recipe.seed if name == "seed" else getattr(recipe.augmentation, name)
