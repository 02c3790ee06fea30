"""The small files of the Multiface layout, parsed: pure functions from text or bytes to checked arrays.

Each raises InputError, in one line that names the file (``what``), for anything that it does not understand.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipflow.capture.base import SPLITS, FloatArray, FrameId
from lipflow.checks import InputError

MAX_MM = 1e6  # a kilometre: coordinates beyond it are not a head in a dome
_SEGMENT = re.compile(r"[^/\\\s\x00-\x1f]+")
_FRAME = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, eq=False)
class Calibration:
    """One camera of the KRT file: ``K (R x + t)`` maps a point of the world (mm) to pixels."""

    K: FloatArray  # [3, 3]
    R: FloatArray  # [3, 3] world -> camera
    t: FloatArray  # [3] mm


def parse_krt(text: str, what: str = "KRT") -> dict[str, Calibration]:
    """Cameras by name, from blocks of name, 3 rows of K, distortion, 3 rows of [R|t], set apart by blank lines."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines or len(lines) % 8:
        raise InputError(
            what,
            expected="blocks of 8 lines (name, 3 of K, distortion, 3 of [R|t])",
            got=f"{len(lines)} lines that are not blank",
            mend="download the file again",
        )
    cameras: dict[str, Calibration] = {}
    for first in range(0, len(lines), 8):
        number, name = lines[first]
        where = f"{what}, line {number}"
        if not _SEGMENT.fullmatch(name) or name in (".", "..") or name in cameras:
            raise InputError(where, expected="a camera's name, each once", got=repr(name[:40]))
        rows = [_numbers(line, f"{what}, line {n}") for n, line in lines[first + 1 : first + 8]]
        K = _matrix(rows[:3], 3, f"{where}: K of camera {name}")
        Rt = _matrix(rows[4:], 4, f"{where}: [R|t] of camera {name}")
        if any(rows[3]):
            raise InputError(
                f"{where}: distortion of camera {name}",
                expected="zeros (photos without lens distortion)",
                got=" ".join(f"{x:g}" for x in rows[3]),
                mend="undistort the photos and write zeros",
            )
        if not (K[0, 0] > 0 and K[1, 1] > 0 and np.allclose(K[2], [0, 0, 1]) and K[1, 0] == 0):
            raise InputError(f"{where}: K of camera {name}", expected="fx s cx / 0 fy cy / 0 0 1", got=K.tolist())
        cameras[name] = Calibration(
            K.astype(np.float32), _rotation(Rt[:, :3], f"{where}: camera {name}"), Rt[:, 3].astype(np.float32)
        )
    return cameras


def parse_transform(text: str, what: str = "transform") -> FloatArray:
    """The head's pose [3, 4], head -> world, mm."""
    rows = [_numbers(line, what) for line in text.splitlines() if line.strip()]
    if len(rows) == 4 and rows[3] == [0, 0, 0, 1]:
        rows = rows[:3]
    pose = _matrix(rows, 4, what)
    return np.concatenate([_rotation(pose[:, :3], what), pose[:, 3:].astype(np.float32)], axis=1)


def parse_vertices(data: bytes, count: int, what: str = "mesh") -> FloatArray:
    """Positions [count, 3] in mm, from flat little-endian float32."""
    if len(data) != count * 12:
        got = f"{len(data)} bytes" + (f" ({len(data) // 12} vertices)" if len(data) % 12 == 0 else "")
        raise InputError(
            what,
            expected=f"{count * 12} bytes ({count} vertices of the topology, 3 float32 each)",
            got=got,
            mend="download the file again, or use the topology that belongs to it",
        )
    vertices = np.frombuffer(data, dtype="<f4").reshape(count, 3).astype(np.float32)
    if not (np.abs(vertices) < MAX_MM).all():  # false for NaN too
        bad = int(np.argmin((np.abs(vertices) < MAX_MM).all(axis=1)))
        raise InputError(what, expected="finite coordinates in mm", got=f"{vertices[bad].tolist()} at vertex {bad}")
    return vertices


def parse_frame_list(text: str, what: str = "frame_list.txt") -> list[FrameId]:
    """``SEGMENT FRAME`` a line; a frame that is listed twice counts once."""
    frames: dict[FrameId, None] = {}
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        named = len(fields) == 2 and _SEGMENT.fullmatch(fields[0]) and fields[0] not in (".", "..")
        if not named or not _FRAME.fullmatch(fields[1]):
            raise InputError(f"{what}, line {number}", expected="SEGMENT FRAME", got=repr(line[:60]))
        frames[FrameId(fields[0], int(fields[1]))] = None
    if not frames:
        raise InputError(what, expected="at least one line SEGMENT FRAME", got="none")
    return list(frames)


def parse_variance(text: str, what: str) -> float:
    """One positive number."""
    values = _numbers(text, what)
    if len(values) != 1 or not 1e-12 < values[0] < MAX_MM**2:
        got = repr(" ".join(text.split())[:40])
        raise InputError(what, expected="one positive number", got=got, mend="delete the file to have it computed")
    return values[0]


def parse_split(text: str, segments: set[str], what: str = "split.json") -> dict[str, list[str]]:
    """Segments of train, val and test, from ``{"full": {"train": [...], "val": [...], "test": [...]}}``.

    Segments that the frame list does not name are left out (a partial download); no segment may stand twice.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(what, expected="a JSON file", got=" ".join(str(error).split())) from error
    full = body.get("full") if isinstance(body, dict) else None
    if not isinstance(full, dict):
        raise InputError(what, expected='{"full": {"train": [...], "val": [...], "test": [...]}}', got="something else")
    split: dict[str, list[str]] = {}
    seen: set[str] = set()
    for part in SPLITS:
        names = full.get(part, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{what}: {part}", expected="a list of segments", got=repr(names)[:60])
        twice = seen & set(names) or {name for name in names if names.count(name) > 1}
        if twice:
            raise InputError(f"{what}: {part}", expected="each segment once", got=f"{min(twice)} twice")
        seen |= set(names)
        split[part] = [name for name in names if name in segments]
    if not split["train"]:
        raise InputError(f"{what}: train", expected="segments of frame_list.txt", got=repr(full.get("train"))[:60])
    return split


def default_split(segments: list[str]) -> dict[str, list[str]]:
    """Hold out expressions, as the published splits do: EXP_ROM* and EXP_free_face* are the test.

    Validation is the last segment of the rest. Without those two, the test is the segment before it. A capture too
    short to hold anything out is all training.
    """
    test = [name for name in segments if name.startswith(("EXP_ROM", "EXP_free_face"))]
    rest = [name for name in segments if name not in test]
    if not rest:
        test, rest = [], segments
    val = rest[-1:] if len(rest) > 1 else []
    if not test and len(rest) > 2:
        test = rest[-2:-1]
    return {"train": [name for name in rest if name not in val + test], "val": val, "test": test}


def _numbers(line: str, what: str) -> list[float]:
    try:
        values = [float(field) for field in line.split()]
    except ValueError as error:
        raise InputError(what, expected="numbers", got=repr(line[:60])) from error
    if not all(math.isfinite(value) for value in values):
        raise InputError(what, expected="finite numbers", got=repr(line[:60]))
    return values


def _matrix(rows: list[list[float]], columns: int, what: str) -> npt.NDArray[np.float64]:
    shape = [len(row) for row in rows]
    if shape != [columns] * 3:
        raise InputError(what, expected=f"3 rows of {columns} numbers", got=f"rows of {shape[:6]}")
    matrix = np.asarray(rows, dtype=np.float64)
    if np.abs(matrix).max() > MAX_MM:
        raise InputError(what, expected=f"numbers below {MAX_MM:g}", got=f"{np.abs(matrix).max():g}")
    return matrix


def _rotation(R: npt.NDArray[np.float64], what: str) -> FloatArray:
    if np.abs(R @ R.T - np.eye(3)).max() > 0.01 or np.linalg.det(R) < 0:
        raise InputError(f"{what}: rotation", expected="an orthonormal 3x3 matrix", got=np.round(R, 3).tolist())
    return R.astype(np.float32)
