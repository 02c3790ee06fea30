"""Observations in files that a user gives: keypoints, headset images, photographs, cameras.

Whatever the file holds, the answer is what it means or one InputError.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.camera import Camera
from lipflow.capture.images import MAX_PIXELS, read_rgb
from lipflow.checks import InputError
from lipflow.colour import DISPLAY_GAMMA
from lipflow.files import replacing, write_json
from lipflow.observations import HMC_VIEWS, LANDMARK_COUNT
from lipflow.picture_sequences import VIDEO_FORMATS

HMC_NAMES = ("mouth", "left eye", "right eye")
CAMERAS = ("mouth", "left", "right")  # what names of files say of the headset's cameras
KEYPOINT_SUFFIXES = (".json", ".csv")
CSV_COLUMNS = ("x", "y", "weight", "name")
JPEG = (".jpg", ".jpeg")  # of ordinary pictures; captures and renderers write PNG and TIFF
MAX_TEXT_BYTES = 1 << 20
MAX_NOT_RIGID = 1e-2  # how far RᵀR may be from the identity


@dataclass(frozen=True, eq=False)
class Keypoints:
    """Landmarks of one image, as a file gives them."""

    points: Tensor  # [136, 2] column / width, row / height, in [0, 1]
    weights: Tensor  # [136], 1 where the file gives none


def load_keypoints(path: Path, names: Sequence[str] | None = None) -> Keypoints:
    """Read 136 keypoints from a JSON or CSV file.

    JSON: ``[[x, y], …]`` or ``{"keypoints": [[x, y], …], "weights": […], "names": […]}`` (the last two optional).
    CSV: rows ``x,y``, or columns named ``x``, ``y`` and optionally ``weight`` and ``name`` in a first line. When both
    the file and ``names`` (the avatar's landmarks) name the keypoints, the file's may come in any order.

    Raises:
        InputError: an unreadable file; not 136 × 2; a coordinate that is no number in [0, 1]; unknown names.
    """
    what, text = f"keypoints {path}", _read_text(path, "keypoints")
    kind = path.suffix.lower()
    if kind not in KEYPOINT_SUFFIXES:
        raise InputError(what, expected="a .json or .csv file", got=repr(kind))
    points, weights, given_names = _from_json(text, what) if kind == ".json" else _from_csv(text, what)
    xy = _numbers(points, (LANDMARK_COUNT, 2), what)
    if xy.min() < 0 or xy.max() > 1:
        worst = int(np.abs(xy - 0.5).max(1).argmax())
        mend = "divide columns by the image's width and rows by its height"
        got = f"({xy[worst, 0]:.4g}, {xy[worst, 1]:.4g}) for keypoint {worst}"
        raise InputError(what, expected="coordinates in [0, 1]", got=got, mend=mend)
    w = np.ones(LANDMARK_COUNT, np.float32) if weights is None else _numbers(weights, (LANDMARK_COUNT,), what)
    if w.min() < 0:
        raise InputError(what, expected="weights of at least 0", got=f"{w.min():.4g}")
    if given_names is not None and names is not None:
        order = name_order(given_names, names, what)
        xy, w = xy[order], w[order]
    return Keypoints(torch.from_numpy(xy), torch.from_numpy(w))


def save_keypoints(path: Path, keypoints: Tensor, weights: Tensor, names: Sequence[str] | None = None) -> None:
    """Write keypoints [136, 2] and weights [136] to a JSON or CSV file so that ``load_keypoints`` reads them.

    Raises:
        InputError: a file with another suffix.
    """
    kind = path.suffix.lower()
    if kind not in KEYPOINT_SUFFIXES:
        raise InputError(f"keypoints {path}", expected="a .json or .csv file", got=repr(kind))
    if kind == ".csv":
        columns = [*keypoints.T.tolist(), weights.tolist(), *([] if names is None else [names])]
        with replacing(path) as beside, beside.open("w", newline="") as file:
            csv.writer(file).writerows([CSV_COLUMNS[: len(columns)], *zip(*columns)])
    else:
        body = {"keypoints": keypoints.tolist(), "weights": weights.tolist()}
        write_json(path, body | ({} if names is None else {"names": list(names)}))


def load_hmc(paths: Sequence[Path], size: tuple[int, int]) -> Tensor:
    """Read three headset images (mouth, left eye, right eye): [3, h, w] in [0, 1], the files' 8-bit value / 255.

    A colour file is taken when its channels are equal. ``size`` is (height, width).

    Raises:
        InputError: not three files, a file that is no such image, or another size.
    """
    if len(paths) != HMC_VIEWS:
        raise InputError("headset images", expected=f"{HMC_VIEWS} files ({', '.join(HMC_NAMES)})", got=len(paths))
    images = []
    for name, path in zip(HMC_NAMES, paths):
        pixels = read_rgb(Path(path), size=size)
        if (pixels != pixels[:1]).any():
            raise InputError(f"headset image of the {name} {path}", expected="a grey image", got="a colour image")
        images.append(pixels[0])
    return torch.from_numpy(np.stack(images).astype(np.float32) / 255)


def camera_named(name: str) -> str | None:
    """Which of ``CAMERAS`` a file or folder is named after; None where none or several stand in its name."""
    named = [camera for camera in CAMERAS if camera in name.lower()]
    return named[0] if len(named) == 1 else None


def in_camera_order(files: list[Path]) -> list[Path]:
    """Sort files named after their cameras as mouth, left, right; keep the given order where names do not say."""
    named = {camera_named(file.stem): file for file in files}
    return [named[camera] for camera in CAMERAS] if named.keys() == set(CAMERAS) and len(files) == HMC_VIEWS else files


def load_frontal(path: Path, size: tuple[int, int], *, display_gamma: bool = False) -> Tensor:
    """Read a colour photograph: [3, H, W] linear RGB in [0, 1]. ``size`` is its camera's (height, width).

    The files of a capture are linear; ``display_gamma`` says that this one is in display gamma and undoes it.

    Raises:
        InputError: a file that is no colour image, or another size.
    """
    pixels = read_rgb(Path(path), size=size)
    if (pixels == pixels[:1]).all():
        raise InputError(f"frontal image {path}", expected="a colour image", got="a grey image")
    values = torch.from_numpy(pixels.astype(np.float32) / 255)
    return values**DISPLAY_GAMMA if display_gamma else values


def in_display_gamma(image: Path, camera: Path) -> bool:
    """Whether a photograph is in display gamma, not linear: as its camera's file says (``"gamma": true`` or ``false``);
    where that says nothing, a JPEG or a video is, any other file is not.

    Raises:
        InputError: a camera's file that cannot be read, or a gamma that is neither.
    """
    body = _camera_body(camera)
    said = body.get("gamma", image.suffix.lower() in (*JPEG, *VIDEO_FORMATS))
    if not isinstance(said, bool):
        raise InputError(f"camera {camera}: gamma", expected="true or false", got=_shortly(said))
    return said


def load_camera(path: Path) -> Camera:
    """Read one camera from JSON: ``{"K": 3×3, "R": 3×3, "t": [3], "size": [height, width]}``; ``in_display_gamma``
    reads what it may say of its photograph.

    In the convention of ``lipflow.camera``: millimetres, head frame -> camera frame (x right, y down, z forward),
    pixel centres at whole numbers.

    Raises:
        InputError: an unreadable file, a missing field, a K that is no pinhole's, an R that is no rotation.
    """
    what, body = f"camera {path}", _camera_body(path)
    K, R = (_numbers(body[name], (3, 3), f"{what}: {name}") for name in ("K", "R"))
    t, size = _numbers(body["t"], (3,), f"{what}: t"), _numbers(body["size"], (2,), f"{what}: size")
    height, width = (int(s) for s in size)
    if (size != [height, width]).any() or not (height > 0 and width > 0 and height * width <= MAX_PIXELS):
        raise InputError(f"{what}: size", expected="[height, width] in pixels", got=_shortly(body["size"]))
    if not (K[0, 0] > 0 and K[1, 1] > 0 and abs(K[2, 2] - 1) < 1e-6 and not K[2, :2].any() and K[1, 0] == 0):
        raise InputError(f"{what}: K", expected="[[f, s, c], [0, f, c], [0, 0, 1]], f > 0", got=_shortly(body["K"]))
    if np.abs(R.T @ R - np.eye(3)).max() > MAX_NOT_RIGID or np.linalg.det(R) < 0:
        raise InputError(f"{what}: R", expected="a rotation matrix", got=_shortly(body["R"]))
    return Camera(torch.from_numpy(K), torch.from_numpy(R), torch.from_numpy(t), (height, width))


def _camera_body(path: Path) -> dict[str, object]:
    body = _parse_json(_read_text(path, "camera"), f"camera {path}")
    if not isinstance(body, dict) or not {"K", "R", "t", "size"} <= body.keys():
        raise InputError(f"camera {path}", expected="an object with K, R, t and size", got=_shortly(body))
    return body


def _read_text(path: Path, kind: str) -> str:
    what = f"{kind} {path}"
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_TEXT_BYTES + 1)
        if len(raw) > MAX_TEXT_BYTES:
            raise InputError(what, expected=f"at most {MAX_TEXT_BYTES} bytes", got="a larger file")
        return raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(what, expected="a readable text file", got=error) from error


def _parse_json(text: str, what: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(what, expected="JSON", got=error) from error


def _from_json(text: str, what: str) -> tuple[object, object | None, object | None]:
    body = _parse_json(text, what)
    if isinstance(body, list):
        return body, None, None
    if isinstance(body, dict) and "keypoints" in body:
        return body["keypoints"], body.get("weights"), body.get("names")
    raise InputError(what, expected='[[x, y], …] or {"keypoints": [[x, y], …]}', got=_shortly(body))


def _from_csv(text: str, what: str) -> tuple[object, object | None, object | None]:
    try:
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(what, expected="comma-separated values", got=error) from error
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if not {"x", "y"} <= set(header):
        return rows, None, None
    columns: dict[str, list[str]] = {name: [] for name in header}
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(header):
            raise InputError(f"{what}, row {number}", expected=f"{len(header)} values", got=len(row))
        for name, cell in zip(header, row):
            columns[name].append(cell.strip())
    return [list(xy) for xy in zip(columns["x"], columns["y"])], columns.get("weight"), columns.get("name")


def _numbers(values: object, shape: tuple[int, ...], what: str) -> npt.NDArray[np.float32]:
    """Finite numbers of that shape from nested lists of unknown origin (numbers or their text)."""
    expected = " × ".join(map(str, shape)) + " finite numbers"

    def walk(value: object, depth: int) -> list[float]:
        if depth == len(shape):
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise InputError(what, expected=expected, got=_shortly(value))
            try:
                number = float(np.float32(float(value)))
            except (ValueError, OverflowError):
                raise InputError(what, expected=expected, got=_shortly(value)) from None
            if not math.isfinite(number):
                raise InputError(what, expected=expected, got=_shortly(value))
            return [number]
        if not isinstance(value, list):
            raise InputError(what, expected=expected, got=_shortly(value))
        if len(value) != shape[depth]:
            where = "entries" if depth == 0 else "numbers in an entry"
            raise InputError(what, expected=expected, got=f"{len(value)} {where}")
        return [number for item in value for number in walk(item, depth + 1)]

    with np.errstate(over="ignore"):
        return np.asarray(walk(values, 0), np.float32).reshape(shape)


def name_order(given: object, wanted: Sequence[str], what: str) -> npt.NDArray[np.int64]:
    """Positions in a file's names of the wanted ones.

    Raises:
        InputError: if they are not the same names, each once.
    """
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise InputError(what, expected="a list of names", got=_shortly(given))
    position = {name: i for i, name in enumerate(given)}
    missing = [name for name in wanted if name not in position]
    if missing or len(position) != len(wanted) or len(given) != len(wanted):
        got = f"{len(given)} names" + (f" without {missing[0]!r}" if missing else ", some twice")
        raise InputError(what, expected=f"the avatar's {len(wanted)} landmark names", got=got)
    return np.asarray([position[name] for name in wanted], np.int64)


def _shortly(value: object) -> str:
    text = repr(value)[:60] if not isinstance(value, dict | list) else ""
    return text or f"{type(value).__name__} of {len(value)}"  # type: ignore[arg-type]
