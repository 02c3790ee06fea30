"""What a user can do to the Session. A command is a function of the Session (or a method of one of its parts) that
scripts and menus give by name; every call that was not refused, and did not fail later, is recorded, so that it can
be given again.

One module a group: opening files, keypoints, the fit, the camera. A new command is a function here and a row in
``Session``; a command of a part is a method of the part.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
Step = dict[str, Any]  # {"command": …, "args": […], "kwargs": {…}} or {"wait_for": "fit"}


class Recording:
    """The commands as they were given, as steps of a script."""

    def __init__(self, done: Callable[[str], object] = lambda name: None) -> None:
        """
        Args:
            done: is told the name of each command that came to what it was to do, at once or by its job. A job that
                went on when an error was told does not count: whoever saw that error has tried nothing since.
        """
        self.steps: list[Step] = []
        self._done = done
        self._open = True
        self._last: Hashable = None  # what the last step and a next one would have to share to become one
        self._rested: list[str] = []  # conditions that a script waits for before the next step
        self._refused = self._edited = False  # by the command that runs
        self._running: Step | None = None  # that command, as the step it will be
        self._jobs: dict[str, Step] = {}  # that commands have begun and that are not over
        self._older: set[str] = set()  # of these, the ones that had begun when an error was told last

    def rest(self, what: str = "fit") -> None:
        """The fit has come to its end (or what else a script can wait for): what follows was done to its result."""
        if what not in self._rested:
            self._rested.append(what)

    def add(self, step: Step, same: Hashable) -> None:
        name = step["command"]
        if same is not None and (name, same) == self._last:
            self.steps[-1] = step
            return
        if self.steps:
            self.steps += [{"wait_for": what} for what in self._rested]
        self.steps.append(step)
        self._last, self._rested = None if same is None else (name, same), []

    def refuse(self) -> None:
        """An error was told: it is what the command that runs comes to, if that edits nothing."""
        self._refused, self._older = True, set(self._jobs)

    @property
    def running(self) -> str:
        """The name of the command that runs; empty: none."""
        return "" if self._running is None else self._running["command"]

    def begin(self, job: str) -> None:
        """The command that runs has begun a job that ends later, in the place of an unfinished one of that name, of
        which nothing comes any more."""
        if self._running is not None:
            self.ended(job, failed=True)
            self._jobs[job] = self._running
            self._older.discard(job)

    def ended(self, job: str, failed: bool) -> str:
        """A job is over. Of one that failed (a file that cannot be read) the command that began it was no step, as if
        it had been refused at once.

        Returns:
            That command's name; empty where none began it.
        """
        step = self._jobs.pop(job, None)
        if step is None:
            return ""
        if failed and any(step is other for other in self.steps):
            self.steps = [other for other in self.steps if other is not step]
            self._last = None
        if not failed and job not in self._older:
            self._done(step["command"])
        return step["command"]

    def edit(self) -> None:
        """The command that runs has edited the document, whatever is told besides."""
        self._edited = True

    def give(
        self,
        name: str,
        function: Callable[..., R],
        owner: object,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        same: Hashable,
    ) -> R:
        """Run a command, and record it unless it was refused: a script would stop at it each time."""
        rested, self._rested = self._rested, []
        self._refused = self._edited = accepted = False
        self._running = step = {"command": name, "args": list(args), "kwargs": kwargs}
        try:
            result = self.call(function, (owner, *args), kwargs)
            accepted = self._edited or not self._refused
            return result
        finally:
            self._running = None
            meanwhile, self._rested = self._rested, rested
            if accepted:
                self.add(step, same)
            if accepted and not self._refused and all(step is not begun for begun in self._jobs.values()):
                self._done(name)
            for what in meanwhile:
                self.rest(what)

    def call(self, function: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        """Run a command; those that it gives itself are not recorded."""
        was_open, self._open = self._open, False
        try:
            return function(*args, **kwargs)
        finally:
            self._open = was_open

    @property
    def open(self) -> bool:
        return self._open


class Commanded(Protocol):
    """Whoever has commands: the Session and its parts."""

    @property
    def recording(self) -> Recording: ...

    def command_name(self, name: str) -> str:
        """What scripts call the command."""
        ...


Owner = TypeVar("Owner", bound=Commanded)


def command(
    same: Callable[..., Hashable] | None = None,
) -> Callable[[Callable[Concatenate[Owner, P], R]], Callable[Concatenate[Owner, P], R]]:
    """Make a function whose first argument is the Session, or a method of a part, a command.

    Args:
        same: of two calls in a row for whose arguments it says the same (not None), only the later one counts: the
            recording keeps the end of a drag, not each of its moves.
    """

    def decorate(function: Callable[Concatenate[Owner, P], R]) -> Callable[Concatenate[Owner, P], R]:
        @functools.wraps(function)
        def given(owner: Owner, *args: P.args, **kwargs: P.kwargs) -> R:
            recording = owner.recording
            if not recording.open:
                return recording.call(function, (owner, *args), kwargs)
            key = None if same is None else same(*args, **kwargs)
            return recording.give(owner.command_name(function.__name__), function, owner, args, kwargs, key)

        given.is_command = True  # type: ignore[attr-defined]
        return given

    return decorate


def names_of(kind: type) -> list[str]:
    """The commands that a class has."""
    return sorted(name for name in dir(kind) if getattr(getattr(kind, name), "is_command", False))
