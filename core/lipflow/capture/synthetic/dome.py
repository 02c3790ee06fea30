"""The camera dome: records the synthetic subject and writes the capture in the Multiface layout."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.camera import Camera
from lipflow.capture.base import SPLITS
from lipflow.capture.images import read_rgb, write_image
from lipflow.capture.multiface import TEXTURES
from lipflow.capture.synthetic.appearance import bake
from lipflow.capture.synthetic.expressions import SEGMENTS
from lipflow.capture.synthetic.head import HeadRig
from lipflow.capture.synthetic.identity import make_identity
from lipflow.capture.synthetic.performance import Moment, perform
from lipflow.capture.synthetic.shading import Shader
from lipflow.checks import InputError
from lipflow.files import replacing
from lipflow.rendering import make_renderer

FloatArray = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

_RECIPE = 2  # of the files' contents: raised when the same config gives other bytes
_DISTANCE = 1100.0  # mm from the dome's middle to its cameras
_FILL = 0.90  # of the photo that the head takes in its larger direction
_STATISTICS_FRAMES = 400
_PIXELS_AT_ONCE = 6_000_000  # rendered in one call, to bound memory


@dataclass(frozen=True)
class SynthesisConfig:
    """What to record."""

    subject: int = 0  # seed of the identity and its paint
    frames: int = 600  # in all segments together
    cameras: int = 12  # on the dome; the first looks straight at the face
    size: tuple[int, int] = (384, 256)  # height and width of a photo, pixels
    texture: int = 256  # size of the unwrapped textures
    seed: int = 0  # of the performance


@dataclass(frozen=True)
class SynthesisProgress:
    """How far a recording is."""

    stage: str  # "paint", "frames", "statistics" or "done"
    done: int  # frames that are complete on disk
    total: int
    found: int  # of the complete frames, those that an earlier run had left
    seconds: float  # since the start


def dome_cameras(count: int, size: tuple[int, int], vertices: FloatArray) -> dict[str, Camera]:
    """``count`` cameras in the world, over 240° around the front and at changing heights, that all see the whole head.

    Args:
        vertices: [V, 3] mm, a resting head, for the focal length.
    """
    azimuths, elevations = [0.0], [0.0]
    others = count - 1
    for k in range(others):
        azimuths.append(-120 + 240 * k / (others - 1) if others > 1 else 35.0)
        # Low cameras stand in front, where a headset's mouth camera will be; elsewhere they would look into the neck.
        low = -22.0 if abs(azimuths[-1]) < 45 else -9.0
        elevations.append((10.0, low, 30.0)[k % 3])
    middle = 0.5 * (vertices.min(0) + vertices.max(0))
    eyes = []
    for azimuth, elevation in zip(np.radians(azimuths), np.radians(elevations)):
        direction = np.array(
            [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
        )
        eyes.append(middle + _DISTANCE * direction)
    target, points = torch.from_numpy(middle).float(), torch.from_numpy(vertices).float()
    reach = 0.0
    for eye in eyes:
        seen = Camera.look_at(torch.from_numpy(eye).float(), target, 1.0, (1, 1)).project(points)[:, :2].abs()
        reach = max(reach, float(seen[:, 0].max()) / size[1], float(seen[:, 1].max()) / size[0])
    focal = 0.5 * _FILL / reach
    return {
        f"dome_{k:02d}": Camera.look_at(torch.from_numpy(eye).float(), target, focal, size)
        for k, eye in enumerate(eyes)
    }


def synthesize(
    out: Path, config: SynthesisConfig, *, workers: int | None = None
) -> Generator[SynthesisProgress, None, None]:
    """Record the subject into the folder ``out``; run it again to go on where it was stopped.

    Files appear in one step each, so a killed run leaves no half file; a frame with all its files is left as it is.
    The same config gives the same bytes, whatever the number of ``workers`` (threads, by default one a core); with
    another number of threads in the linear algebra below numpy, positions may differ in their last bit.

    Raises:
        InputError: if the config is out of range, or ``out`` holds a recording of another config.
    """
    start = time.monotonic()
    _check(config)
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, config)
    moments = perform(config.frames, config.seed)
    total = len(moments)
    yield SynthesisProgress("paint", 0, total, 0, time.monotonic() - start)
    recorder = _Recorder(out, config)
    recorder.write_description(moments)
    todo = [moment for moment in moments if not recorder.complete(moment)]
    found = total - len(todo)
    done = found
    yield SynthesisProgress("frames", done, total, found, time.monotonic() - start)
    for _ in _in_threads(recorder, todo, workers or os.cpu_count() or 1):
        done += 1
        yield SynthesisProgress("frames", done, total, found, time.monotonic() - start)
    yield SynthesisProgress("statistics", done, total, found, time.monotonic() - start)
    recorder.write_statistics(moments)
    yield SynthesisProgress("done", done, total, found, time.monotonic() - start)


def _in_threads(recorder: _Recorder, todo: list[Moment], workers: int) -> Iterator[None]:
    """Record frames in threads, a few ahead; closing the generator waits only for those that have begun."""
    waiting = iter(todo)
    # Each frame's own kernels get their share of the cores: threads that wait for one another cost more than they give.
    share = min(max(1, (os.cpu_count() or 1) // workers), numba.get_num_threads())
    with ThreadPoolExecutor(workers, "dome", numba.set_num_threads, (share,)) as pool:
        running: set[Future[None]] = set()
        try:
            while True:
                while len(running) < workers + 1 and (moment := next(waiting, None)) is not None:
                    running.add(pool.submit(recorder.record, moment))
                if not running:
                    return
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                    yield
        finally:
            for future in running:
                future.cancel()


def _check(config: SynthesisConfig) -> None:
    limits = {
        "frames": (config.frames, 1, 100_000),
        "cameras": (config.cameras, 1, 99),
        "photo height": (config.size[0], 8, 4096),
        "photo width": (config.size[1], 8, 4096),
        "texture": (config.texture, 16, 4096),
        "subject": (config.subject, 0, 2**31 - 1),
        "seed": (config.seed, 0, 2**31 - 1),
    }
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise InputError(f"synthesis: {name}", expected=f"{low} to {high}", got=value)


def _claim(out: Path, config: SynthesisConfig) -> None:
    """Note the config in the folder, or check that it is the one noted there."""
    file = out / "synthesis.json"
    body = json.dumps({"recipe": _RECIPE, **asdict(config)}, indent=1) + "\n"
    if file.exists():
        if file.read_text() != body:
            raise InputError(
                f"folder {out}",
                expected="an empty folder, or a recording of the same config",
                got="a recording of another one",
                mend="choose another folder, or delete this one",
            )
        for left in out.rglob(".*"):  # what a killed run was writing
            left.unlink()
    elif any(out.iterdir()):
        raise InputError(f"folder {out}", expected="an empty folder", got="other files", mend="choose another folder")
    else:
        _write_text(file, body)


class _Recorder:
    """Everything that the frames of one recording share."""

    def __init__(self, out: Path, config: SynthesisConfig) -> None:
        self.out, self.config = out, config
        self.rig = HeadRig.load()
        identity = make_identity(config.subject)
        self.neutral = self.rig.neutral(identity)
        self.shader = Shader(bake(self.rig, identity, config.texture, config.subject))
        self.renderer = make_renderer(self.rig.topology)
        self.cameras = dome_cameras(config.cameras, config.size, self.neutral.vertices)

    def files(self, moment: Moment) -> list[Path]:
        """Every file of a frame."""
        segment, number = moment.segment, f"{moment.number:06d}"
        mesh = self.out / "tracked_mesh" / segment
        pictures = [
            self.out / kind / segment / camera / f"{number}.png"
            for kind in ("images", "masks", TEXTURES)
            for camera in self.cameras
        ]
        average = self.out / TEXTURES / segment / "average" / f"{number}.png"
        return [*pictures, average, mesh / f"{number}.bin", mesh / f"{number}_transform.txt"]

    def complete(self, moment: Moment) -> bool:
        return all(file.exists() for file in self.files(moment))

    def record(self, moment: Moment) -> None:
        """Pose, light, photograph and write one frame."""
        segment, number = moment.segment, f"{moment.number:06d}"
        vertices = np.ascontiguousarray(self.rig.pose(self.neutral, moment.expression))
        shaded = self.shader.frame(vertices, moment.expression.units, moment.mood, moment.head_pose[:, :3])
        pose = torch.from_numpy(moment.head_pose)
        cameras = Camera.stack([camera.in_head_frame(pose) for camera in self.cameras.values()])
        textures = np.stack([self.shader.view(shaded, centre) for centre in cameras.centre.numpy()])
        photos, masks = self._photograph(
            torch.from_numpy(vertices), torch.from_numpy(textures).permute(0, 3, 1, 2), cameras
        )
        for k, name in enumerate(self.cameras):
            self._write("images", segment, name, number, np.moveaxis(photos[k], -1, 0))
            self._write("masks", segment, name, number, masks[k])
            self._write(TEXTURES, segment, name, number, self._texture_bytes(textures[k]))
        self._write(TEXTURES, segment, "average", number, self._texture_bytes(textures.mean(0)))
        mesh = self.out / "tracked_mesh" / segment
        _write_bytes(mesh / f"{number}.bin", vertices.astype("<f4").tobytes())
        _write_text(mesh / f"{number}_transform.txt", _rows(moment.head_pose))

    def _photograph(self, vertices: Tensor, textures: Tensor, cameras: Camera) -> tuple[Bytes, Bytes]:
        """Photos [B, H, W, 3] and masks [B, H, W], each pixel the mean of 2 × 2."""
        height, width = self.config.size
        photos = np.empty((len(cameras), height, width, 3), np.uint8)
        masks = np.empty((len(cameras), height, width), np.uint8)
        step = max(1, _PIXELS_AT_ONCE // (4 * height * width))
        for first in range(0, len(cameras), step):
            some = slice(first, min(first + step, len(cameras)))
            enlarged = cameras[some].resized((2 * height, 2 * width))
            seen = self.renderer.render(vertices[None].expand(len(enlarged), -1, -1), textures[some], enlarged)
            rgb = seen.rgb.permute(0, 2, 3, 1).contiguous().numpy()
            _develop(rgb, seen.mask.contiguous().numpy(), photos[some], masks[some])
        return photos, masks

    def _texture_bytes(self, texture: FloatArray) -> Bytes:
        """A texture as it lies on disk, [3, T, T]: first row v = 1, no channel of a covered texel at 0 (invalid)."""
        covered = self.shader.appearance.texels.valid[..., None]
        return np.moveaxis(np.where(covered, np.maximum(_bytes(texture), 1), 0), -1, 0).astype(np.uint8)

    def _write(self, kind: str, segment: str, camera: str, number: str, picture: Bytes) -> None:
        write_image(self.out / kind / segment / camera / f"{number}.png", picture)

    def write_description(self, moments: list[Moment]) -> None:
        """Calibration, frame list, split, landmarks and topology: all that does not need the frames."""
        blocks = []
        for name, camera in self.cameras.items():
            extrinsics = np.concatenate([camera.R.numpy(), camera.t.numpy()[:, None]], axis=1)
            blocks.append(f"{name}\n{_rows(camera.K.numpy())}0 0 0 0 0\n{_rows(extrinsics)}")
        _write_text(self.out / "KRT", "\n".join(blocks) + "\n")
        _write_text(self.out / "frame_list.txt", "".join(f"{m.segment} {m.number:06d}\n" for m in moments))
        present = {moment.segment for moment in moments}
        parts = {
            part: [segment.name for segment in SEGMENTS if segment.part == part and segment.name in present]
            for part in SPLITS
        }
        names = list(self.cameras)
        visual = [names[0], names[-1]]
        _write_text(self.out / "split.json", json.dumps({"full": {**parts, "visual": visual}}, indent=1) + "\n")
        _write_text(self.out / "landmarks.json", json.dumps(self.rig.landmarks.to_json(), indent=1) + "\n")
        topology = self.out / "face_topology.obj"
        if not topology.exists():
            with replacing(topology) as beside:
                self.rig.topology.save_obj(beside, self.neutral.vertices)

    def write_statistics(self, moments: list[Moment]) -> None:
        """Means and variances over the training frames (at most 400, evenly spaced), read back from their files."""
        training = {segment.name for segment in SEGMENTS if segment.part == "train"}
        chosen = [moment for moment in moments if moment.segment in training] or moments
        steps = np.linspace(0, len(chosen) - 1, min(len(chosen), _STATISTICS_FRAMES)).round().astype(int)
        sample = [chosen[i] for i in steps]
        meshes = np.zeros((2, len(self.neutral.vertices), 3))
        textures = np.zeros((2, 3, self.config.texture, self.config.texture))
        for moment in sample:
            segment, number = moment.segment, f"{moment.number:06d}"
            mesh = np.fromfile(self.out / "tracked_mesh" / segment / f"{number}.bin", dtype="<f4").reshape(-1, 3)
            texture = read_rgb(self.out / TEXTURES / segment / "average" / f"{number}.png")
            for sums, values in ((meshes, mesh.astype(float)), (textures, texture.astype(float))):
                sums[0] += values
                sums[1] += values**2
        meshes, textures = meshes / len(sample), textures / len(sample)
        covered = self.shader.appearance.texels.valid
        variance = (textures[1] - textures[0] ** 2)[:, covered].mean()
        _write_bytes(self.out / "vert_mean.bin", meshes[0].astype("<f4").tobytes())
        _write_text(self.out / "vert_var.txt", f"{max(float((meshes[1] - meshes[0] ** 2).mean()), 1e-6):.9g}\n")
        _write_text(self.out / "tex_var.txt", f"{max(float(variance), 1e-3):.9g}\n")
        write_image(self.out / "tex_mean.png", np.rint(textures[0]).astype(np.uint8))


@numba.njit(cache=True, nogil=True)
def _develop(rgb: Any, mask: Any, photos: Any, masks: Any) -> None:
    """Means of 2 × 2 as bytes: ``rgb`` [B, 2H, 2W, 3] and ``mask`` [B, 2H, 2W] into [B, H, W, 3] and [B, H, W]."""
    for b in range(photos.shape[0]):
        for row in range(photos.shape[1]):
            for column in range(photos.shape[2]):
                y, x = 2 * row, 2 * column
                covered = mask[b, y, x] + mask[b, y, x + 1] + mask[b, y + 1, x] + mask[b, y + 1, x + 1]
                masks[b, row, column] = np.uint8(min(63.75 * covered + 0.5, 255.0))
                for k in range(3):
                    total = rgb[b, y, x, k] + rgb[b, y, x + 1, k] + rgb[b, y + 1, x, k] + rgb[b, y + 1, x + 1, k]
                    photos[b, row, column, k] = np.uint8(min(63.75 * total + 0.5, 255.0))


def _bytes(values: FloatArray) -> Bytes:
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def _rows(matrix: npt.NDArray[np.floating]) -> str:
    return "".join(" ".join(f"{float(x):.9g}" for x in row) + "\n" for row in matrix)


def _write_bytes(path: Path, data: bytes) -> None:
    with replacing(path) as beside:
        beside.write_bytes(data)


def _write_text(path: Path, text: str) -> None:
    _write_bytes(path, text.encode())
