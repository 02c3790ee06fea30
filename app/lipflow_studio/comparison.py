"""Contenders side by side on one observation: the values that the comparison's signals carry. Views need no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lipflow.checks import InputError
from lipflow_studio.capture_work import Figures
from lipflow_studio.document import AvatarInfo, FloatArray, Picture
from lipflow_studio.opening import avatar_name
from lipflow_studio.workers import Failure

MOST = 4  # contenders
LIVE = -1  # in place of an iteration: the newest


@dataclass(frozen=True)
class PriorRow:
    """A setting of the prior under which an avatar is fitted."""

    title: str
    tip: str
    changes: Mapping[str, Any]  # of the fit's configuration


PRIORS = {
    "own": PriorRow("Own", "The prior that it was trained with", {}),
    "standard-normal": PriorRow(
        "N(0, I)", "The standard normal instead; the fit starts at the neutral face", {"prior": "standard-normal"}
    ),
    "no-likelihood": PriorRow("Start only", "Its own prior gives no more than the start", {"likelihood": False}),
}


@dataclass(frozen=True, eq=False)
class Contender:
    """An avatar under a setting of the prior."""

    which: str  # an embedded avatar's name, or its file; empty: it is only in memory
    title: str  # its name, as far as it is known without opening it
    prior: str = "own"  # a key of PRIORS
    info: AvatarInfo | None = None  # None: it is being loaded


@dataclass(frozen=True)
class CompareOptions:
    """How the faces are shown."""

    layout: Literal["side", "split"] = "side"  # side by side, or two laid over each other
    split: float = 0.5  # where the two meet, from the left, of the width
    pair: tuple[int, int] = (0, 1)  # the contenders left and right of it

    def __post_init__(self) -> None:
        if self.layout not in ("side", "split"):
            raise InputError("layout", expected="side or split", got=repr(self.layout))
        if isinstance(self.split, bool) or not isinstance(self.split, int | float) or not 0 <= self.split <= 1:
            raise InputError("split", expected="a number from 0 to 1", got=repr(self.split))
        places = self.pair if isinstance(self.pair, tuple) and len(self.pair) == 2 else (-1, -1)
        if not all(type(i) is int and 0 <= i < MOST for i in places):
            raise InputError("pair", expected=f"two contenders, 0 to {MOST - 1}", got=repr(self.pair))


@dataclass(frozen=True, eq=False)
class Record:
    """One iteration of a contender's fit, or the last one before it where it rests."""

    z: FloatArray  # [Z]
    iteration: int  # since this observation was given
    energy: float
    data_energy: float
    log_likelihood: float  # nats
    error: float  # of keypoints pixels, of images grey levels of 255; NaN: not known yet
    ms: float  # an iteration, on average since this observation was given; NaN: none yet
    converged: bool
    running: bool


@dataclass(frozen=True, eq=False)
class Standing:
    """A contender as it is shown."""

    prior: str  # what it is fitted under, in words
    record: Record | None = None
    picture: Picture | None = None  # without a frontal one
    figures: Figures | None = None  # where the truth is known
    failure: Failure | None = None  # it cannot be fitted to this
    driven: bool = True  # whether its own prior can be had; else N(0, I) takes its place


@dataclass(frozen=True, eq=False)
class ComparisonUpdate:
    """All contenders at one moment."""

    standings: tuple[Standing | None, ...]  # one a contender; None: it is being loaded
    at: int  # the iteration that is shown: one of all contenders in turns
    first: int  # that is kept
    last: int  # so far
    running: bool
    task: int = 0  # what it is an answer to: the serial of the Task


def titles_of(contenders: Sequence[Contender]) -> list[str]:
    """Names that tell contenders apart: with as many folders before them as that takes."""
    titles = [c.title for c in contenders]
    for folders in range(1, 4):
        files = {(title, c.which) for title, c in zip(titles, contenders)}
        shared = {title for title, count in Counter(title for title, _ in files).items() if count > 1}
        titles = [
            avatar_name(Path(c.which), folders) if c.which and title in shared else title
            for title, c in zip(titles, contenders)
        ]
    return titles


def best_of(values: Sequence[float | None], greater: bool) -> int | None:
    """The place of the best of some values, where there are two that differ."""
    known = {i: v for i, v in enumerate(values) if v is not None and np.isfinite(v)}
    if len(set(known.values())) < 2:
        return None
    return max(known, key=lambda i: known[i] if greater else -known[i])
