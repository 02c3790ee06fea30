"""What the capture browser's threads do: open a capture, read its frames, shrink photos, judge a fit. Torch lives here.

Plain functions and generators; see :mod:`lipflow_studio.workers` for how they run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.capture import CheckReport, FrameId, MultifaceCapture, check_capture, images, open_capture
from lipflow.capture.check import ViewCheck
from lipflow.capture.headset import Headset, mean_head_pose
from lipflow.checks import InputError
from lipflow.colour import to_picture
from lipflow.evaluation.metrics import psnr, vertex_error_mm
from lipflow.observations import render_views
from lipflow_studio.document import (
    PLAIN,
    AvatarInfo,
    ByteArray,
    CaptureFrame,
    FloatArray,
    FrontalImage,
    HeadsetImages,
    HeadsetRecipe,
    KeypointSet,
)
from lipflow_studio.orbit import Orbit, through
from lipflow_studio.workers import Waiting

THUMBNAIL = 56  # pixels of height, as it is shown
SHARPNESS = 2  # pixels that are made of each: as many has a screen at 200 %
SEEN = 1.0  # weight of a keypoint that a camera saw
PHOTO_HEIGHT = 640  # pixels at most of a photo that is fitted to: a dome's have many more than the fit can use

Beside = HeadsetImages | KeypointSet  # what can drive a prior
Given = Beside | FrontalImage  # what a frame gives the fit to see


@dataclass(frozen=True)
class SegmentInfo:
    """An expression or sentence, and its frames."""

    name: str
    split: str  # "train", "val" or "test"
    frames: tuple[FrameId, ...]


@dataclass(frozen=True)
class CaptureInfo:
    """What the browser shows of a capture."""

    root: Path
    name: str
    segments: tuple[SegmentInfo, ...]
    cameras: tuple[str, ...]
    frontal: str  # the camera that looks most frontally
    photo_size: tuple[int, int]  # height, width
    texture_size: int
    vertices: int
    landmarks: int
    missing: int  # files that it names but that are not here
    viewpoints: Mapping[str, Orbit]  # the viewer in the place of each camera, before the mean head

    @property
    def frames(self) -> int:
        return sum(len(segment.frames) for segment in self.segments)

    def segment_of(self, id: FrameId) -> SegmentInfo | None:
        """The segment of a frame; None where it is none of this capture."""
        return next((s for s in self.segments if s.name == id.segment and id in s.frames), None)


@dataclass(frozen=True, eq=False)
class Truth:
    """What a frame really looked like, for comparison with what is fitted to a part of it."""

    id: FrameId
    vertices: FloatArray  # [V, 3] mm, head frame
    photo: FloatArray  # [3, H, W] linear RGB
    mask: FloatArray | None  # [H, W] 1 on the head; None: the capture has none
    camera: Camera  # of the photo, head frame
    camera_name: str
    cameras: int  # that have a photo of it


@dataclass(frozen=True)
class Figures:
    """How far the shown face is from the truth."""

    id: FrameId
    psnr_db: float  # under the truth's camera, inside the mask, in display gamma
    mesh_mm: float | None  # mean distance of the vertices; None: another mesh


@dataclass(frozen=True, eq=False)
class FrameRequest:
    """A frame to be read as an observation for an avatar."""

    capture: MultifaceCapture
    info: CaptureInfo
    id: FrameId
    kind: str  # a key of READERS
    avatar: Avatar
    about: AvatarInfo
    recipe: HeadsetRecipe  # of headset images
    truth: bool = True  # whether the truth is wanted too


@dataclass(frozen=True, eq=False)
class LoadedFrame:
    """A frame as an observation, and its truth; or why it cannot be read."""

    id: FrameId
    kind: str  # what it was read as
    about: AvatarInfo  # whom it was made for
    given: Given | None
    truth: Truth | None
    error: Exception | None = None
    beside: Mapping[str, Beside | None] = field(default_factory=dict)
    """Of a photo, what drives the avatar's prior: a field of the document."""


@dataclass(frozen=True, eq=False)
class Checked:
    """The import check's report, and its pictures."""

    report: CheckReport
    pictures: tuple[tuple[str, ByteArray, ByteArray], ...]  # view, mesh on the photo, photo | render | difference
    shown: tuple[ViewCheck, ...]  # their figures


@dataclass(frozen=True, eq=False)
class FigureRequest:
    """A code to be judged."""

    avatar: Avatar
    code: FloatArray  # [Z]
    truth: Truth


def open_for_browsing(root: Path) -> tuple[MultifaceCapture, CaptureInfo]:
    """Open a capture, with its statistics read and its frontal camera found.

    Raises:
        InputError: if it is no capture.
    """
    capture = open_capture(root)
    _ = capture.statistics  # slow where they have to be computed; read once, here in the thread
    pose = mean_head_pose(capture)
    photographed = {name for id in capture.frames for name in capture.photo_cameras(id)}
    cameras = tuple(name for name in capture.cameras if name in photographed)
    frontal = max(cameras, key=lambda name: float(capture.cameras[name].in_head_frame(pose).view[2]))
    split = {id.segment: part for part, ids in capture.split.items() for id in ids}
    by_segment: dict[str, list[FrameId]] = {}
    for id in capture.frames:
        by_segment.setdefault(id.segment, []).append(id)
    segments = tuple(SegmentInfo(name, split.get(name, "–"), tuple(ids)) for name, ids in by_segment.items())
    info = CaptureInfo(
        root=capture.root,
        name=capture.name,
        segments=segments,
        cameras=cameras,
        frontal=frontal,
        photo_size=capture.photo_size,
        texture_size=capture.texture_size,
        vertices=capture.topology.vertex_count,
        landmarks=0 if capture.landmarks is None else len(capture.landmarks.ids),
        missing=len(capture.missing),
        viewpoints={name: through(capture.cameras[name].in_head_frame(pose)) for name in cameras},
    )
    return capture, info


def thumbnails(
    capture: MultifaceCapture, info: CaptureInfo
) -> Generator[tuple[FrameId, ByteArray | None] | Waiting, tuple[FrameId, ...] | None, None]:
    """Shrinks the photos of those frames that are in sight, the last message's first; None for one that is damaged."""
    wanted: list[FrameId] = []
    while True:
        if not wanted:
            wanted = list((yield Waiting()) or ())
            continue
        id = wanted.pop(0)
        message = yield id, _thumbnail(capture, info, id)
        wanted = wanted if message is None else list(message)


def frames() -> Generator[LoadedFrame | Waiting, FrameRequest | None, None]:
    """Reads the frames that are asked for."""
    reader = _Reader()
    request: FrameRequest | None = None
    while True:
        if request is None:
            request = yield Waiting()
            continue
        try:
            loaded = LoadedFrame(
                request.id,
                request.kind,
                request.about,
                given=READERS[request.kind](reader, request),
                truth=_truth(request) if request.truth else None,
                beside=reader.beside_photo(request) if request.kind == "frontal" else {},
            )
        except InputError as error:
            loaded = LoadedFrame(request.id, request.kind, request.about, None, None, error)
        request = yield loaded


def figures() -> Generator[Figures | Waiting, FigureRequest | None, None]:
    """Judges the codes that are sent."""
    request: FigureRequest | None = None
    while True:
        request = (yield Waiting()) if request is None else (yield judge(request))


@torch.no_grad()
def judge(request: FigureRequest) -> Figures:
    """A code's face against the truth."""
    avatar, truth = request.avatar, request.truth
    code = torch.from_numpy(request.code).to(avatar.vertex_mean.device)[None]
    vertices = avatar.decode_mesh(code)
    mesh = None
    if vertices.shape[1] == len(truth.vertices):
        mesh = float(vertex_error_mm(vertices, torch.from_numpy(truth.vertices).to(vertices)[None]))
    camera = Camera(truth.camera.K[None], truth.camera.R[None], truth.camera.t[None], truth.camera.size)
    rgb, covered = render_views(avatar, code, camera.to(code.device))
    mask = covered[:, 0] if truth.mask is None else torch.from_numpy(truth.mask).to(rgb)[None]
    photo = torch.from_numpy(truth.photo).to(rgb)[None]
    return Figures(truth.id, float(psnr(rgb[:, 0], photo, mask)), mesh)


def check(root: Path) -> Checked:
    """The import check with its pictures; nothing of it stays on the disk.

    Raises:
        InputError: if it is no capture.
    """
    with tempfile.TemporaryDirectory(prefix="lipflow-check-") as folder:
        report = check_capture(root, folder)
        drawn = [
            (view, _read(view.overlay), _read(view.comparison))
            for view in report.views
            if view.overlay is not None and view.comparison is not None
        ]
    pictures = tuple((f"camera {view.camera} · {view.frame}", mesh, render) for view, mesh, render in drawn)
    return Checked(report, pictures, tuple(view for view, _, _ in drawn))


class _Reader:
    """Makes observations of frames; keeps what makes headset images, which takes a second to prepare, and the last
    frame's textures, from which they can be drawn otherwise."""

    def __init__(self) -> None:
        self._headset: Headset | None = None
        self._read: tuple[FrameId, Tensor, Tensor] | None = None  # mesh [V, 3] and textures [3, 3, T, T]

    def headset_images(self, request: FrameRequest) -> HeadsetImages:
        size = request.about.headset_size
        if size is None:
            mend = "open one that knows a headset, or load keypoints"
            raise InputError("headset images", expected="an avatar with headset cameras", got="one without", mend=mend)
        kept, id, recipe = self._headset, request.id, request.recipe
        if kept is None or kept.capture is not request.capture or kept.cameras.size != size:
            kept, self._read = Headset(request.capture, size=size), None
            self._headset = kept
        if self._read is None or self._read[0] != id:
            frame = request.capture.frame(id, photos=(), textures=kept.needed_textures(id))
            self._read = id, torch.from_numpy(frame.vertices), kept.blend(frame)
        _, vertices, textures = self._read
        varied = None if recipe.augmentation == PLAIN else recipe.augmentation
        made = kept.draw(vertices, textures, varied, torch.Generator().manual_seed(recipe.seed))
        number = f"{id.number:06d}"
        return HeadsetImages(made.hmc.numpy().copy(), (f"mouth {number}", f"left {number}", f"right {number}"), recipe)

    def keypoints(self, request: FrameRequest) -> KeypointSet:
        landmarks, camera = request.capture.landmarks, request.avatar.keypoint_camera
        if landmarks is None or len(landmarks.ids) != len(request.about.landmarks.ids):
            expected = f"a capture with {len(request.about.landmarks.ids)} landmarks"
            got = "none" if landmarks is None else len(landmarks.ids)
            raise InputError("keypoints", expected=expected, got=got, mend="add landmarks.json")
        assert camera is not None  # an avatar that is open has one
        points = request.capture.vertices(request.id)[landmarks.index]
        given = camera.to("cpu").project_normalised(points).clamp(0, 1).numpy().astype(np.float32)
        frame = CaptureFrame(request.recipe.capture, request.id.segment, request.id.number)
        return KeypointSet(given, np.full(len(given), SEEN, np.float32), frame)

    def photo(self, request: FrameRequest) -> FrontalImage:
        name = _photographer(request)
        photo, camera = request.capture.photo(request.id, name), request.capture.camera(request.id, name)
        height, width = camera.size
        if height > PHOTO_HEIGHT:
            camera = camera.resized((PHOTO_HEIGHT, round(width * PHOTO_HEIGHT / height)))
            photo = functional.interpolate(photo[None], camera.size, mode="area")[0]
        frame = CaptureFrame(request.recipe.capture, request.id.segment, request.id.number)
        return FrontalImage(photo.numpy().copy(), camera, f"camera {name}, {request.id}", frame)

    def beside_photo(self, request: FrameRequest) -> dict[str, Beside | None]:
        """What drives the avatar's prior while the frame's photo is fitted to, as a field of the document: of the same
        frame, and none where the capture has none, since another frame's is another face."""
        if request.about.driving not in BESIDE:
            return {}
        name, read, none = BESIDE[request.about.driving]
        try:
            return {name: read(self, request)}
        except InputError:
            return {name: none(request.about)}


# What a frame can be loaded as.
READERS: dict[str, Callable[[_Reader, FrameRequest], Given]] = {
    "headset": _Reader.headset_images,
    "keypoints": _Reader.keypoints,
    "frontal": _Reader.photo,
}


# What conditions the prior beside a photo, by what drives the avatar: the document's field, its reader, and what stands
# there where the capture cannot give it.
BESIDE: dict[str, tuple[str, Callable[[_Reader, FrameRequest], Beside], Callable[[AvatarInfo], Beside | None]]] = {
    "hmc": ("headset", _Reader.headset_images, lambda about: None),
    "kpt": ("keypoints", _Reader.keypoints, lambda about: KeypointSet.at_rest(about.keypoints)),
}


def _photographer(request: FrameRequest) -> str:
    """The camera whose photo of a frame is looked at: the most frontal one that has one."""
    here = request.capture.photo_cameras(request.id)
    if not here:
        raise InputError(f"frame {request.id}", expected="a photo", got="none")
    return request.info.frontal if request.info.frontal in here else here[0]


def _truth(request: FrameRequest) -> Truth:
    capture, id, name = request.capture, request.id, _photographer(request)
    mask = capture.mask(id, name)
    return Truth(
        id=id,
        vertices=capture.vertices(id).numpy(),
        photo=capture.photo(id, name).numpy(),
        mask=None if mask is None else mask.numpy(),
        camera=capture.camera(id, name),
        camera_name=name,
        cameras=len(capture.photo_cameras(id)),
    )


def _thumbnail(capture: MultifaceCapture, info: CaptureInfo, id: FrameId) -> ByteArray | None:
    here = capture.photo_cameras(id)
    name = info.frontal if info.frontal in here else (here[0] if here else None)
    if name is None:
        return None
    try:
        photo = images.read_rgb(capture.root / "images" / id.segment / name / f"{id.number:06d}.png")
    except InputError:
        return None
    height, width = photo.shape[1:]
    shown = (THUMBNAIL, max(1, round(width * THUMBNAIL / height)))
    small = images.resize(photo, (SHARPNESS * shown[0], SHARPNESS * shown[1]))
    linear: Tensor = torch.from_numpy(small).float() / 255
    return np.ascontiguousarray(to_picture(linear))


def _read(file: Path) -> ByteArray:
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB")).copy()
