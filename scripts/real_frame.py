"""What the library makes of one frame of a real capture: train an avatar on it, or drive another one with it.

``train FOLDER`` trains a small avatar on one frame of a capture in the Multiface layout and prints how its render
comes closer to that frame's photo, from a start that knows nothing of the frame.

``drive FOLDER --avatar NAME`` finds the 136 landmarks on the frame's mesh, sees them through one of its cameras, moves
them by a similarity to where the avatar's own are, and fits the avatar: another person's expression on its face.

Nothing is written into FOLDER.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from lipflow.avatar import Avatar, AvatarConfig
from lipflow.camera import Camera
from lipflow.capture import open_capture
from lipflow.capture.base import FrameId, Statistics
from lipflow.capture.check import match
from lipflow.capture.multiface import MultifaceCapture
from lipflow.capture.packed import Batch, PackedCapture, pack
from lipflow.capture.synthetic.head import HeadRig
from lipflow.capture.synthetic.identity import make_identity
from lipflow.capture.synthetic.template import head_template
from lipflow.checks import InputError
from lipflow.colour import to_picture
from lipflow.embedded import DEFAULT, find_avatar
from lipflow.evaluation.metrics import psnr, vertex_error_mm
from lipflow.files import write_json
from lipflow.fitting import FitConfig, FitState, fit
from lipflow.mesh import Topology, similarity_align
from lipflow.nets.decoder import DecoderConfig
from lipflow.nets.encoders import EncoderConfig
from lipflow.observation_files import save_keypoints
from lipflow.observations import KeypointObservation
from lipflow.registration import RegistrationConfig, Surface, register
from lipflow.rendering import Renderer, make_renderer
from lipflow.training import Training
from lipflow.training_config import TrainConfig

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


def other_pose(capture: MultifaceCapture, id: FrameId) -> np.ndarray:
    """The vertices [V, 3] of the topology's own file, moved to the frame's head by a similarity."""
    other = Topology.from_obj(capture.topology_file)[1]
    scale, R, t = similarity_align(other, capture.vertices(id).numpy())
    return (scale * other @ R.T + t).astype(np.float32)


def blank_face(capture: MultifaceCapture, id: FrameId, texture_valid: np.ndarray) -> Statistics:
    """Statistics that do not hold the answer: of one frame, the mean would be the frame itself.

    The mesh is the topology file's own (another pose), moved to the frame's head by a similarity; the texture is one
    colour; both spreads are constants.
    """
    mesh = other_pose(capture, id)
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


# Driving ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Driven:
    """What a fit made of one frame's keypoints; distances are means over the landmarks in the avatar's pixels."""

    mean_px: float  # of the avatar's mean face
    start_px: float  # of what the prior makes of the keypoints
    fit_px: float
    start_log_likelihood: float  # log p(z)
    fit_log_likelihood: float
    code_size: float  # |z|
    iterations: float


def find_landmarks(capture: MultifaceCapture, id: FrameId) -> tuple[np.ndarray, dict[str, float]]:
    """The 136 landmarks [136, 3] mm on a frame's mesh, and how well they were found.

    They are looked for on the topology file's own pose, whose lips and lids may be apart where the frame's are shut;
    vertices carry them from there. A capture that names its landmarks is believed.
    """
    vertices = capture.vertices(id).numpy()
    if capture.landmarks is not None:
        return vertices[capture.landmarks.index], {}
    rig = HeadRig.load()
    template, poses = head_template(rig, rig.neutral(make_identity(0)))
    faces = capture.topology.faces.astype(np.int64)
    opened = Surface(other_pose(capture, id).astype(np.float64), faces).without_fillings()
    found = register(template, opened, RegistrationConfig(poses=tuple(poses)))
    apart = found.distance[template.active]
    quality = {
        "triangles_across_openings": float(len(faces) - len(opened.faces)),
        "median_mm": float(np.median(apart)),
        "ninth_decile_mm": float(np.quantile(apart, 0.9)),
    }
    return found.points[rig.landmarks.index].at(vertices), quality


def most_frontal(capture: MultifaceCapture, id: FrameId) -> str:
    """The camera that looks most frontally at the face."""
    return max(capture.cameras, key=lambda name: float(capture.camera(id, name).view[2]))


def to_avatar(landmarks: np.ndarray, camera: Camera, avatar: Avatar, align: str, hold: Sequence[str] = ()) -> Tensor:
    """Another head's landmarks [136, 3] mm as keypoints [136, 2] for the avatar.

    ``image``: seen through their own ``camera``, the picture is moved by a similarity of the plane to where the
    avatar's mean face has its keypoints; the camera's side and the head's pitch stay in it. ``head``: the landmarks
    are moved in space to the avatar's mean ones and seen through the avatar's keypoint camera. The groups in ``hold``
    then stay where the avatar's mean face has them: a jaw's outline, say, tells who it is before what it does.

    Raises:
        InputError: for an unknown group.
    """
    keypoints = _aligned(landmarks, camera, avatar, align)
    for name in hold:
        groups = avatar.landmarks.groups if avatar.landmarks is not None else {}
        if name not in groups:
            raise InputError("hold", expected=" or ".join(groups), got=repr(name))
        members = list(groups[name])
        mean = keypoint_camera_of(avatar).project_normalised(avatar.vertex_mean[avatar.landmark_ids])
        keypoints[members] = mean[members]
    return keypoints


def _aligned(landmarks: np.ndarray, camera: Camera, avatar: Avatar, align: str) -> Tensor:
    own, mean = keypoint_camera_of(avatar), avatar.vertex_mean[avatar.landmark_ids]
    if align == "head":
        scale, R, t = similarity_align(landmarks, mean.numpy())
        return own.project_normalised(torch.from_numpy(scale * landmarks @ R.T + t).float())
    seen = camera.project(torch.from_numpy(landmarks).float())[:, :2].double()
    goal = own.project(mean)[:, :2].double()
    z, target = torch.view_as_complex(seen.contiguous()), torch.view_as_complex(goal.contiguous())
    z, middle = z - z.mean(), target.mean()
    factor = (z.conj() * (target - middle)).sum() / z.abs().square().sum()  # turns and scales
    moved = torch.view_as_real(factor * z + middle)
    return (moved / torch.tensor([own.size[1], own.size[0]])).float()


def keypoint_camera_of(avatar: Avatar) -> Camera:
    if avatar.keypoint_camera is None or avatar.landmarks is None:
        raise InputError("avatar", expected="one with landmarks and a keypoint camera", got="one without")
    return avatar.keypoint_camera


def drive(avatar: Avatar, keypoints: Tensor, noise: float) -> tuple[Driven, FitState]:
    """Fit the avatar to keypoints [136, 2] that are trusted to ``noise`` pixels."""
    camera = keypoint_camera_of(avatar)
    observation = KeypointObservation(keypoints, camera, noise=noise)
    states = list(fit(avatar, observation, FitConfig(optimiser="lm", iterations=60)))
    start, end = states[0], states[-1]
    mean = camera.project_normalised(avatar.vertex_mean[avatar.landmark_ids]).numpy()

    def distance(projected: np.ndarray) -> float:
        height, width = camera.size
        return float(np.linalg.norm((projected - keypoints.numpy()) * [width, height], axis=1).mean())

    mine = start.extras["projected"], end.extras["projected"]
    likelihoods = start.log_likelihood, end.log_likelihood
    size = float(np.linalg.norm(end.z))
    return Driven(distance(mean), distance(mine[0]), distance(mine[1]), *likelihoods, size, end.iteration), end


def own_keypoints(avatar: Avatar, own: Path | None, count: int = 16) -> tuple[str, list[Tensor]]:
    """Keypoints of the avatar's own person: of held-out frames of a capture, or of the codes stored in the avatar."""
    camera = keypoint_camera_of(avatar)
    if own is None:
        if avatar.samples_z is None:
            raise InputError("avatar", expected="stored codes, or --own CAPTURE", got="neither")
        chosen = torch.linspace(0, len(avatar.samples_z) - 1, count).round().long()
        landmarks = avatar.decode_landmarks(avatar.samples_z[chosen])
        return "its own training frames", list(camera.project_normalised(landmarks))
    capture = open_capture(own)
    if capture.landmarks is None or capture.topology.vertex_count != avatar.topology.vertex_count:
        raise InputError(f"capture {own}", expected="the avatar's topology, with landmarks", got="another")
    ids = capture.split["test"] or capture.frames
    steps = np.linspace(0, len(ids) - 1, min(count, len(ids))).round().astype(int)
    index = torch.from_numpy(capture.landmarks.index)
    return "its own held-out frames", [camera.project_normalised(capture.vertices(ids[i])[index]) for i in steps]


def run_drive(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(min(torch.get_num_threads(), arguments.threads))
    avatar = Avatar.load(find_avatar(arguments.avatar)).for_inference()
    capture = open_capture(arguments.folder)
    id, _ = choose_frame(capture, arguments.frame, None)
    name = arguments.camera or most_frontal(capture, id)
    if name not in capture.cameras:
        raise InputError("camera", expected=" or ".join(capture.cameras), got=repr(name))
    landmarks, quality = find_landmarks(capture, id)
    _say(f"{capture.name} {id} through camera {name}, on {arguments.avatar}")
    for key, value in quality.items():
        _say(f"  registration: {key.replace('_', ' ')} {value:.4g}")
    _say("  aligned  noise px   mean face px   prior px   fitted px   log p(z) prior   fitted     |z|   iterations")
    rows, states = [], {}
    camera = capture.camera(id, name)
    for align in ("image", "head"):
        keypoints = to_avatar(landmarks, camera, avatar, align, arguments.hold)
        for noise in arguments.noise:
            driven, states[align, noise] = drive(avatar, keypoints, noise)
            rows.append({"align": align, "noise": noise, **asdict(driven)})
            _say(f"  {align:7} {noise:9.2g} {_row(driven)}")
    title, signals = own_keypoints(avatar, arguments.own)
    own = {noise: [drive(avatar, points, noise)[0] for points in signals] for noise in arguments.noise}
    _say(f"  {title}, {len(signals)} of them: medians, the least log p(z), the largest |z|")
    for noise, several in own.items():
        middle = Driven(**{key: float(np.median([getattr(d, key) for d in several])) for key in vars(several[0])})
        least, largest = min(d.fit_log_likelihood for d in several), max(d.code_size for d in several)
        _say(f"  {'':7} {noise:9.2g} {_row(middle)}   {least:.0f}, {largest:.1f}")
    if arguments.out is not None:
        best = arguments.align, arguments.noise[-1]
        shown = to_avatar(landmarks, camera, avatar, arguments.align, arguments.hold)
        _save_pictures(arguments.out, capture, id, camera, landmarks, avatar, shown, states[best])
        save_keypoints(arguments.out / "keypoints.json", shown, torch.ones(len(shown)), _names(avatar))
        body = {
            "capture": capture.name,
            "frame": str(id),
            "camera": name,
            "registration": quality,
            "driven": rows,
            "held": arguments.hold,
        }
        held = {str(noise): [asdict(d) for d in several] for noise, several in own.items()}
        write_json(arguments.out / "drive.json", {**body, "own": {"what": title, "by_noise": held}})


def _row(driven: Driven) -> str:
    return (
        f"{driven.mean_px:14.2f} {driven.start_px:10.2f} {driven.fit_px:11.2f} {driven.start_log_likelihood:16.0f} "
        f"{driven.fit_log_likelihood:8.0f} {driven.code_size:7.1f} {driven.iterations:12.0f}"
    )


def _names(avatar: Avatar) -> tuple[str, ...]:
    assert avatar.landmarks is not None  # keypoint_camera_of looked
    return avatar.landmarks.names


def _save_pictures(
    out: Path,
    capture: MultifaceCapture,
    id: FrameId,
    camera: Camera,
    landmarks: np.ndarray,
    avatar: Avatar,
    keypoints: Tensor,
    state: FitState,
) -> None:
    """``source.png``: the frame's mesh and landmarks in its camera. ``driven.png``: the avatar's mean face, what the
    prior alone makes of the keypoints, and the fit, with the keypoints given (green) and the avatar's own (red)."""
    small = camera.resized((round(800 * camera.size[0] / camera.size[1]), 800))
    texture, vertices = capture.average_texture(id)[None], capture.vertices(id)
    seen = make_renderer(capture.topology).render(vertices[None], texture, Camera.stack([small])).rgb[0]
    marks = small.project(torch.from_numpy(landmarks).float())[:, :2].numpy()
    out.mkdir(parents=True, exist_ok=True)
    _dotted(seen, {(0, 255, 0): marks}).save(out / "source.png")
    own = keypoint_camera_of(avatar)
    large = own.resized((2 * own.size[0], 2 * own.size[1]))
    observation = KeypointObservation(keypoints, own)
    start = next(fit(avatar, observation, FitConfig(optimiser="lm")))
    renderer, panels = make_renderer(avatar.topology), []
    for z in (None, torch.from_numpy(start.z)[None], torch.from_numpy(state.z)[None]):
        mesh = avatar.vertex_mean[None] if z is None else avatar.decode_mesh(z)
        colours = avatar.texture_mean[None] if z is None else avatar.decode_texture(z, large.view[None])
        face = renderer.render(mesh, colours, Camera.stack([large])).rgb[0]
        width_height = np.array([large.size[1], large.size[0]])
        mine = large.project(mesh[0, avatar.landmark_ids])[:, :2].numpy()
        plain, dots = _dotted(face, {}), {(0, 255, 0): keypoints.numpy() * width_height, (255, 60, 60): mine}
        panels.append(np.concatenate([np.asarray(plain), np.asarray(_dotted(face, dots))]))
    Image.fromarray(np.concatenate(panels, axis=1)).save(out / "driven.png")


def _dotted(linear: Tensor, dots: dict[tuple[int, int, int], np.ndarray]) -> Image.Image:
    """A picture with dots [N, 2] (column, row) of each colour."""
    picture = Image.fromarray(to_picture(linear))
    draw = ImageDraw.Draw(picture)
    for colour, points in dots.items():
        for column, row in points:
            draw.ellipse((column - 2, row - 2, column + 2, row + 2), fill=colour)
    return picture


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
    driving = commands.add_parser("drive", help="fit an avatar to the frame's landmarks")
    driving.add_argument("folder", type=Path, help="a capture in the Multiface layout")
    driving.add_argument("--avatar", default=DEFAULT, help="an embedded avatar's name, or a file")
    driving.add_argument("--frame", help="SEGMENT/NUMBER; default: the first with a photo")
    driving.add_argument("--camera", help="that sees the landmarks; default: the most frontal")
    driving.add_argument("--align", choices=("image", "head"), default="image", help="of the pictures")
    driving.add_argument("--hold", nargs="+", default=[], help="landmark groups left at the avatar's mean, e.g. jaw")
    driving.add_argument("--noise", type=float, nargs="+", default=[0.5, 3.0], help="pixels; pictures show the last")
    driving.add_argument("--own", type=Path, help="a capture of the avatar's person, to compare log p(z) with")
    driving.add_argument("--out", type=Path, help="folder for pictures, keypoints.json and drive.json")
    driving.add_argument("--threads", type=int, default=2, help="of the processor")
    driving.set_defaults(run=run_drive)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
