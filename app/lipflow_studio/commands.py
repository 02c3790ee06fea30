"""What makes a Session's method a command: scripts call it by name, and what a user did is recorded."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
Recording = TypeVar("Recording", bound="Recorder")
Call = tuple[str, tuple[Any, ...], dict[str, Any]]  # name, positional and named arguments

COMMANDS: dict[str, Callable[..., Any]] = {}


class Recorder(Protocol):
    """Whoever gives commands keeps what was given."""

    recorded: list[Call]
    recording: bool


def command(method: Callable[Concatenate[Recording, P], R]) -> Callable[Concatenate[Recording, P], R]:
    """Add a method to ``COMMANDS`` and record its calls (not those that a command makes itself)."""

    @functools.wraps(method)
    def recorded(self: Recording, *args: P.args, **kwargs: P.kwargs) -> R:
        if not self.recording:
            return method(self, *args, **kwargs)
        self.recorded.append((method.__name__, args, kwargs))
        self.recording = False
        try:
            return method(self, *args, **kwargs)
        finally:
            self.recording = True

    COMMANDS[method.__name__] = recorded
    return recorded
