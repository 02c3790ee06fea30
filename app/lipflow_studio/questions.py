"""What the user must decide before something is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """A button under a question. ``run`` does what it says; False: it came to nothing, stay."""

    text: str
    run: Callable[[], bool]


@dataclass(frozen=True)
class Question:
    """Asked in the window only: scripts and tests are not asked. Beside its answers there is always Cancel."""

    text: str
    more: str  # a second, smaller line
    answers: tuple[Answer, ...]  # the first is the one that Enter gives
