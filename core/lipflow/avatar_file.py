"""An avatar as one file: safetensors, with everything that is not a tensor as JSON in its metadata."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lipflow.avatar import Avatar, AvatarConfig
from lipflow.camera import Camera
from lipflow.capture.base import Statistics
from lipflow.checkpoint import load_tensors, save_tensors, take
from lipflow.checks import InputError
from lipflow.mesh import Landmarks, Topology
from lipflow.nets.layers import without_drawing
from lipflow.serial import from_json, to_json

FORMAT = "lipflow-avatar"
CAMERAS = ("keypoint_camera", "hmc_cameras")


def weights(avatar: Avatar) -> dict[str, Tensor]:
    """What training learned. The integer tensors (the flow's permutations) follow from the config."""
    return {name: tensor for name, tensor in avatar.state_dict().items() if tensor.is_floating_point()}


def save_avatar(avatar: Avatar, path: Path, *, half: bool) -> None:
    """See ``Avatar.save``."""
    folded = avatar.for_inference()
    kept = {f"weights/{k}": v.half() if half else v for k, v in weights(folded).items()}
    bad = next((k for k, v in kept.items() if not torch.isfinite(v).all()), None)
    if bad is not None:
        raise InputError(f"avatar, {bad}", expected="finite numbers to save", got="NaN or infinity")
    topology, statistics = avatar.topology, avatar.statistics
    small = np.uint16 if max(topology.vertex_count, len(topology.uv)) <= 65536 else np.int32
    arrays = {
        "topology/faces": topology.faces.astype(small),
        "topology/uv": topology.uv,
        "topology/uv_faces": topology.uv_faces.astype(small),
        "statistics/vertex_mean": np.asarray(statistics.vertex_mean, np.float32),
        "statistics/texture_mean": avatar.texture_mean_bytes,
        "statistics/texture_valid": np.packbits(np.asarray(statistics.texture_valid, bool)),
    }
    kept |= {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    body = {
        "format": FORMAT,
        "version": 1,
        "config": to_json(folded.config),
        "vertex_count": topology.vertex_count,
        "vertex_std": float(statistics.vertex_std),
        "texture_std": float(statistics.texture_std),
        "landmarks": None if avatar.landmarks is None else avatar.landmarks.to_json(),
        "segments": list(avatar.samples_segment),
        "record": avatar.record,
    }
    for name in CAMERAS:
        camera: Camera | None = getattr(avatar, name)
        body[name] = None if camera is None else list(camera.size)
        if camera is not None:
            kept |= {f"{name}/K": camera.K, f"{name}/R": camera.R, f"{name}/t": camera.t}
    if avatar.samples_z is not None and avatar.samples_u is not None:
        kept |= {"samples/z": avatar.samples_z.half(), "samples/u": avatar.samples_u.half()}
    save_tensors(path, kept, body)


def load_avatar(path: Path) -> Avatar:
    """See ``Avatar.load``."""
    what = f"avatar {path}"
    tensors, body = load_tensors(path, what="avatar", kind=FORMAT)
    if body.get("version") != 1:
        raise InputError(what, expected="format version 1", got=body.get("version"), mend="update this program")
    config = from_json(AvatarConfig, body.get("config"), what=f"{what}, config")
    count, segments, record = body.get("vertex_count"), body.get("segments"), body.get("record")
    if type(count) is not int or not 0 < count < 2**31:
        raise InputError(f"{what}, vertex_count", expected="a number of vertices", got=repr(count))
    if not isinstance(segments, list) or not all(isinstance(s, str) for s in segments) or not isinstance(record, dict):
        raise InputError(what, expected="a list of segments and a training record", got="something else")
    faces = take(tensors, "topology/faces", (None, 3), torch.int32, what)
    topology = Topology.checked(
        faces.numpy(),
        take(tensors, "topology/uv", (None, 2), torch.float32, what).numpy(),
        take(tensors, "topology/uv_faces", (len(faces), 3), torch.int32, what).numpy(),
        count,
        what=f"{what}, topology",
    )
    marks = body.get("landmarks")
    landmarks = None if marks is None else Landmarks.from_json(marks, count, what=f"{what}, landmarks")
    side = config.texture
    mean = take(tensors, "statistics/texture_mean", (3, side, side), torch.uint8, what).numpy()
    packed = take(tensors, "statistics/texture_valid", ((side * side + 7) // 8,), torch.uint8, what).numpy()
    statistics = Statistics(
        vertex_mean=take(tensors, "statistics/vertex_mean", (count, 3), torch.float32, what).numpy(),
        vertex_std=_positive(body, "vertex_std", what),
        texture_mean=((mean / 255.0) ** 2).astype(np.float32),
        texture_std=_positive(body, "texture_std", what),
        texture_valid=np.unpackbits(packed, count=side * side).reshape(side, side).astype(bool),
    )
    learned = {k.removeprefix("weights/"): v for k, v in tensors.items() if k.startswith("weights/")}
    try:
        with without_drawing():  # shapes are compared before memory is touched
            avatar = Avatar(config, topology, landmarks, statistics)
    except RuntimeError as error:
        raise InputError(f"{what}, config", expected="sizes that fit in memory", got="larger ones") from error
    expected = weights(avatar)
    astray = sorted(set(expected) ^ set(learned))
    if astray:
        raise InputError(what, expected="the weights that its config names", got=f"{astray[0]!r} astray")
    checked = {k: take(learned, k, tuple(v.shape), torch.float32, what) for k, v in expected.items()}
    avatar.load_state_dict(checked, strict=False)
    avatar.record = record
    for name in CAMERAS:
        setattr(avatar, name, _camera(tensors, body, name, what))
    if segments:
        shape = (len(segments), config.latent)
        z, u = (take(tensors, f"samples/{name}", shape, torch.float32, what) for name in "zu")
        avatar.set_samples(z, u, tuple(segments))
    return avatar.eval()


def _positive(body: dict[str, object], name: str, what: str) -> float:
    value = body.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise InputError(f"{what}, {name}", expected="a number above 0", got=repr(value))
    return float(value)


def _camera(tensors: dict[str, Tensor], body: dict[str, object], name: str, what: str) -> Camera | None:
    size = body.get(name)
    if size is None:
        return None
    if not isinstance(size, list) or len(size) != 2 or not all(type(n) is int and 0 < n < 65536 for n in size):
        raise InputError(f"{what}, {name}", expected="an image's height and width", got=repr(size)[:40])
    lead: tuple[int, ...] = (3,) if name == "hmc_cameras" else ()
    K, R, t = (
        take(tensors, f"{name}/{part}", (*lead, *shape), torch.float32, what)
        for part, shape in (("K", (3, 3)), ("R", (3, 3)), ("t", (3,)))
    )
    return Camera(K, R, t, (size[0], size[1]))
