"""Captures in the layout of the Multiface dataset, read lazily.

The layout (each file is checked where it is read; everything in brackets is optional)::

    KRT  frame_list.txt  [tex_mean.png tex_var.txt vert_mean.bin vert_var.txt]  [split.json] [landmarks.json]
    images/<SEGMENT>/<CAMERA>/<%06d>.png
    unwrapped_uv_1024/<SEGMENT>/{<CAMERA>|average}/<%06d>.png      whatever the size; the first row is v = 1
    tracked_mesh/<SEGMENT>/<%06d>.bin  <%06d>_transform.txt  [<%06d>.obj]      [face_topology.obj]
    [masks/<SEGMENT>/<CAMERA>/<%06d>.png]

Public code for this layout turns the textures upside down, for a renderer that takes the first row as v = 0. In this
project the first row is v = 1 (see ``Topology``), as it is in the files: nothing is turned.

Frames and cameras are missing here and there in real downloads: they are skipped and listed in ``missing``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from lipflow.camera import Camera
from lipflow.capture import images
from lipflow.capture.base import Bytes, FloatArray, Frame, FrameId, Mask, Statistics
from lipflow.capture.multiface_parsers import (
    default_split,
    parse_frame_list,
    parse_krt,
    parse_split,
    parse_transform,
    parse_variance,
    parse_vertices,
)
from lipflow.checks import InputError
from lipflow.mesh import Landmarks, Topology

T = TypeVar("T")

TEXTURES = "unwrapped_uv_1024"  # the layout's name for the folder, whatever the resolution
# What a capture whose frames do not differ (one frame, say) is normalised by: about what a talking face has.
USUAL_VERTEX_STD, USUAL_TEXTURE_STD = 1.0, 0.02
_STATISTICS_FRAMES = 256  # evenly spaced, when the statistics have to be computed


def open_capture(path: Path | str) -> MultifaceCapture:
    """Open a capture folder.

    Raises:
        InputError: if the folder, KRT, frame_list.txt, a topology or every single frame is missing, or if a file
            that describes the whole capture is malformed.
    """
    return MultifaceCapture(Path(path))


class MultifaceCapture:
    """A capture folder; see ``lipflow.capture.base.Capture`` for what its members mean."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise InputError(f"capture {root}", expected="a folder in the Multiface layout", got="no such folder")
        self.root = root
        self.name = root.resolve().name
        self._listings: dict[Path, frozenset[str]] = {}
        calibrations = parse_krt(_read_text(root / "KRT"), str(root / "KRT"))
        listed = parse_frame_list(_read_text(root / "frame_list.txt"), str(root / "frame_list.txt"))
        self.missing: list[str] = []
        self.frames = self._present(listed)
        self._photo_cameras = self._cameras_of_frames("images", list(calibrations))
        self._texture_cameras = self._cameras_of_frames(TEXTURES, list(calibrations))
        self.topology, self.topology_file = self._find_topology()
        self.photo_size = self._find_photo_size()
        self.texture_size = self._find_texture_size()
        self.cameras = {
            name: Camera(torch.from_numpy(c.K), torch.from_numpy(c.R), torch.from_numpy(c.t), self.photo_size)
            for name, c in calibrations.items()
        }
        landmarks = root / "landmarks.json"
        self.landmarks = Landmarks.load(landmarks, self.topology.vertex_count) if landmarks.exists() else None
        self.split = self._read_split()

    # What is here ---------------------------------------------------------------------------------------------

    def _files(self, folder: Path) -> frozenset[str]:
        """Names in a folder, each folder listed once; a folder that is not there is empty."""
        if folder not in self._listings:
            try:
                self._listings[folder] = frozenset(os.listdir(folder))
            except (FileNotFoundError, NotADirectoryError):
                self._listings[folder] = frozenset()
            except OSError as error:
                raise InputError(f"folder {folder}", expected="a folder that can be read", got=error) from error
        return self._listings[folder]

    def _present(self, listed: list[FrameId]) -> list[FrameId]:
        frames = []
        absent_folders: dict[str, None] = {}
        for id in listed:
            needed = [
                ("tracked_mesh", id.segment, f"{id.number:06d}.bin"),
                ("tracked_mesh", id.segment, f"{id.number:06d}_transform.txt"),
                (TEXTURES, f"{id.segment}/average", f"{id.number:06d}.png"),
            ]
            here = True
            for kind, folder, file in needed:
                files = self._files(self.root / kind / folder)
                if file in files:
                    continue
                here = False
                if files:
                    self.missing.append(f"{kind}/{folder}/{file}")
                else:
                    absent_folders[f"{kind}/{folder}/"] = None
            if here:
                frames.append(id)
        self.missing += absent_folders
        if not frames:
            raise InputError(
                f"capture {self.root}",
                expected=f"frames with a mesh, a pose and an average texture (frame_list.txt names {len(listed)})",
                got=f"none; missing {', '.join(self.missing[:3])}" + (" ..." if len(self.missing) > 3 else ""),
                mend="download the missing parts",
            )
        return frames

    def _cameras_of_frames(self, kind: str, cameras: list[str]) -> dict[FrameId, tuple[str, ...]]:
        """The cameras that have a picture of ``kind`` of each frame; absences are listed as coarsely as they are."""
        found: dict[FrameId, list[str]] = {id: [] for id in self.frames}
        by_segment: dict[str, list[FrameId]] = {}
        for id in self.frames:
            by_segment.setdefault(id.segment, []).append(id)
        nowhere: list[str] = []
        for camera in cameras:
            absent: list[str] = []
            any_here = False
            for segment, ids in by_segment.items():
                files = self._files(self.root / kind / segment / camera)
                any_here |= bool(files)
                if not files:
                    absent.append(f"{kind}/{segment}/{camera}/")
                    continue
                for id in ids:
                    if f"{id.number:06d}.png" in files:
                        found[id].append(camera)
                    else:
                        absent.append(f"{kind}/{segment}/{camera}/{id.number:06d}.png")
            if any_here:
                self.missing += absent
            else:
                nowhere.append(f"{kind}/*/{camera}/")
        self.missing += nowhere if len(nowhere) < len(cameras) else [f"{kind}/*/*/"]
        return {id: tuple(names) for id, names in found.items()}

    def _find_topology(self) -> tuple[Topology, Path]:
        candidates = [self.root / "face_topology.obj"]
        for segment in dict.fromkeys(id.segment for id in self.frames):
            folder = self.root / "tracked_mesh" / segment
            candidates += [folder / name for name in sorted(self._files(folder)) if name.endswith(".obj")][:1]
        for file in candidates:
            if file.is_file():
                return Topology.from_obj(file)[0], file
        raise InputError(
            f"capture {self.root}",
            expected="an OBJ with the topology (tracked_mesh/<SEGMENT>/<FRAME>.obj or face_topology.obj)",
            got="none",
            mend="put one OBJ of the same topology there as face_topology.obj",
        )

    def _find_photo_size(self) -> tuple[int, int]:
        for id in self.frames:
            for camera in self._photo_cameras[id]:
                return images.image_size(self._picture("images", id, camera))
        raise InputError(f"capture {self.root}", expected="photos in images/<SEGMENT>/<CAMERA>/", got="none")

    def _find_texture_size(self) -> int:
        file = self._picture(TEXTURES, self.frames[0], "average")
        height, width = images.image_size(file)
        if height != width:
            raise InputError(f"picture {file}", expected="a square texture", got=f"{height}x{width} (HxW)")
        return height

    def _read_split(self) -> dict[str, list[FrameId]]:
        segments = list(dict.fromkeys(id.segment for id in self.frames))
        file = self.root / "split.json"
        parts = parse_split(_read_text(file), set(segments), str(file)) if file.exists() else default_split(segments)
        return {part: [id for id in self.frames if id.segment in names] for part, names in parts.items()}

    # Frames ---------------------------------------------------------------------------------------------------

    def vertices(self, id: FrameId) -> Tensor:
        return torch.from_numpy(self._vertices(id))

    def head_pose(self, id: FrameId) -> Tensor:
        return torch.from_numpy(self._head_pose(id))

    def camera(self, id: FrameId, name: str) -> Camera:
        return self._world_camera(name).in_head_frame(self.head_pose(id))

    def photo_cameras(self, id: FrameId) -> tuple[str, ...]:
        return self._photo_cameras[self._known(id)]

    def texture_cameras(self, id: FrameId) -> tuple[str, ...]:
        return self._texture_cameras[self._known(id)]

    def average_texture(self, id: FrameId) -> Tensor:
        return _unit(self._texture(id, "average"))

    def texture(self, id: FrameId, camera: str) -> Tensor:
        self._world_camera(camera)
        return _unit(self._texture(id, camera))

    def photo(self, id: FrameId, camera: str) -> Tensor:
        self._world_camera(camera)
        return _unit(self._photo(id, camera))

    def mask(self, id: FrameId, camera: str) -> Tensor | None:
        mask = self._mask(id, camera)
        return None if mask is None else torch.from_numpy(mask).float()

    def frame(
        self,
        id: FrameId,
        *,
        photos: tuple[str, ...] | None = None,
        textures: tuple[str, ...] | None = None,
    ) -> Frame:
        photos = self.photo_cameras(id) if photos is None else photos
        textures = self.texture_cameras(id) if textures is None else textures
        masks = {name: mask for name in photos if (mask := self._mask(id, name)) is not None}
        return Frame(
            id=id,
            vertices=self._vertices(id),
            head_pose=self._head_pose(id),
            average_texture=self._texture(id, "average"),
            cameras=tuple(dict.fromkeys([*photos, *textures])),
            photos={name: self._photo(id, name) for name in photos},
            masks=masks,
            textures={name: self._texture(id, name) for name in textures},
        )

    def damage(self) -> Iterator[str]:
        """One line for each damaged file of the frames: meshes and poses are read, pictures as ``check_whole`` does."""
        texture_size = (self.texture_size, self.texture_size)
        for id in self.frames:
            photos, textures = self.photo_cameras(id), ("average", *self.texture_cameras(id))
            pictures = [("images", name, self.photo_size) for name in photos]
            pictures += [("masks", name, self.photo_size) for name in photos if self._has_mask(id, name)]
            pictures += [(TEXTURES, name, texture_size) for name in textures]
            reads: list[Callable[[], object]] = [partial(self._vertices, id), partial(self._head_pose, id)]
            reads += [partial(images.check_whole, self._picture(kind, id, name), size) for kind, name, size in pictures]
            for read in reads:
                try:
                    read()
                except InputError as error:
                    yield str(error)

    def _known(self, id: FrameId) -> FrameId:
        if id not in self._photo_cameras:
            raise InputError(f"frame {id}", expected=f"one of the {len(self.frames)} frames of {self.name}", got="none")
        return id

    def _world_camera(self, name: str) -> Camera:
        if name not in self.cameras:
            raise InputError(f"camera {name}", expected=f"one of {', '.join(self.cameras)}", got="none of them")
        return self.cameras[name]

    def _picture(self, kind: str, id: FrameId, camera: str) -> Path:
        return self.root / kind / id.segment / camera / f"{id.number:06d}.png"

    def _vertices(self, id: FrameId) -> FloatArray:
        file = self.root / "tracked_mesh" / id.segment / f"{id.number:06d}.bin"
        return parse_vertices(_read_bytes(file), self.topology.vertex_count, f"mesh {file}")

    def _head_pose(self, id: FrameId) -> FloatArray:
        file = self.root / "tracked_mesh" / id.segment / f"{id.number:06d}_transform.txt"
        return parse_transform(_read_text(file), f"pose {file}")

    def _photo(self, id: FrameId, camera: str) -> Bytes:
        return images.read_rgb(self._picture("images", id, camera), size=self.photo_size)

    def _texture(self, id: FrameId, camera: str) -> Bytes:
        size = (self.texture_size, self.texture_size)
        return images.read_rgb(self._picture(TEXTURES, id, camera), size=size)

    def _has_mask(self, id: FrameId, camera: str) -> bool:
        file = self._picture("masks", id, camera)
        return file.name in self._files(file.parent)

    def _mask(self, id: FrameId, camera: str) -> Mask | None:
        if not self._has_mask(id, camera):
            return None
        return images.read_grey(self._picture("masks", id, camera), size=self.photo_size) >= 128

    # Statistics -----------------------------------------------------------------------------------------------

    @cached_property
    def statistics(self) -> Statistics:
        """Read from their files; what is not there is computed from up to 256 evenly spaced frames."""
        vertex_mean, vertex_std = self._vertex_statistics()
        texture_mean, texture_std = self._texture_statistics()
        return Statistics(vertex_mean, vertex_std, texture_mean, texture_std, np.any(texture_mean > 0, axis=0))

    def _vertex_statistics(self) -> tuple[FloatArray, float]:
        mean_file, var_file = self.root / "vert_mean.bin", self.root / "vert_var.txt"
        if mean_file.exists() and var_file.exists():
            mean = parse_vertices(_read_bytes(mean_file), self.topology.vertex_count, f"mean mesh {mean_file}")
            return mean, parse_variance(_read_text(var_file), str(var_file)) ** 0.5
        total, count = np.zeros((self.topology.vertex_count, 3)), 0
        squares = np.zeros_like(total)
        for mesh in self._sample(self._vertices):
            vertices = mesh.astype(np.float64)
            total += vertices
            squares += vertices**2
            count += 1
        mean64 = total / count
        variance = float(np.mean(squares / count - mean64**2))
        return mean64.astype(np.float32), variance**0.5 if variance > 1e-6 else USUAL_VERTEX_STD

    def _texture_statistics(self) -> tuple[FloatArray, float]:
        mean_file, var_file = self.root / "tex_mean.png", self.root / "tex_var.txt"
        if mean_file.exists() and var_file.exists():
            pixels = images.read_rgb(mean_file, size=(self.texture_size, self.texture_size))
            mean: FloatArray = np.divide(pixels, 255, dtype=np.float32)
            return mean, parse_variance(_read_text(var_file), str(var_file)) ** 0.5 / 255
        shape = (3, self.texture_size, self.texture_size)
        total, squares, count = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        for pixels in self._sample(lambda id: self._texture(id, "average")):
            texture = pixels / 255.0
            total += texture
            squares += texture**2
            count += texture > 0
        mean64 = total / np.maximum(count, 1)
        variances = (squares / np.maximum(count, 1) - mean64**2)[count > 0]
        variance = float(variances.mean()) if variances.size else 0.0
        return mean64.astype(np.float32), variance**0.5 if variance > 1e-8 else USUAL_TEXTURE_STD

    def _sample(self, read: Callable[[FrameId], T]) -> Iterator[T]:
        """What ``read`` gives of up to 256 evenly spaced frames, without those where it finds damage.

        Raises:
            InputError: if it does everywhere.
        """
        steps = np.linspace(0, len(self.frames) - 1, min(len(self.frames), _STATISTICS_FRAMES))
        readable = 0
        damage: InputError | None = None
        for step in steps.round():
            try:
                found = read(self.frames[int(step)])
            except InputError as error:
                damage = error
            else:
                readable += 1
                yield found
        if damage is not None and readable == 0:
            raise damage


def _unit(pixels: Bytes) -> Tensor:
    return torch.from_numpy(pixels).float() / 255


def _read_bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        got = "no such file" if isinstance(error, FileNotFoundError) else error
        raise InputError(f"{file}", expected="a file that can be read", got=got) from error


def _read_text(file: Path) -> str:
    try:
        return _read_bytes(file).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{file}", expected="a text file", got="bytes that are not text") from error
