"""Reading a run's TensorBoard log while it is being written: the curves of any run, whoever trains it."""

from __future__ import annotations

import collections
import itertools
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

_LENGTH, _CHECKS = struct.Struct("<Q"), (4, 4)  # of a record: its length, a check sum, its bytes, a check sum
_LONGEST = 1 << 24  # bytes of a record; more is damage
_PACE_MARKS = 20  # moments of the newest session that the pace is reckoned with


@dataclass(frozen=True, eq=False)
class Curve:
    """One scalar against the steps."""

    steps: npt.NDArray[np.int64]  # [n] ascending
    values: npt.NDArray[np.float64]  # [n]


@dataclass(eq=False)
class _Points:
    """A curve that grows: 16 bytes a point, where a list of pairs takes 130."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, step: int, value: float) -> None:
        self.steps.append(step)
        self.values.append(value)

    def before(self, end: int) -> _Points:
        """Those of the steps below ``end``."""
        kept = [place for place, step in enumerate(self.steps) if step < end]
        return _Points(array("q", (self.steps[i] for i in kept)), array("d", (self.values[i] for i in kept)))


class TrainingLog:
    """The scalars in a folder of event files; ``read`` takes in what was written since."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = {}
        self._points: dict[str, _Points] = {}
        self.taken = 0  # records so far: whoever shows the curves can tell by it whether there are new ones
        self._marks: collections.deque[tuple[int, float]] = collections.deque(maxlen=_PACE_MARKS)  # step, wall time

    def read(self) -> None:
        """Take in what is new.

        A record that is only half there is read when it is whole; what does not parse ends its file.
        """
        for file in sorted(self._folder.glob("events.out.tfevents.*")):
            try:
                with file.open("rb") as stream:
                    stream.seek(self._offsets.get(file, 0))
                    data = stream.read()
            except OSError:  # deleted between two looks
                continue
            for event, length in _events(data):
                self._offsets[file] = self._offsets.get(file, 0) + length
                self._take(event)
                self.taken += 1

    def curves(self) -> dict[str, Curve]:
        """Each scalar by its tag, such as "train/loss" or "held-out/start_psnr"."""
        return {
            tag: Curve(np.array(points.steps, np.int64), np.array(points.values, np.float64))
            for tag, points in self._points.items()
            if points.steps
        }

    @property
    def step(self) -> int:
        """The last step that was logged; 0 before there is one."""
        return max((points.steps[-1] for points in self._points.values() if points.steps), default=0)

    @property
    def seconds_per_step(self) -> float | None:
        """The median over the last moments, so that a pause among them does not count; None before there is a pace."""
        paces = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(self._marks) if b[0] > a[0]]
        return float(np.median(paces)) if paces else None

    def _take(self, event: Event) -> None:
        if event.HasField("session_log") and event.session_log.status == SessionLog.START:
            self._marks.clear()
            for tag, points in self._points.items():  # steps that were lost to a kill come again
                self._points[tag] = points.before(event.step)
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                self._points.setdefault(value.tag, _Points()).add(event.step, value.simple_value)
                if not self._marks or event.step > self._marks[-1][0]:
                    self._marks.append((event.step, event.wall_time))


def _events(data: bytes) -> Iterator[tuple[Event, int]]:
    """The whole records in ``data``, each with its length in bytes."""
    at = 0
    while at + _LENGTH.size + sum(_CHECKS) <= len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        begin = at + _LENGTH.size + _CHECKS[0]
        end = begin + length + _CHECKS[1]
        if length > _LONGEST or end > len(data):
            return
        try:
            event = Event.FromString(data[begin : begin + length])
        except DecodeError:
            return
        yield event, end - at
        at = end
