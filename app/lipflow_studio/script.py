"""Lists of steps as JSON: played one after the other, and saved from what a user did.

A step is one of

``{"command": "open_avatar", "args": ["lip-flow-kpt"], "kwargs": {}}``
    gives a command of the Session, once nothing is being opened any more
``{"wait": 0.5}``
    seconds
``{"wait_for": "fit", "timeout": 60}``
    "face" (one is shown), "load" (nothing is being opened), "fit" (it has come to its end), "compare" (those of all
    contenders have), "played" (no sequence plays any more) or "training" (no run that was started here trains or
    waits for its turn); seconds at most
``{"drag": {"30": [0.0, 0.08]}, "seconds": 1.5}``
    drags keypoints by fractions of the image, 60 times a second, as one gesture
``{"repeat": 10, "steps": […]}`` or ``{"repeat_for": 600, "steps": […]}``
    so many times, or until so many seconds have passed
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Collection, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import QObject, Qt, QTimer, Signal

from lipflow.checks import InputError
from lipflow.files import replacing
from lipflow_studio.commands import Step
from lipflow_studio.document import Status

if TYPE_CHECKING:
    from lipflow_studio.session import Session

CONDITIONS: dict[str, Callable[[Session], bool]] = {
    "face": lambda s: s.picture is not None and s.picture.texture is not None,
    "load": lambda s: not s.loading,
    "fit": lambda s: s.status is not Status.RUNNING and not s.loading,
    "compare": lambda s: s.parts["compare"].at_rest and not s.loading,
    "training": lambda s: s.parts["training"].at_rest,
    "played": lambda s: s.parts["sequence"].at_rest and s.parts["capture"].at_rest and not s.loading,
}
TIMEOUT_S = 120.0
TICK_MS = 4
MOVE_S = 1 / 60  # between two moves of a drag
MAX_BYTES = 1 << 24
Playing = Generator[None, None, None]


def load(path: Path, known: Collection[str]) -> list[Step]:
    """Read a script of ``known`` commands.

    Raises:
        InputError: if it is no list of steps, naming the first that is none.
    """
    what = f"script {path}"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(what, expected=f"at most {MAX_BYTES} bytes", got="a larger file")
        steps = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, RecursionError, json.JSONDecodeError) as error:
        raise InputError(what, expected="a JSON file", got=error) from error
    _check(steps, what, known)
    return steps


def is_script(path: Path) -> bool:
    """Whether a JSON file lists steps, well or badly (a list of keypoints holds no objects)."""
    try:
        steps = json.loads(path.read_text()) if path.stat().st_size <= MAX_BYTES else None
    except (OSError, UnicodeDecodeError, RecursionError, json.JSONDecodeError):
        return False
    return isinstance(steps, list) and bool(steps) and all(isinstance(step, dict) for step in steps)


def save(path: Path, steps: Sequence[Step]) -> None:
    """Write recorded commands so that ``load`` reads them."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(list(steps), indent=1, default=_plain) + "\n")


class Player(QObject):
    """Takes a script's steps from the event loop, waiting for what each starts."""

    finished = Signal()
    due = Signal(float)  # when the next move of a drag should have happened, by time.perf_counter()

    def __init__(self, session: Session, steps: Sequence[Step], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._gestures = itertools.count()
        self._playing = self._play(steps)
        self._timer = QTimer(self, interval=TICK_MS, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        session.closed.connect(self._timer.stop)

    def start(self) -> None:
        self._timer.start()

    def _tick(self) -> None:
        try:
            next(self._playing)
        except StopIteration:
            self._timer.stop()
            self.finished.emit()

    def _play(self, steps: Sequence[Step]) -> Playing:
        for step in steps:
            yield from next(play for key, (_, play) in STEPS.items() if key in step)(self, step)

    def _command(self, step: Step) -> Playing:
        """Arguments that the command does not take are a mistake of the script."""
        while self._session.loading:
            yield
        name, kwargs = step["command"], dict(step.get("kwargs", {}))
        if kwargs.get("gesture") is not None:
            kwargs["gesture"] = ("script", str(kwargs["gesture"]))
        try:
            self._session.give(name, *step.get("args", []), **kwargs)
        except (TypeError, ValueError, KeyError) as error:
            self._session.report(InputError(f"script: {name}", expected="arguments that it takes", got=repr(error)))
        yield

    def _wait(self, step: Step) -> Playing:
        until = time.monotonic() + step["wait"]
        while time.monotonic() < until:
            yield

    def _wait_for(self, step: Step) -> Playing:
        condition, seconds = CONDITIONS[step["wait_for"]], step.get("timeout", TIMEOUT_S)
        until = time.monotonic() + seconds
        while not condition(self._session):
            if time.monotonic() > until:
                self._session.report(TimeoutError(f"script: waited {seconds:.0f} s for {step['wait_for']}"))
                return
            yield

    def _drag(self, step: Step) -> Playing:
        session = self._session
        count = 0 if session.keypoints is None else len(session.keypoints.given)
        by = {int(index): offset for index, offset in step["drag"].items()}
        if not all(0 <= index < count for index in by):
            session.report(InputError("script: drag", expected=f"landmarks below {count}", got=sorted(by)))
            return
        from_ = {index: session.handles()[index].tolist() for index in by}
        gesture = ("script", "drag", id(self), next(self._gestures))
        moves, began = max(1, round(step.get("seconds", 1.0) / MOVE_S)), time.perf_counter()
        done = 0
        while done < moves:
            late = int((time.perf_counter() - began) / MOVE_S)
            if late <= done:
                yield
                continue
            self.due.emit(began + (done + 1) * MOVE_S)
            done = min(late, moves)  # what was missed is not made up for: a pointer jumps, too
            share = done / moves
            to = {i: (from_[i][0] + share * x, from_[i][1] + share * y) for i, (x, y) in by.items()}
            session.move_keypoints(to, gesture=gesture)
            yield

    def _repeat(self, step: Step) -> Playing:
        for _ in range(step["repeat"]):
            yield from self._play(step["steps"])

    def _repeat_for(self, step: Step) -> Playing:
        until = time.monotonic() + step["repeat_for"]
        while time.monotonic() < until:
            yield
            yield from self._play(step["steps"])


def _check(steps: object, what: str, known: Collection[str]) -> None:
    if not isinstance(steps, list):
        raise InputError(what, expected="a list of steps", got=type(steps).__name__)
    for number, step in enumerate(steps, 1):
        keys = [key for key in STEPS if isinstance(step, dict) and key in step]
        at = f"{what}, step {number}"
        if len(keys) != 1:
            raise InputError(at, expected="an object with one of " + ", ".join(STEPS), got=str(step)[:80])
        name = step.get("command", "")
        if isinstance(name, str) and name and name not in known:
            raise InputError(at, expected=f"a command, one of {', '.join(_like(name, known))}", got=repr(name))
        if not STEPS[keys[0]][0](step, known):
            named = "a command's name, with a list of args and an object of kwargs"
            expected = named if keys[0] == "command" else f"a {keys[0]} as the documentation says"
            raise InputError(at, expected=expected, got=str(step)[:80])
        if "steps" in step:
            _check(step["steps"], at, known)


def _like(name: str, known: Collection[str]) -> list[str]:
    """The commands of the part that a name says, or of the Session; all where there is no such part."""
    part = name.rpartition(".")[0]
    return sorted(each for each in known if each.rpartition(".")[0] == part) or sorted(known)


def _is_command(step: Step, known: Collection[str]) -> bool:
    args, kwargs = step.get("args", []), step.get("kwargs", {})
    named = isinstance(step["command"], str) and step["command"] in known
    return named and isinstance(args, list) and isinstance(kwargs, dict)


def _is_drag(step: Step, known: Collection[str]) -> bool:
    by = step["drag"]
    return _seconds(step.get("seconds", 1.0)) and isinstance(by, dict) and bool(by) and all(map(_offset, by.items()))


def _offset(item: tuple[str, Any]) -> bool:
    index, by = item
    return index.isdigit() and isinstance(by, list) and len(by) == 2 and all(map(_number, by))


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _seconds(value: object) -> bool:
    return isinstance(value, int | float) and _number(value) and value >= 0


def _is_wait_for(step: Step, known: Collection[str]) -> bool:
    return step["wait_for"] in CONDITIONS and _seconds(step.get("timeout", TIMEOUT_S))


# What a step is known by, whether one is well made, and how it is played.
STEPS: dict[str, tuple[Callable[[Step, Collection[str]], bool], Callable[[Player, Step], Playing]]] = {
    "command": (_is_command, Player._command),
    "wait": (lambda step, known: _seconds(step["wait"]), Player._wait),
    "wait_for": (_is_wait_for, Player._wait_for),
    "drag": (_is_drag, Player._drag),
    "repeat": (lambda step, known: type(step["repeat"]) is int and "steps" in step, Player._repeat),
    "repeat_for": (lambda step, known: _seconds(step["repeat_for"]) and "steps" in step, Player._repeat_for),
}


def _plain(value: Any) -> Any:
    """Numpy's numbers and arrays as JSON has them."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"not for JSON: {type(value).__name__}")
