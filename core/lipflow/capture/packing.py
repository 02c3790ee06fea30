"""Writing a pack: a capture read once, shrunk, with its headset views, as plain arrays. See ``packed`` for reading."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from lipflow.camera import Camera
from lipflow.capture import images
from lipflow.capture.base import SPLITS, Capture, Frame, FrameId, Statistics
from lipflow.capture.headset import Headset, HeadsetAugmentation, keypoint_camera
from lipflow.capture.partial import done_in, hold, reserve
from lipflow.checks import InputError, check_values
from lipflow.files import write_json
from lipflow.rendering import Renderer, make_renderer

FORMAT = 1  # of the folder; a pack of another format is made anew
MANIFEST = "manifest.json"
PACKS = "LIPFLOW_PACKS"  # environment variable: the folder of all packs, for captures that cannot be written to
_ELSEWHERE = f"set {PACKS} to a folder on another disk, where packs can be written"
_AHEAD = 4  # frames in preparation at once
_FLUSH = 64  # frames between two moments from which a killed run can go on
_LOOK_SECONDS = 0.5  # between two looks at the pack that another process makes


@dataclass(frozen=True)
class PackConfig:
    """What a pack holds."""

    texture: int  # texels a side
    photo: tuple[int, int]  # height, width
    hmc: tuple[int, int] | None  # height, width of the headset views; None: none
    cameras: tuple[str, ...] | None  # dome cameras that photos and textures are taken from; None: all
    cameras_per_frame: int  # how many of them each frame gets, in turn
    slop_variants: int  # further headset views a frame, with the headset sitting and lit differently
    seed: int


@dataclass(frozen=True)
class PackProgress:
    """How far a pack is."""

    done: int  # frames
    total: int
    seconds: float  # since this run began
    skipped: tuple[str, ...]  # one line for each frame that could not be read


class Packing:
    """One pack in the making."""

    def __init__(self, capture: Capture, config: PackConfig, ids: list[FrameId]) -> None:
        self.capture, self.config = capture, config
        _check(capture, config)
        known = set(capture.frames)
        unknown = [id for id in ids if id not in known]
        if unknown:
            raise InputError(f"frame {unknown[0]}", expected=f"a frame of {capture.name}", got="none")
        self.names = list(config.cameras or capture.cameras)  # of the dome cameras that may be taken
        self.ids = [id for id in ids if set(capture.photo_cameras(id)) & set(self.names)]
        if not self.ids:
            raise InputError(f"capture {capture.name}", expected="frames with photos by these cameras", got="none")
        order = np.random.default_rng(config.seed).permutation(len(self.names))
        self.turn = [self.names[i] for i in order]  # the same cameras, as frames take them in turn
        self.per_frame = min(config.cameras_per_frame, max(len(self._here(id)) for id in self.ids))
        self.hash = self._hash()
        self.headset: Headset | None = None
        self.renderer: Renderer | None = None

    def _here(self, id: FrameId) -> list[str]:
        """The cameras that have a photo of a frame, in turn."""
        photographed = set(self.capture.photo_cameras(id))
        return [name for name in self.turn if name in photographed]

    def _hash(self) -> str:
        """Names what is to be packed: packs of one hash hold the same, but for frames that could not be read."""
        capture = self.capture
        about = {
            "format": FORMAT,
            "config": asdict(self.config),
            "capture": capture.name,
            "frames": [str(id) for id in self.ids],
            "cameras": {name: capture.cameras[name].K.tolist() for name in self.names},
            "sizes": [capture.photo_size, capture.texture_size, capture.topology.vertex_count],
        }
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
        digest.update(np.ascontiguousarray(capture.statistics.vertex_mean).tobytes())
        digest.update(np.ascontiguousarray(capture.topology.faces).tobytes())
        return digest.hexdigest()

    def run(self, folder: Path) -> Generator[PackProgress, None, None]:
        """Write the pack, and let it appear at ``folder`` when it is whole; stopped, the next run goes on.

        Where another process is at it, that one's progress is yielded until it is done, or until it has stopped: then
        this one goes on.
        """
        start = time.monotonic()
        beside = folder.with_name(f".{folder.name}.partial")
        handle = yield from self._claimed(beside, folder, start)
        if handle is None:
            return
        try:
            yield from self._write(beside, start)
            if folder.exists():
                folder.rmdir()  # empty: pack() looked
            os.replace(beside, folder)
        finally:
            os.close(handle)

    def _claimed(self, beside: Path, folder: Path, start: float) -> Generator[PackProgress, None, int | None]:
        """Hold ``beside`` for this process alone until the handle is closed; None if another has finished the pack."""
        while not (folder / MANIFEST).is_file():
            try:
                handle = hold(beside)
            except OSError as error:
                got = " ".join(str(error).split())
                raise InputError(
                    f"pack {beside.parent}", expected="a folder to write to", got=got, mend=_ELSEWHERE
                ) from error
            if handle is None:
                done = min(done_in(beside), len(self.ids) - 1)  # it is not whole yet
                yield PackProgress(done, len(self.ids), time.monotonic() - start, ())
                time.sleep(_LOOK_SECONDS)
            elif (folder / MANIFEST).is_file():  # it was finished between two looks: this is a new, empty one
                beside.rmdir()
                os.close(handle)
            else:
                return handle
        return None

    def _write(self, beside: Path, start: float) -> Generator[PackProgress, None, None]:
        """Fill ``beside`` with the whole pack."""
        arrays, done = self._open(beside)
        self._begin()
        todo = deque(np.flatnonzero(done == 0).tolist())
        skipped: dict[int, str] = {}
        working: deque[tuple[int, Future[dict[str, np.ndarray]]]] = deque()
        fresh: list[int] = []
        pool = ThreadPoolExecutor(max_workers=min(_AHEAD, os.cpu_count() or 1), thread_name_prefix="pack")
        try:
            yield self._progress(done, skipped, start)
            while todo or working:
                while todo and len(working) < _AHEAD:
                    row = todo.popleft()
                    working.append((row, pool.submit(self._prepare, row)))
                row, future = working.popleft()
                try:
                    for name, value in future.result().items():
                        arrays[name][row] = value
                    fresh.append(row)
                except InputError as error:
                    skipped[row] = str(error)
                if len(fresh) >= _FLUSH or not (todo or working):
                    for array in arrays.values():
                        array.flush()
                    done[fresh] = 1
                    done.flush()
                    fresh.clear()
                    # Mapped anew: the pages that were written would count as this process's memory.
                    arrays = {name: np.lib.format.open_memmap(beside / f"{name}.npy", mode="r+") for name in arrays}
                yield self._progress(done, skipped, start, len(fresh))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        self._finish(beside, arrays, done, skipped)

    def mend(self, folder: Path, missing: Sequence[int]) -> Generator[PackProgress, None, None]:
        """Try frames again that a finished pack is without: what can be read by now is added, if the pack can be
        written to. Before the manifest names them, their rows are nobody's."""
        if not os.access(folder, os.W_OK):
            return
        start, there = time.monotonic(), len(self.ids) - len(missing)
        self._begin()
        arrays: dict[str, np.memmap] = {}
        skipped: dict[int, str] = {}
        mended: list[int] = []
        for row in missing:
            try:
                prepared = self._prepare(row)
                arrays = arrays or {
                    name: np.lib.format.open_memmap(folder / f"{name}.npy", mode="r+") for name in self._shapes()
                }
                for name, value in prepared.items():
                    arrays[name][row] = value
                mended.append(row)
            except InputError as error:
                skipped[row] = str(error)
            yield PackProgress(there + len(mended), len(self.ids), time.monotonic() - start, tuple(skipped.values()))
        if mended:
            for array in arrays.values():
                array.flush()
            manifest = json.loads((folder / MANIFEST).read_text())
            # Sets: another process may have mended the same meanwhile.
            manifest |= self._frames_of(sorted({*manifest["rows"], *mended}), skipped)
            write_json(folder / MANIFEST, {**manifest, "mended": sorted({*manifest.get("mended", ()), *mended})})

    def _begin(self) -> None:
        """Make what draws frames."""
        if self.config.hmc is not None:
            self.headset = Headset(self.capture, size=self.config.hmc)
        self.renderer = make_renderer(self.capture.topology)

    def _progress(self, done: np.memmap, skipped: dict[int, str], start: float, fresh: int = 0) -> PackProgress:
        finished = int(done.sum()) + fresh + len(skipped)
        return PackProgress(finished, len(self.ids), time.monotonic() - start, tuple(skipped.values()))

    def _shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape without the frames, and dtype, of each array."""
        config, cameras, size = self.config, self.per_frame, self.config.texture
        height, width = config.photo
        shapes: dict[str, tuple[tuple[int, ...], str]] = {
            "vertices": ((self.capture.topology.vertex_count, 3), "<f4"),
            "average_textures": ((3, size, size), "|u1"),
            "textures": ((cameras, 3, size, size), "|u1"),
            "photos": ((cameras, 3, height, width), "|u1"),
            "masks": ((cameras, height, (width + 7) // 8), "|u1"),
            "cameras": ((cameras, 3, 7), "<f4"),
            "camera_ids": ((cameras,), "<i4"),
        }
        if config.hmc is not None:
            h, w = config.hmc
            shapes["hmc"] = ((1 + config.slop_variants, 3, h, w), "|u1")
            shapes["hmc_masks"] = ((1 + config.slop_variants, 3, h, (w + 7) // 8), "|u1")
        return shapes

    def _open(self, beside: Path) -> tuple[dict[str, np.memmap], np.memmap]:
        """The arrays of an interrupted run of the same content, or new ones; and which frames are done."""
        shapes = {name: ((len(self.ids), *shape), dtype) for name, (shape, dtype) in self._shapes().items()}
        shapes["done"] = ((len(self.ids),), "|u1")
        note = beside / "packing.json"
        resumes = note.is_file() and note.read_bytes() == self.hash.encode()
        if not resumes:
            for left in beside.iterdir():  # by a run of other content
                left.unlink()
            free = shutil.disk_usage(beside).free
            needed = sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in shapes.values())
            if needed > free:
                raise _no_room(beside, needed, free)
        mode: Any = "r+" if resumes else "w+"
        arrays = {
            name: np.lib.format.open_memmap(beside / f"{name}.npy", mode=mode, dtype=dtype, shape=shape)
            for name, (shape, dtype) in shapes.items()
        }
        if not resumes:
            for name in arrays:
                try:
                    reserve(beside / f"{name}.npy")
                except OSError as error:
                    raise _no_room(beside, needed, shutil.disk_usage(beside).free) from error
            note.write_text(self.hash)
        return arrays, arrays.pop("done")

    def _prepare(self, row: int) -> dict[str, np.ndarray]:
        """Everything of one frame as it is stored."""
        id, config, capture = self.ids[row], self.config, self.capture
        here = self._here(id)
        # Frames with fewer cameras than others get some of them twice.
        cameras = [here[(row * self.per_frame + k) % len(here)] for k in range(self.per_frame)]
        textured = set(capture.texture_cameras(id))
        by_view = {name for name in cameras if name in textured}
        if self.headset is not None:
            by_view |= set(self.headset.needed_textures(id))
        frame = capture.frame(id, photos=tuple(dict.fromkeys(cameras)), textures=tuple(sorted(by_view)))
        assert frame.average_texture is not None  # the frames of a capture have one
        own = {name: capture.camera(id, name).resized(config.photo) for name in cameras}
        average = images.resize_texture(frame.average_texture, config.texture)
        small = {
            name: images.resize_texture(frame.textures[name], config.texture) for name in cameras if name in textured
        }
        prepared: dict[str, np.ndarray] = {
            "vertices": frame.vertices,
            "average_textures": average,
            "textures": np.stack([small.get(name, average) for name in cameras]),
            "photos": np.stack([images.resize(frame.photos[name], config.photo) for name in cameras]),
            "cameras": np.stack([camera_numbers(own[name]) for name in cameras]),
            "camera_ids": np.asarray([self.names.index(name) for name in cameras]),
        }
        prepared["masks"] = np.packbits(self._masks(frame, [(name, own[name]) for name in cameras]), axis=-1)
        if self.headset is not None:
            prepared |= self._headset_views(self.headset, frame, row)
        return prepared

    def _masks(self, frame: Frame, cameras: list[tuple[str, Camera]]) -> npt.NDArray[np.bool_]:
        """The head in the photos of some cameras [n, H, W], at the pack's size: as masked, else where the mesh lies."""
        given = [frame.masks.get(name) for name, _ in cameras]
        drawn = np.zeros((len(cameras), *self.config.photo), dtype=bool)
        if any(mask is None for mask in given):
            assert self.renderer is not None
            vertices = torch.from_numpy(frame.vertices).expand(len(cameras), -1, -1).contiguous()
            stacked = Camera.stack([camera for _, camera in cameras])
            drawn = self.renderer.render(vertices, torch.zeros(1, 1, 2, 2), stacked).mask.numpy() > 0.5
        return np.stack(
            [
                silhouette if mask is None else images.resize(mask * np.uint8(255), self.config.photo) >= 128
                for mask, silhouette in zip(given, drawn)
            ]
        )

    def _headset_views(self, headset: Headset, frame: Frame, row: int) -> dict[str, np.ndarray]:
        """The plain headset views of a frame and its slop variants, without a background: it is added in training."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + row)
        textures, points = headset.blend(frame), torch.from_numpy(frame.vertices)
        sitting = HeadsetAugmentation(lighting=1.0, background=0.0, slop=1.0)
        drawings = [headset.draw(points, textures)]
        drawings += [headset.draw(points, textures, sitting, generator) for _ in range(self.config.slop_variants)]
        hmc = torch.stack([drawing.hmc for drawing in drawings])
        masks = torch.stack([drawing.mask for drawing in drawings]).bool().numpy()
        return {"hmc": (hmc * 255).round().byte().numpy(), "hmc_masks": np.packbits(masks, axis=-1)}

    def _finish(self, beside: Path, arrays: dict[str, np.memmap], done: np.memmap, skipped: dict[int, str]) -> None:
        """Write what describes the pack, the manifest last."""
        rows = np.flatnonzero(done).tolist()
        if not rows:
            raise InputError(
                f"capture {self.capture.name}", expected="frames that can be read", got=next(iter(skipped.values()))
            )
        capture, statistics = self.capture, _statistics_at(self.capture.statistics, self.config.texture)
        keypoints = keypoint_camera(capture)
        np.savez(
            beside / "about.npz",
            faces=capture.topology.faces,
            uv=capture.topology.uv,
            uv_faces=capture.topology.uv_faces,
            vertex_mean=statistics.vertex_mean,
            vertex_std=statistics.vertex_std,
            texture_mean=statistics.texture_mean,
            texture_std=statistics.texture_std,
            texture_valid=statistics.texture_valid,
            keypoint_camera=camera_numbers(keypoints),
            hmc_cameras=np.zeros(0) if self.headset is None else camera_numbers(self.headset.cameras),
        )
        manifest = {
            "format": FORMAT,
            "hash": self.hash,
            "capture": capture.name,
            "config": asdict(self.config),
            "cameras": self.names,
            **self._frames_of(rows, skipped),
            "arrays": {name: [list(array.shape), array.dtype.str] for name, array in arrays.items()},
            "landmarks": None if capture.landmarks is None else capture.landmarks.to_json(),
            "keypoint_size": list(keypoints.size),
        }
        write_json(beside / MANIFEST, manifest)
        for name in ("packing.json", "done.npy"):
            (beside / name).unlink()

    def _frames_of(self, rows: list[int], skipped: dict[int, str]) -> dict[str, Any]:
        """Which frames a pack holds, and why it is without others, for its manifest."""
        frames = [self.ids[row] for row in rows]
        members = {part: set(ids) for part, ids in self.capture.split.items()}
        return {
            "rows": rows,
            "frames": [[id.segment, id.number] for id in frames],
            "split": {part: [i for i, id in enumerate(frames) if id in members[part]] for part in SPLITS},
            "skipped": list(skipped.values()),
        }


def _no_room(beside: Path, needed: int, free: int) -> InputError:
    return InputError(
        f"pack {beside.parent}",
        expected=f"{needed / 2**30:.1f} GiB of free space",
        got=f"{free / 2**30:.1f} GiB",
        mend=f"pack fewer frames, cameras per frame or slop variants, or {_ELSEWHERE}",
    )


def _check(capture: Capture, config: PackConfig) -> None:
    sizes = {"texture": (config.texture,), "photo": config.photo, "hmc": config.hmc or (1,)}
    for name, size in sizes.items():
        if not all(1 <= side <= 8192 for side in size):
            raise InputError(f"{name} size", expected="1 to 8192 pixels a side", got=size)
    check_values(
        ("cameras per frame", config.cameras_per_frame >= 1, "1 or more", config.cameras_per_frame),
        ("slop variants", config.slop_variants >= 0, "0 or more", config.slop_variants),
    )
    if config.cameras is not None:
        unknown = [name for name in config.cameras if name not in capture.cameras]
        if unknown or not config.cameras:
            got = ", ".join(unknown) or "none"
            raise InputError("cameras", expected=f"some of {', '.join(capture.cameras)}", got=got)


def _statistics_at(statistics: Statistics, size: int) -> Statistics:
    """The statistics at another texture resolution."""
    if statistics.texture_mean.shape[-1] == size:
        return statistics
    valid = torch.from_numpy(statistics.texture_valid)[None, None].float()
    mean = torch.from_numpy(statistics.texture_mean)[None] * valid
    shrinks = size < valid.shape[-1]
    both = torch.cat([mean, valid], dim=1)
    if shrinks:
        both = F.interpolate(both, (size, size), mode="area")
    else:
        both = F.interpolate(both, (size, size), mode="bilinear", align_corners=False)
    share = both[0, 3]
    texture_mean = torch.where(share >= 0.5, both[0, :3] / share.clamp_min(1e-3), torch.zeros(()))
    return Statistics(
        statistics.vertex_mean,
        statistics.vertex_std,
        texture_mean.numpy(),
        statistics.texture_std,
        (share >= 0.5).numpy(),
    )


def camera_numbers(camera: Camera) -> npt.NDArray[np.float32]:
    """A camera as numbers: K, R and t side by side, [..., 3, 7]."""
    return torch.cat([camera.K, camera.R, camera.t[..., None]], dim=-1).numpy()
