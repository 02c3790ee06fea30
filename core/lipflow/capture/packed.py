"""Captures packed for training: arrays on disk at the resolution that a model trains at.

``pack`` reads a capture once, shrinks its pictures, makes the headset views and writes plain ``.npy`` files.
``PackedCapture`` assembles batches of them in milliseconds; in memory is only the batch, however long the capture is.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.camera import Camera
from lipflow.capture.base import SPLITS, Capture, FrameId, Statistics
from lipflow.capture.headset import HeadsetAugmentation, augmented
from lipflow.capture.packing import FORMAT, MANIFEST, PACKS, PackConfig, Packing, PackProgress
from lipflow.capture.stored import StoredArray
from lipflow.checks import InputError
from lipflow.mesh import Landmarks, Topology

_DAMAGE = (KeyError, TypeError, ValueError, IndexError, AttributeError, OSError, EOFError, zipfile.BadZipFile)
_ALL = slice(None)
Index = Sequence[int] | npt.NDArray[np.integer] | Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """What a training step sees, float32 on one device. Pictures are linear RGB; a texel of 0 is unseen."""

    vertices: Tensor  # [B, V, 3] mm, head frame
    average_texture: Tensor  # [B, 3, T, T]
    view_texture: Tensor  # [B, 3, T, T] as the camera saw it (the average, where the capture has no textures by view)
    camera: Camera  # B cameras, head frame
    photo: Tensor  # [B, 3, H, W]
    mask: Tensor  # [B, H, W] the head in the photo
    hmc: Tensor | None  # [B, 3, h, w] grey, in the order mouth, left, right
    keypoints: Tensor | None  # [B, L, 2] of the landmarks under the keypoint camera
    hmc_mask: Tensor | None = None  # [B, 3, h, w] the head in the headset views


def pack(
    capture: Capture,
    *,
    folder: Path | None = None,
    texture: int = 512,
    photo: tuple[int, int] = (384, 256),
    hmc: tuple[int, int] | None = (240, 320),
    cameras: Sequence[str] | None = None,
    ids: Sequence[FrameId] | None = None,
    cameras_per_frame: int = 3,
    slop_variants: int = 2,
    seed: int = 0,
) -> Generator[PackProgress, None, PackedCapture]:
    """Pack a capture into ``folder``; returns the pack.

    The default folder is named by what the pack holds, and lies in the capture's "packed", or in the capture's name
    under the folder that the environment variable LIPFLOW_PACKS names.

    A finished pack of the same content is reused; one that was interrupted goes on where it stopped. Frames that
    cannot be read are skipped and said, and tried again whenever the pack is used. Nothing appears under ``folder``
    before it is whole. Of several processes that pack the same at once one does, and the others wait for it.

    Raises:
        InputError: if a size, a camera or a frame makes no sense, if ``folder`` holds something else or cannot be
            written to, or if not one frame can be read.
    """
    config = PackConfig(
        texture, photo, hmc, tuple(cameras) if cameras is not None else None, cameras_per_frame, slop_variants, seed
    )
    packing = Packing(capture, config, list(capture.frames if ids is None else ids))
    folder = _folder_of_packs(capture) / packing.hash[:12] if folder is None else folder
    was_there = folder.exists() and any(folder.iterdir())
    if not was_there:
        yield from packing.run(folder)
    packed = PackedCapture(folder)
    if packed.key != packing.hash:
        raise InputError(
            f"pack {folder}",
            expected="an empty folder, or a pack of this capture at these sizes",
            got=f"another pack (texture {packed.texture_size}, photo {packed.photo_size}, hmc {packed.hmc_size})",
            mend="choose another folder or delete this one",
        )
    if was_there:
        if packed.skipped:
            yield from packing.mend(folder, packed.missing(len(packing.ids)))
            packed = PackedCapture(folder)
        yield PackProgress(len(packed), len(packed), 0.0, packed.skipped)
    return packed


def _folder_of_packs(capture: Capture) -> Path:
    named = os.environ.get(PACKS)
    return Path(named) / capture.name if named else capture.root / "packed"


class PackedCapture:
    """A pack, read frame by frame."""

    def __init__(self, folder: Path | str) -> None:
        """Open a pack.

        Raises:
            InputError: if the folder is not a whole pack.
        """
        self.folder = Path(folder)
        manifest = _read_manifest(self.folder)
        try:
            self._unpack(manifest)
        except _DAMAGE as error:
            if isinstance(error, InputError):
                raise
            got = " ".join(f"{type(error).__name__} {error}".split())
            raise InputError(
                f"pack {self.folder}", expected="a whole pack", got=got, mend="delete it and pack again"
            ) from error

    def _unpack(self, manifest: dict[str, Any]) -> None:
        self.key = str(manifest["hash"])  # names what was to be packed
        mended = [int(row) for row in manifest.get("mended", ())]  # frames that could be read only later
        self.hash = f"{self.key}+{','.join(map(str, mended))}" if mended else self.key  # names what is in the pack
        self.name = str(manifest["capture"])
        config = manifest["config"]
        self.texture_size = int(config["texture"])
        self.photo_size: tuple[int, int] = (int(config["photo"][0]), int(config["photo"][1]))
        self.hmc_size = None if config["hmc"] is None else (int(config["hmc"][0]), int(config["hmc"][1]))
        self.camera_names = tuple(str(name) for name in manifest["cameras"])
        self._rows = np.asarray(manifest["rows"], dtype=np.int64)
        self.frames = [FrameId(str(segment), int(number)) for segment, number in manifest["frames"]]
        self._split = {part: np.asarray(manifest["split"][part], dtype=np.int64) for part in SPLITS}
        self.skipped = tuple(str(line) for line in manifest["skipped"])
        self._arrays = {name: _stored(self.folder, name, spec) for name, spec in manifest["arrays"].items()}
        about = np.load(self.folder / "about.npz", allow_pickle=False)
        self.topology = Topology.checked(
            about["faces"], about["uv"], about["uv_faces"], len(about["vertex_mean"]), what=f"pack {self.folder}"
        )
        self.statistics = Statistics(
            about["vertex_mean"],
            float(about["vertex_std"]),
            about["texture_mean"],
            float(about["texture_std"]),
            about["texture_valid"],
        )
        marks = manifest["landmarks"]
        self.landmarks = None if marks is None else Landmarks.from_json(marks, self.topology.vertex_count)
        self.keypoint_camera = _camera_from(about["keypoint_camera"], manifest["keypoint_size"])
        self.hmc_cameras = None if self.hmc_size is None else _camera_from(about["hmc_cameras"], self.hmc_size)
        self.cameras_per_frame = int(self._arrays["photos"].shape[1])
        ends = [*self._split.values(), np.array([len(self.frames) - 1])]
        if len(self.frames) != len(self._rows) or not _within(ends, len(self.frames)):
            raise ValueError("frames, rows and split that do not belong together")
        if not _within([self._rows], len(self._arrays["vertices"])):
            raise ValueError("rows beyond the arrays")

    def __len__(self) -> int:
        return len(self.frames)

    def missing(self, count: int) -> list[int]:
        """Rows of the arrays, of so many, that hold no frame."""
        return [int(row) for row in np.setdiff1d(np.arange(count), self._rows)]

    def split(self, name: str) -> npt.NDArray[np.int64]:
        """Indices of the frames of "train", "val" or "test"."""
        if name not in self._split:
            raise InputError("split", expected=", ".join(SPLITS), got=name)
        return self._split[name]

    def cameras_of(self, index: int) -> tuple[str, ...]:
        """The names of a frame's cameras, in the order of ``camera_index``."""
        return tuple(self.camera_names[int(i)] for i in self._arrays["camera_ids"][self._rows[index]])

    def vertices(self, indices: Index) -> Tensor:
        """Meshes alone, [B, V, 3] mm, head frame."""
        return torch.from_numpy(self._arrays["vertices"][self._rows[np.asarray(indices, dtype=np.int64).reshape(-1)]])

    def batch(
        self,
        indices: Index,
        camera_index: int | Index | None = None,
        device: torch.device | str = "cpu",
        *,
        augmentation: HeadsetAugmentation | None = None,
        generator: torch.Generator | None = None,
        part: slice = _ALL,
    ) -> Batch:
        """Assemble frames as one batch.

        Args:
            indices: [B] frames.
            camera_index: which of each frame's cameras, one or [B]; None draws with ``generator``, or takes the first.
            augmentation: of the headset views: other slop, exposure and background, drawn with ``generator``. None
                gives the plain views.
            generator: on the CPU.
            part: assemble only these rows, as they would be in the whole batch.
        """
        chosen = np.asarray(indices, dtype=np.int64).reshape(-1)
        rows = self._rows[chosen]
        count = len(rows)
        if camera_index is None and generator is not None:
            camera_index = torch.randint(self.cameras_per_frame, (count,), generator=generator)
        views = np.broadcast_to(np.asarray(0 if camera_index is None else camera_index, dtype=np.int64), (count,))
        hmc, hmc_mask = self._hmc(rows, device, augmentation, generator, part)
        arrays, rows, views = self._arrays, rows[part], views[part]
        vertices = torch.from_numpy(arrays["vertices"][rows]).to(device)
        keypoints = None
        if self.landmarks is not None:
            points = vertices[:, torch.from_numpy(self.landmarks.index).to(device)]
            keypoints = self.keypoint_camera.to(device).project_normalised(points)
        return Batch(
            vertices=vertices,
            average_texture=_unit(arrays["average_textures"][rows], device),
            view_texture=_unit(arrays["textures"][rows, views], device),
            camera=_camera_from(arrays["cameras"][rows, views], self.photo_size).to(device),
            photo=_unit(arrays["photos"][rows, views], device),
            mask=_bits(arrays["masks"][rows, views], self.photo_size[1], device),
            hmc=hmc,
            keypoints=keypoints,
            hmc_mask=hmc_mask,
        )

    def _hmc(
        self,
        rows: npt.NDArray[np.int64],
        device: torch.device | str,
        augmentation: HeadsetAugmentation | None,
        generator: torch.Generator | None,
        part: slice,
    ) -> tuple[Tensor | None, Tensor | None]:
        if self.hmc_size is None:
            return None, None
        count = len(rows)
        variants = np.zeros(count, dtype=np.int64)
        if augmentation is not None and augmentation.slop > 0:
            many = self._arrays["hmc"].shape[1]
            variants = torch.randint(many, (count,), generator=generator).numpy()
        rows, variants = rows[part], variants[part]
        hmc = _unit(self._arrays["hmc"][rows, variants], device)
        mask = _bits(self._arrays["hmc_masks"][rows, variants], self.hmc_size[1], device)
        if augmentation is not None:
            hmc = augmented(hmc, mask, augmentation, generator, part=part, of=count)
        return hmc, mask


def _read_manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    try:
        manifest = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise InputError(
            f"pack {file}",
            expected="the description of a pack",
            got="no such file" if missing else " ".join(str(error).split()),
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        got = str(manifest.get("format")) if isinstance(manifest, dict) else type(manifest).__name__
        raise InputError(f"pack {file}", expected=f"format {FORMAT}", got=got, mend="delete it and pack again")
    return manifest


def _stored(folder: Path, name: str, spec: list[Any]) -> StoredArray:
    """One array of the pack, exactly as the manifest describes it."""
    array = StoredArray(folder / f"{name}.npy")
    if [list(array.shape), array.dtype.str] != [list(spec[0]), spec[1]]:
        raise InputError(
            f"pack {folder / name}.npy", expected=spec, got=[list(array.shape), array.dtype.str], mend="pack again"
        )
    return array


def _within(indices: list[npt.NDArray[np.int64]], count: int) -> bool:
    return all(((part >= 0) & (part < count)).all() for part in indices)


def _camera_from(numbers: np.ndarray, size: Sequence[int]) -> Camera:
    K, R, t = torch.from_numpy(np.array(numbers, dtype=np.float32)).split([3, 3, 1], dim=-1)
    return Camera(K.contiguous(), R.contiguous(), t[..., 0].contiguous(), (int(size[0]), int(size[1])))


def _unit(pixels: npt.NDArray[np.uint8], device: torch.device | str) -> Tensor:
    return torch.from_numpy(pixels).to(device).float().div_(255)


def _bits(packed: npt.NDArray[np.uint8], width: int, device: torch.device | str) -> Tensor:
    return torch.from_numpy(np.unpackbits(packed, axis=-1, count=width)).to(device).float()
