"""Keypoints in time, from CSV and NPZ files (``lipflow.sequence_files`` says how they are laid out)."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from lipflow.checks import InputError
from lipflow.observation_files import Keypoints, name_order
from lipflow.observations import LANDMARK_COUNT

KEYPOINT_FORMATS = (".csv", ".npz")
MAX_BYTES = 1 << 28  # of a keypoint file, also once it is unpacked
# What numpy's reader raises for files that hold something else.
_DAMAGE: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError)
_DAMAGE += (NotImplementedError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class KeypointSequence:
    """136 keypoints a frame, as positions divided by the image's width and height.

    Raises:
        InputError: not T × 136 × 2, no frame, a coordinate that is no number in [0, 1], a weight below 0.
    """

    kind: ClassVar[str] = "keypoints"

    points: npt.NDArray[np.float32]  # [T, 136, 2] column / width, row / height
    weights: npt.NDArray[np.float32]  # [T, 136]
    fps: float | None = None
    what: str = "keypoints"

    def __post_init__(self) -> None:
        expected = f"T × {LANDMARK_COUNT} × 2 numbers, T at least 1"
        if self.points.ndim != 3 or self.points.shape[1:] != (LANDMARK_COUNT, 2) or not len(self.points):
            raise InputError(self.what, expected=expected, got=" × ".join(map(str, self.points.shape)))
        if self.weights.shape != self.points.shape[:2]:
            expected = f"weights of {len(self.points)} × {LANDMARK_COUNT}"
            raise InputError(self.what, expected=expected, got=" × ".join(map(str, self.weights.shape)))
        if self.fps is not None and not 0 < self.fps < float("inf"):
            raise InputError(f"{self.what}: fps", expected="frames a second", got=self.fps)
        inside = ((self.points >= 0) & (self.points <= 1)).all(-1)  # NaN is not
        if not inside.all():
            frame, which = (int(place) for place in np.argwhere(~inside)[0])
            x, y = self.points[frame, which]
            mend = "divide columns by the image's width and rows by its height"
            got = f"({x:.4g}, {y:.4g}) for keypoint {which}"
            raise InputError(f"{self.what}, frame {frame + 1}", expected="coordinates in [0, 1]", got=got, mend=mend)
        heavy = (self.weights >= 0) & (self.weights < np.inf)
        if not heavy.all():
            frame, which = (int(place) for place in np.argwhere(~heavy)[0])
            got = f"{self.weights[frame, which]:.4g} for keypoint {which}"
            raise InputError(f"{self.what}, frame {frame + 1}", expected="weights of at least 0", got=got)

    @property
    def length(self) -> int:
        return len(self.points)

    def frame(self, index: int) -> Keypoints:
        """Keypoints [136, 2] and their weights [136]."""
        return Keypoints(torch.from_numpy(self.points[index]), torch.from_numpy(self.weights[index]))

    def names(self, index: int) -> tuple[str, ...]:
        return (f"frame {index + 1}",)

    def close(self) -> None:
        """Nothing is kept open."""


def lists_keypoints(path: Path) -> bool:
    """Whether a file holds keypoints in time: an NPZ, or a CSV with a frame a line."""
    if path.suffix.lower() != ".csv":
        return path.suffix.lower() in KEYPOINT_FORMATS
    try:
        with path.open("rb") as file:
            return file.readline(1 << 20).count(b",") >= 2 * LANDMARK_COUNT - 1
    except OSError:
        return False


def open_keypoints(path: Path, landmarks: Sequence[str] | None) -> KeypointSequence:
    """Read a file of keypoints in time; named ones are put into the order of ``landmarks``.

    Raises:
        InputError: if it holds something else.
    """
    what = f"keypoints {path}"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(what, expected=f"at most {MAX_BYTES} bytes", got="a larger file")
        return _READERS[path.suffix.lower()](path, what, landmarks)
    except InputError:
        raise
    except _DAMAGE as error:
        got = " ".join(str(error).split()) or "a damaged file"
        raise InputError(what, expected="keypoints of a sequence", got=got[:120]) from error


def _from_npz(path: Path, what: str, landmarks: Sequence[str] | None) -> KeypointSequence:
    with zipfile.ZipFile(path) as packed:
        if sum(member.file_size for member in packed.infolist()) > MAX_BYTES:
            raise InputError(what, expected=f"at most {MAX_BYTES} bytes once unpacked", got="more")
    with np.load(path, allow_pickle=False) as file:
        if "keypoints" not in file:
            raise InputError(what, expected="an array named keypoints", got=", ".join(file) or "none")
        points = file["keypoints"].astype(np.float32)
        weights = file["weights"].astype(np.float32) if "weights" in file else np.ones(LANDMARK_COUNT, np.float32)
        fps = float(file["fps"]) if "fps" in file else None
        names = [str(name) for name in file["names"]] if "names" in file else None
    if weights.ndim == 1:
        weights = np.broadcast_to(weights, (len(points), len(weights)))
    made = KeypointSequence(points, np.ascontiguousarray(weights), fps, what)
    if names is None or landmarks is None:
        return made
    order = name_order(names, landmarks, what)
    return KeypointSequence(made.points[:, order], made.weights[:, order], fps, what)


def _from_csv(path: Path, what: str, landmarks: Sequence[str] | None) -> KeypointSequence:
    lines: list[npt.NDArray[np.float32]] = []
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            rows = (row for row in csv.reader(file, strict=True) if any(cell.strip() for cell in row))
            first = next(rows, [])
            header = [cell.strip().lower() for cell in first]
            named = "x0" in header
            if not named:
                lines.append(_numbers(first, 2 * LANDMARK_COUNT, f"{what}, frame 1"))
            for row in rows:
                lines.append(_numbers(row, len(first), f"{what}, frame {len(lines) + 1}"))
        except csv.Error as error:
            raise InputError(what, expected="comma-separated values", got=error) from error
    if not lines:
        raise InputError(what, expected="at least one frame", got="none")
    table = np.stack(lines)
    if not named:
        points = table.reshape(-1, LANDMARK_COUNT, 2)
        return KeypointSequence(points, np.ones(points.shape[:2], np.float32), None, what)
    x, y = (_columns(table, header, axis, what) for axis in ("x", "y"))
    weights = _columns(table, header, "w", what) if "w0" in header else np.ones_like(x)
    return KeypointSequence(np.stack([x, y], axis=-1), weights, None, what)


def _columns(table: npt.NDArray[np.float32], header: list[str], axis: str, what: str) -> npt.NDArray[np.float32]:
    """The columns x0 … x135, in that order."""
    wanted = [f"{axis}{k}" for k in range(LANDMARK_COUNT)]
    missing = [name for name in wanted if name not in header]
    if missing or f"{axis}{LANDMARK_COUNT}" in header:
        got = f"none named {missing[0]}" if missing else f"one named {axis}{LANDMARK_COUNT}"
        raise InputError(what, expected=f"columns {axis}0 to {axis}{LANDMARK_COUNT - 1}", got=got)
    return table[:, [header.index(name) for name in wanted]]


def _numbers(row: list[str], count: int, what: str) -> npt.NDArray[np.float32]:
    if len(row) != count:
        raise InputError(what, expected=f"{count} numbers", got=len(row))
    try:
        with np.errstate(over="ignore"):
            return np.array([float(cell) for cell in row], np.float64).astype(np.float32)
    except ValueError as error:
        raise InputError(what, expected="numbers", got=str(error).partition(": ")[2][:40] or "text") from error


_READERS: dict[str, Callable[[Path, str, Sequence[str] | None], KeypointSequence]] = {
    ".csv": _from_csv,
    ".npz": _from_npz,
}
