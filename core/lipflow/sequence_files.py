"""Observations in time, in files that a user gives: headset images, photographs, keypoints. A frame is read when it is
asked for.

``open_sequence`` takes

- headset images: a folder with sub-folders ``mouth``, ``left``, ``right`` (or with files named ``NAME-mouth.png``,
  ``NAME-left.png``, ``NAME-right.png`` a frame); a video with the three cameras beside each other in this order; three
  videos named as three images would be;
- keypoints: CSV with a frame a line, ``x0,y0,…,x135,y135`` in any order of columns (optionally the weights ``w0…w135``;
  others, such as ``frame``, are not read), or NPZ with ``keypoints`` [T, 136, 2] and optionally ``weights`` [T, 136] or
  [136], ``names`` [136] and ``fps``;
- photographs: a folder of images or a video, and the JSON file of their camera (beside it, or in the folder).
"""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.camera import Camera
from lipflow.capture.images import Bytes
from lipflow.checks import InputError
from lipflow.colour import DISPLAY_GAMMA
from lipflow.observation_files import (
    CAMERAS,
    HMC_NAMES,
    Keypoints,
    camera_named,
    in_camera_order,
    in_display_gamma,
    load_camera,
    name_order,
)
from lipflow.observations import HMC_VIEWS, LANDMARK_COUNT
from lipflow.picture_sequences import IMAGE_FORMATS, VIDEO_FORMATS, ImageFiles, Pictures, Video

KEYPOINT_FORMATS = (".csv", ".npz")
MAX_BYTES = 1 << 28  # of a keypoint file, also once it is unpacked
MOST_COLOUR = 24  # between the channels of a gray picture that a video encoder has been at, of 255
# What numpy's reader raises for files that hold something else.
_DAMAGE: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError)
_DAMAGE += (NotImplementedError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)

Kind = Literal["headset", "keypoints", "frontal"]


@dataclass(frozen=True, eq=False)
class Photograph:
    """A frontal picture of the face and its camera."""

    image: Tensor  # [3, H, W] linear RGB in [0, 1]
    camera: Camera  # head frame


Frame = Tensor | Keypoints | Photograph  # headset images [3, h, w] in [0, 1] (mouth, left, right), or as named


class FrameSequence(Protocol):
    """An observation a frame."""

    kind: ClassVar[Kind]

    @property
    def length(self) -> int: ...

    @property
    def fps(self) -> float | None:
        """Frames a second, where that is known."""
        ...

    def frame(self, index: int) -> Frame:
        """Read frame ``index``, from 0.

        Raises:
            InputError: if it cannot be read.
        """
        ...

    def names(self, index: int) -> tuple[str, ...]:
        """What a person calls the frame's pictures."""
        ...

    def close(self) -> None:
        """Let go of what reading keeps open."""
        ...


@dataclass(frozen=True, eq=False)
class HeadsetSequence:
    """Three headset images a frame, from three lists of pictures or from one with the three beside each other.

    Raises:
        InputError: lists that differ in length or size, or a width that is not three times another.
    """

    kind: ClassVar[Kind] = "headset"

    cameras: tuple[Pictures, ...]  # mouth, left, right; or one with all of them
    what: str = "headset images"

    def __post_init__(self) -> None:
        first = self.cameras[0]
        if len(self.cameras) == 1:
            if first.size[1] % HMC_VIEWS:
                mend = "put mouth, left and right beside each other, each as wide"
                raise InputError(f"{self.what}: width", expected="a multiple of 3", got=first.size[1], mend=mend)
            return
        counts = ", ".join(f"{camera.length} of the {name}" for name, camera in zip(HMC_NAMES, self.cameras))
        if any(camera.length != first.length for camera in self.cameras):
            raise InputError(self.what, expected="equally many images of each camera", got=counts)
        sizes = ", ".join(f"{camera.size[1]} × {camera.size[0]}" for camera in self.cameras)
        if any(camera.size != first.size for camera in self.cameras):
            raise InputError(self.what, expected="images of one size", got=sizes)

    @property
    def length(self) -> int:
        return self.cameras[0].length

    @property
    def fps(self) -> float | None:
        return self.cameras[0].fps

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of one camera's image."""
        height, width = self.cameras[0].size
        return height, width // HMC_VIEWS if len(self.cameras) == 1 else width

    def frame(self, index: int) -> Tensor:
        """Headset images [3, h, w] in [0, 1]."""
        pictures = [self._gray(camera, index) for camera in self.cameras]
        beside = pictures if len(pictures) == HMC_VIEWS else np.split(pictures[0], HMC_VIEWS, axis=1)
        return torch.from_numpy(np.stack(beside))

    def names(self, index: int) -> tuple[str, ...]:
        if len(self.cameras) == HMC_VIEWS:
            return tuple(camera.name(index) for camera in self.cameras)
        return tuple(f"{name}, {self.cameras[0].name(index)}" for name in HMC_NAMES)

    def close(self) -> None:
        for camera in self.cameras:
            camera.close()

    def _gray(self, camera: Pictures, index: int) -> npt.NDArray[np.float32]:
        picture = camera.read(index)
        spread = int((picture.max(0) - picture.min(0)).max())
        if spread > (MOST_COLOUR if camera.lossy else 0):
            raise InputError(f"headset image {camera.name(index)}", expected="a gray image", got="a colour image")
        return _unit(picture[1])


@dataclass(frozen=True, eq=False)
class PhotographSequence:
    """Photographs that one camera took.

    Raises:
        InputError: if the pictures are not of the camera's size.
    """

    kind: ClassVar[Kind] = "frontal"

    pictures: Pictures
    camera: Camera
    display_gamma: bool  # whether they are ordinary pictures; a capture's are linear
    what: str = "photographs"

    def __post_init__(self) -> None:
        if self.pictures.size != self.camera.size:
            expected = f"{self.camera.size[1]} × {self.camera.size[0]} pixels as its camera has"
            raise InputError(self.what, expected=expected, got=f"{self.pictures.size[1]} × {self.pictures.size[0]}")

    @property
    def length(self) -> int:
        return self.pictures.length

    @property
    def fps(self) -> float | None:
        return self.pictures.fps

    def frame(self, index: int) -> Photograph:
        """A photograph in linear RGB and its camera."""
        values = torch.from_numpy(_unit(self.pictures.read(index)))
        return Photograph(values**DISPLAY_GAMMA if self.display_gamma else values, self.camera)

    def names(self, index: int) -> tuple[str, ...]:
        return (self.pictures.name(index),)

    def close(self) -> None:
        self.pictures.close()


@dataclass(frozen=True, eq=False)
class KeypointSequence:
    """136 keypoints a frame, as positions divided by the image's width and height.

    Raises:
        InputError: not T × 136 × 2, no frame, a coordinate that is no number in [0, 1], a weight below 0.
    """

    kind: ClassVar[Kind] = "keypoints"

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


def is_sequence(paths: Sequence[Path]) -> bool:
    """Whether files are meant as a sequence, well or badly: a look at names and at a CSV's first line, no more."""
    camera, pictures = _camera_apart(paths)
    if len(pictures) == 1 and pictures[0].is_dir():
        return bool(_Folder.of(pictures[0]).anything)
    if pictures and all(path.suffix.lower() in VIDEO_FORMATS for path in pictures):
        return True
    return camera is None and len(pictures) == 1 and _lists_keypoints(pictures[0])


def open_sequence(paths: Sequence[Path], landmarks: Sequence[str] | None = None) -> FrameSequence:
    """Open what this module's beginning lists. ``landmarks`` are the avatar's names, for keypoints that are named.

    Raises:
        InputError: files that are no sequence; unequal counts; sizes that change; a file that cannot be read.
    """
    camera, pictures = _camera_apart(paths)
    if len(pictures) == 1 and pictures[0].suffix.lower() in KEYPOINT_FORMATS and camera is None:
        return _open_keypoints(pictures[0], landmarks)
    if len(pictures) == 1 and pictures[0].is_dir():
        return _open_folder(pictures[0], camera)
    if pictures and all(path.suffix.lower() in VIDEO_FORMATS for path in pictures):
        return _open_videos(pictures, camera, " and ".join(path.name for path in pictures))
    expected = "a folder of images, a video, three videos, or keypoints (.csv, .npz)"
    raise InputError("sequence", expected=expected, got=", ".join(path.name for path in paths) or "nothing")


# Folders and videos


@dataclass(frozen=True)
class _Folder:
    """What a folder holds that may be a sequence."""

    path: Path
    cameras: dict[str, Path] = field(default_factory=dict)  # sub-folders, by the camera that they are named after
    images: tuple[Path, ...] = ()
    videos: tuple[Path, ...] = ()
    json: tuple[Path, ...] = ()

    @staticmethod
    def of(path: Path) -> _Folder:
        try:
            inside = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
        except OSError as error:
            raise InputError(f"folder {path}", expected="one that can be read", got=error.strerror) from error
        named = [(camera_named(entry.name), entry) for entry in inside if entry.is_dir()]
        return _Folder(
            path,
            {camera: entry for camera, entry in named if camera is not None},
            _of_format(inside, IMAGE_FORMATS),
            _of_format(inside, VIDEO_FORMATS),
            _of_format(inside, (".json",)),
        )

    @property
    def anything(self) -> bool:
        return bool(self.cameras or self.images or self.videos)


def _open_folder(path: Path, camera: Path | None) -> FrameSequence:
    folder = _Folder.of(path)
    what = f"sequence {path}"
    if camera is None and len(folder.json) == 1 and not folder.cameras:
        camera = folder.json[0]
    if camera is not None and folder.images:
        gamma = in_display_gamma(folder.images[0], camera)
        return PhotographSequence(ImageFiles(folder.images), load_camera(camera), gamma, what)
    if folder.cameras:
        missing = [name for name in CAMERAS if name not in folder.cameras]
        if missing:
            raise InputError(what, expected="folders mouth, left and right", got=f"none for {' and '.join(missing)}")
        inside = {name: _Folder.of(entry).images for name, entry in folder.cameras.items()}
        return _of_three(inside, what)
    if folder.images:
        return _of_three(_by_camera(folder.images, what), what)
    if folder.videos:
        return _open_videos(folder.videos, camera, what)
    expected = "folders mouth, left, right of images, images NAME-mouth, NAME-left, NAME-right, or videos"
    raise InputError(what, expected=expected, got="none of them")


def _of_three(files: dict[str, tuple[Path, ...]], what: str) -> HeadsetSequence:
    for name, images in files.items():
        if not images:
            raise InputError(what, expected="images of each camera", got=f"none of {name}")
    return HeadsetSequence(tuple(ImageFiles(files[name]) for name in CAMERAS), what)


def _by_camera(images: Sequence[Path], what: str) -> dict[str, tuple[Path, ...]]:
    """Images named NAME-mouth, NAME-left, NAME-right, apart; each NAME must be there three times."""
    moments: dict[str, dict[str, Path]] = {}
    for image in images:
        camera = camera_named(image.stem)
        if camera is None:
            mend = "name images NAME-mouth, NAME-left, NAME-right; photographs need their camera's JSON beside them"
            raise InputError(what, expected="each image named after its camera", got=image.name, mend=mend)
        rest = image.stem.lower().replace(camera, "").replace("eye", "").strip(" -_.")
        moments.setdefault(rest, {})[camera] = image
    for name, three in moments.items():
        missing = [camera for camera in CAMERAS if camera not in three]
        if missing:
            got = f"none of {' and '.join(missing)} for {name or next(iter(three.values())).stem!r}"
            raise InputError(what, expected="three images a frame", got=got)
    return {camera: tuple(three[camera] for three in moments.values()) for camera in CAMERAS}


def _open_videos(files: Sequence[Path], camera: Path | None, what: str) -> FrameSequence:
    if camera is not None and len(files) == 1:
        gamma = in_display_gamma(files[0], camera)
        return PhotographSequence(Video(files[0]), load_camera(camera), gamma, what)
    if camera is not None or len(files) not in (1, HMC_VIEWS):
        expected = f"one video with the three cameras beside each other, or {HMC_VIEWS} videos"
        raise InputError(what, expected=expected, got=f"{len(files)} videos{' and a camera' if camera else ''}")
    opened: list[Video] = []
    try:
        for file in in_camera_order(list(files)):
            opened.append(Video(file))
        return HeadsetSequence(tuple(opened), what)
    except InputError:
        for video in opened:
            video.close()
        raise


def _camera_apart(paths: Sequence[Path]) -> tuple[Path | None, list[Path]]:
    """The JSON file of a camera, and the others."""
    json = [path for path in paths if path.suffix.lower() == ".json" and not path.is_dir()]
    if len(json) != 1 or len(paths) < 2:
        return None, list(paths)
    return json[0], [path for path in paths if path != json[0]]


def _of_format(paths: Sequence[Path], suffixes: tuple[str, ...]) -> tuple[Path, ...]:
    return tuple(path for path in paths if path.suffix.lower() in suffixes and path.is_file())


def _unit(picture: Bytes) -> npt.NDArray[np.float32]:
    return picture.astype(np.float32) / np.float32(255)


# Keypoints


def _lists_keypoints(path: Path) -> bool:
    """Whether a file holds keypoints in time: an NPZ, or a CSV with a frame a line."""
    if path.suffix.lower() != ".csv":
        return path.suffix.lower() in KEYPOINT_FORMATS
    try:
        with path.open("rb") as file:
            return file.readline(1 << 20).count(b",") >= 2 * LANDMARK_COUNT - 1
    except OSError:
        return False


def _open_keypoints(path: Path, landmarks: Sequence[str] | None) -> KeypointSequence:
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
