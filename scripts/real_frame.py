"""What the library makes of one frame of a real capture: train an avatar on it, or drive another one with it.

``train FOLDER`` trains a small avatar on one frame of a capture in the Multiface layout and prints how its render
comes closer to that frame's photo, from a start that knows nothing of the frame. Nothing is written into FOLDER.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from lipflow.avatar import AvatarConfig
from lipflow.capture import open_capture
from lipflow.capture.base import FrameId, Statistics
from lipflow.capture.check import match
from lipflow.capture.multiface import MultifaceCapture
from lipflow.capture.packed import Batch, PackedCapture, pack
from lipflow.checks import InputError
from lipflow.evaluation.metrics import psnr, vertex_error_mm
from lipflow.files import write_json
from lipflow.mesh import Topology, similarity_align
from lipflow.nets.decoder import DecoderConfig
from lipflow.nets.encoders import EncoderConfig
from lipflow.rendering import Renderer, make_renderer
from lipflow.training import TrainConfig, Training

SKIN = (0.30, 0.20, 0.14)  # linear RGB of the start's blank face: some skin, not this person's
VERTEX_STD, TEXTURE_STD = 5.0, 0.1  # mm and linear RGB: what the start expects faces to differ by


@dataclass(frozen=True)
class TrainOptions:
    """A training on one frame."""

    texture: int = 256  # texels a side: 64 times a power of two
    width: int = 256  # of the photo, pixels
    steps: int = 200
    learning_rate: float = 4e-3
    lambda_image: float = 1.0
    lambda_texture: float = 0.05  # the average over all views: another exposure, and no highlights of this view
    lambda_mesh: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Reading:
    """How close the avatar is to the frame."""

    step: int
    psnr: float  # dB, display gamma, inside the tracked mesh's silhouette
    vertex_mm: float  # mean distance from the tracked mesh
    seconds: float  # spent training


def choose_frame(capture: MultifaceCapture, frame: str | None, camera: str | None) -> tuple[FrameId, str]:
    """A frame (``SEGMENT/NUMBER``; None: the first with a photo) and one of its cameras (None: the first).

    Raises:
        InputError: if the capture has no such photo.
    """
    photographed = {str(id): id for id in capture.frames if capture.photo_cameras(id)}
    name = next(iter(photographed), "") if frame is None else frame
    if name not in photographed:
        raise InputError("frame", expected=f"one of the {len(photographed)} with photos", got=repr(name))
    cameras = capture.photo_cameras(photographed[name])
    if camera is not None and camera not in cameras:
        raise InputError("camera", expected=" or ".join(cameras), got=repr(camera))
    return photographed[name], camera or cameras[0]


def blank_face(capture: MultifaceCapture, id: FrameId, texture_valid: np.ndarray) -> Statistics:
    """Statistics that do not hold the answer: of one frame, the mean would be the frame itself.

    The mesh is the topology file's own (another pose), moved to the frame's head by a similarity; the texture is one
    colour; both spreads are constants.
    """
    other = Topology.from_obj(capture.topology_file)[1]
    scale, R, t = similarity_align(other, capture.vertices(id).numpy())
    mesh = (scale * other @ R.T + t).astype(np.float32)
    texture = np.where(texture_valid, np.array(SKIN, np.float32)[:, None, None], np.float32(0))
    return Statistics(mesh, VERTEX_STD, texture, TEXTURE_STD, texture_valid)


def avatar_sizes(texture: int) -> AvatarConfig:
    """A small avatar of N(0, I), for textures of 64 · 2ⁿ texels a side.

    Raises:
        InputError: for another texture size.
    """
    doublings = texture.bit_length() - 7
    if doublings < 0 or texture != 64 << doublings:
        raise InputError("texture size", expected="64, 128, 256, 512 or 1024", got=texture)
    channels = (32, 24, 16, 12, 8)[: doublings + 1]
    return AvatarConfig(
        texture=texture,
        latent=16,
        encoder=EncoderConfig(channels=(8, 12, 16, 16), texture_features=16, mesh_features=16, mesh_stride=7),
        decoder=DecoderConfig(code=32, view=4, seed=8, seed_channels=32, channels=channels, shuffle=4),
    )


def pack_frame(capture: MultifaceCapture, id: FrameId, camera: str, options: TrainOptions, work: Path) -> PackedCapture:
    """The one frame at the training's resolution, the photo shrunk area-wise."""
    capture.split = {"train": [id], "val": [], "test": []}
    height = round(capture.photo_size[0] * options.width / capture.photo_size[1])
    size = (height, options.width)
    packing = pack(
        capture,
        folder=work,
        texture=options.texture,
        photo=size,
        hmc=None,
        cameras=(camera,),
        ids=(id,),
        slop_variants=0,
    )
    while True:
        try:
            next(packing)
        except StopIteration as done:
            return done.value


def train_on_frame(
    capture: MultifaceCapture, id: FrameId, camera: str, options: TrainOptions, work: Path
) -> Iterator[tuple[Reading, Training]]:
    """Train, and read the closeness at the start and about ten times on the way; ``work`` takes the packed frame."""
    packed = pack_frame(capture, id, camera, options, work)
    packed.statistics = blank_face(capture, id, packed.statistics.texture_valid)
    config = TrainConfig(
        variant="dam",
        sizes=avatar_sizes(options.texture),
        steps=options.steps,
        batch=1,
        sigma_q="free",  # one frame has one code: nothing is gained by its being noisy
        lambda_latent=1e-4,
        snapshot_every=options.steps,
        validate_every=options.steps,
        **{name: value for name, value in asdict(options).items() if name in _PASSED_ON},
    )
    renderer = make_renderer(packed.topology)
    training = Training(config, packed, renderer=renderer)
    batch = packed.batch(packed.split("train"))
    yield _read(training, batch, renderer), training
    for state in training.run():
        if state.step % max(1, options.steps // 10) == 0 or state.step == options.steps:
            yield _read(training, batch, renderer), training


_PASSED_ON = ("seed", "learning_rate", "lambda_image", "lambda_texture", "lambda_mesh")


def _read(training: Training, batch: Batch, renderer: Renderer) -> Reading:
    """What the avatar in training makes of the frame: Q's mean decoded, under the photo's camera."""
    avatar = training.avatar.eval()
    with torch.no_grad():
        z, _ = avatar.encode(batch.average_texture, batch.vertices)
        decoded = avatar.decode(z, batch.camera.view)
        drawn = renderer.render(decoded.vertices, decoded.texture, batch.camera).rgb
    avatar.train()
    closeness = float(psnr(drawn, batch.photo, batch.mask))
    return Reading(training.step, closeness, float(vertex_error_mm(decoded.vertices, batch.vertices)), training.seconds)


def references(batch: Batch, blank: Statistics, renderer: Renderer) -> dict[str, float]:
    """PSNR (dB) of faces that need no training: the blank one, and the tracked mesh under the average texture."""
    blank_mesh, blank_texture = torch.from_numpy(blank.vertex_mean)[None], torch.from_numpy(blank.texture_mean)[None]
    inside = batch.mask[0] > 0.5
    blank_face = renderer.render(blank_mesh, blank_texture, batch.camera).rgb
    tracked = renderer.render(batch.vertices, batch.average_texture, batch.camera).rgb
    return {
        "mean face (another pose, one colour)": float(psnr(blank_face, batch.photo, batch.mask)),
        "tracked mesh, average texture": float(psnr(tracked, batch.photo, batch.mask)),
        "the same, each colour scaled to fit": match(tracked[0], batch.photo[0], inside)[1],
    }


def run_train(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(min(torch.get_num_threads(), arguments.threads))
    names = [field for field in vars(TrainOptions()) if field in vars(arguments)]
    options = TrainOptions(**{name: getattr(arguments, name) for name in names})
    capture = open_capture(arguments.folder)
    id, camera = choose_frame(capture, arguments.frame, arguments.camera)
    readings: list[Reading] = []
    with tempfile.TemporaryDirectory() as work:
        for reading, training in train_on_frame(capture, id, camera, options, Path(work) / "packed"):
            if not readings:
                batch = training.packed.batch(training.packed.split("train"))
                found = references(batch, training.avatar.statistics, make_renderer(capture.topology))
                height, width = training.packed.photo_size
                _say(f"{capture.name} {id} camera {camera}: photo {width}x{height}, texture {options.texture}")
                for name, value in found.items():
                    _say(f"  {name:40} {value:6.2f} dB")
                _say("  step   PSNR dB   mesh mm   seconds")
            readings.append(reading)
            _say(f"  {reading.step:4d} {reading.psnr:9.2f} {reading.vertex_mm:9.2f} {reading.seconds:9.1f}")
    if arguments.json is not None:
        body = {"capture": capture.name, "frame": str(id), "camera": camera, "options": asdict(options)}
        write_json(arguments.json, {**body, "references": found, "readings": [asdict(r) for r in readings]})


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    train = commands.add_parser("train", help="train on one frame and show the render coming closer to its photo")
    train.add_argument("folder", type=Path, help="a capture in the Multiface layout")
    train.add_argument("--frame", help="SEGMENT/NUMBER; default: the first with a photo")
    train.add_argument("--camera", help="of that frame; default: the first with a photo")
    train.add_argument("--json", type=Path, help="write the table there as well")
    train.add_argument("--threads", type=int, default=2, help="of the processor")
    for name, value in vars(TrainOptions()).items():
        train.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    train.set_defaults(run=run_train)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
