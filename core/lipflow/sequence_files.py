"""Observations in time, in files that a user gives: headset images, photographs, keypoints. A frame is read when it is
asked for.

``open_sequence`` takes

- headset images: a folder with sub-folders ``mouth``, ``left``, ``right`` (or with files named ``NAME-mouth.png``,
  ``NAME-left.png``, ``NAME-right.png`` a frame), or those files; a video with the three cameras beside each other in
  this order; three videos named as three images would be;
- keypoints: CSV with a frame a line, ``x0,y0,…,x135,y135`` in any order of columns (optionally the weights ``w0…w135``;
  others, such as ``frame``, are not read), or NPZ with ``keypoints`` [T, 136, 2] and optionally ``weights`` [T, 136] or
  [136], ``names`` [136] and ``fps``;
- photographs: a folder of images, images or a video, and the JSON file of their camera (beside it, or in the folder).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.camera import Camera
from lipflow.capture.images import Bytes
from lipflow.checks import InputError
from lipflow.colour import DISPLAY_GAMMA
from lipflow.keypoint_sequences import KEYPOINT_FORMATS, lists_keypoints, open_keypoints
from lipflow.observation_files import (
    CAMERAS,
    HMC_NAMES,
    Keypoints,
    camera_named,
    in_camera_order,
    in_display_gamma,
    load_camera,
)
from lipflow.observations import HMC_VIEWS
from lipflow.picture_sequences import IMAGE_FORMATS, VIDEO_FORMATS, ImageFiles, Pictures, Video

MOST_COLOUR = 24  # between the channels of a grey picture that a video encoder has been at, of 255


@dataclass(frozen=True, eq=False)
class Photograph:
    """A frontal picture of the face and its camera."""

    image: Tensor  # [3, H, W] linear RGB in [0, 1]
    camera: Camera  # head frame


Frame = Tensor | Keypoints | Photograph  # headset images [3, h, w] in [0, 1] (mouth, left, right), or as named


class FrameSequence(Protocol):
    """An observation a frame."""

    kind: ClassVar[str]
    """One of headset, keypoints, frontal."""

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

    kind: ClassVar[str] = "headset"

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
            raise InputError(f"headset image {camera.name(index)}", expected="a grey image", got="a colour image")
        return _unit(picture[1])


@dataclass(frozen=True, eq=False)
class PhotographSequence:
    """Photographs that one camera took.

    Raises:
        InputError: if the pictures are not of the camera's size.
    """

    kind: ClassVar[str] = "frontal"

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


def is_sequence(paths: Sequence[Path]) -> bool:
    """Whether files are meant as a sequence, well or badly: a look at names and at a CSV's first line, no more."""
    camera, pictures = _camera_apart(paths)
    if len(pictures) == 1 and pictures[0].is_dir():
        return bool(_Folder.of(pictures[0]).anything)
    if _are(pictures, VIDEO_FORMATS):
        return True
    if _are(pictures, IMAGE_FORMATS):
        return len(pictures) > (HMC_VIEWS if camera is None else 1)  # fewer are one frame
    return camera is None and len(pictures) == 1 and lists_keypoints(pictures[0])


def open_sequence(paths: Sequence[Path], landmarks: Sequence[str] | None = None) -> FrameSequence:
    """Open what this module's beginning lists. ``landmarks`` are the avatar's names, for keypoints that are named.

    Raises:
        InputError: files that are no sequence; unequal counts; sizes that change; a file that cannot be read.
    """
    camera, pictures = _camera_apart(paths)
    if len(pictures) == 1 and pictures[0].suffix.lower() in KEYPOINT_FORMATS and camera is None:
        return open_keypoints(pictures[0], landmarks)
    if len(pictures) == 1 and pictures[0].is_dir():
        return _open_folder(pictures[0], camera)
    if _are(pictures, VIDEO_FORMATS):
        return _open_videos(pictures, camera, " and ".join(path.name for path in pictures))
    if _are(pictures, IMAGE_FORMATS):
        return _open_images(pictures, camera, f"sequence of {len(pictures)} images")
    expected = "a folder of images, images, a video, three videos, or keypoints (.csv, .npz)"
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
        return _open_images(folder.images, camera, what)
    if folder.cameras and camera is not None:
        raise InputError(what, expected="photographs beside a camera", got=f"headset images and {camera.name}")
    if folder.cameras:
        missing = [name for name in CAMERAS if name not in folder.cameras]
        if missing:
            raise InputError(what, expected="folders mouth, left and right", got=f"none for {' and '.join(missing)}")
        inside = {name: _Folder.of(entry).images for name, entry in folder.cameras.items()}
        return _of_three(inside, what)
    if folder.images:
        return _open_images(folder.images, camera, what)
    if folder.videos:
        return _open_videos(folder.videos, camera, what)
    expected = "folders mouth, left, right of images, images NAME-mouth, NAME-left, NAME-right, or videos"
    raise InputError(what, expected=expected, got="none of them")


def _open_images(images: Sequence[Path], camera: Path | None, what: str) -> FrameSequence:
    if camera is None:
        return _of_three(_by_camera(images, what), what)
    return PhotographSequence(ImageFiles(images), load_camera(camera), in_display_gamma(images[0], camera), what)


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


def _are(paths: Sequence[Path], suffixes: tuple[str, ...]) -> bool:
    return bool(paths) and all(path.suffix.lower() in suffixes for path in paths)


def _of_format(paths: Sequence[Path], suffixes: tuple[str, ...]) -> tuple[Path, ...]:
    return tuple(path for path in paths if path.suffix.lower() in suffixes and path.is_file())


def _unit(picture: Bytes) -> npt.NDArray[np.float32]:
    return picture.astype(np.float32) / np.float32(255)
