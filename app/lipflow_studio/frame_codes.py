"""Where a capture's frames lie in an avatar's latent spaces: Q encodes them, a few at a time. Torch lives here.

A plain generator (see :mod:`lipflow_studio.workers`).
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.capture import FrameId, MultifaceCapture, images
from lipflow.checks import InputError
from lipflow.latent_space import Cloud, LatentSpace, encoded_cloud
from lipflow_studio.latent_engine import Places
from lipflow_studio.workers import Waiting

AT_ONCE = 6  # frames: between two of these a fit beside it gets its turn
SHARE = 0.5  # of the time


@dataclass(frozen=True, eq=False)
class FrameCodes:
    """The frames that were encoded so far."""

    ids: tuple[FrameId, ...]
    places: Places  # of them
    segments: tuple[str, ...]  # of all that are wanted, in order
    wanted: int
    lost: int = 0  # that cannot be read
    total: int = 0  # frames of the capture


def spread(ids: tuple[FrameId, ...], most: int) -> tuple[FrameId, ...]:
    """At most so many of the frames, evenly over all of them."""
    chosen = np.unique(np.linspace(0, len(ids) - 1, min(len(ids), most)).round().astype(np.int64))
    return tuple(ids[i] for i in chosen)


def encode_frames(
    avatar: Avatar, space: LatentSpace, capture: MultifaceCapture, most: int
) -> Generator[FrameCodes | Waiting, None, None]:
    """Yields the codes of at most so many frames, more and more of them; ends with the last.

    Raises:
        InputError: an avatar without Q, or a capture of another mesh.
    """
    _suits(avatar, capture)
    ids = spread(tuple(capture.frames), most)
    segments = tuple(sorted({id.segment for id in ids}))
    done: list[FrameId] = []
    clouds: list[Cloud] = []
    for first in range(0, len(ids), AT_ONCE):
        began = time.perf_counter()
        read = [(id, frame) for id in ids[first : first + AT_ONCE] if (frame := _read(avatar, capture, id)) is not None]
        if read:
            textures, vertices = (torch.stack(part) for part in zip(*(frame for _, frame in read), strict=True))
            clouds.append(encoded_cloud(avatar, textures, vertices, tuple(id.segment for id, _ in read)))
            done += [id for id, _ in read]
        z = np.concatenate([cloud.z for cloud in clouds]) if clouds else np.zeros((0, avatar.config.latent), np.float32)
        u = np.concatenate([cloud.u for cloud in clouds]) if clouds else z
        lost = min(first + AT_ONCE, len(ids)) - len(done)
        places = Places(z, space.p.to_plane(u), space.q.to_plane(z))
        yield FrameCodes(tuple(done), places, segments, len(ids), lost, len(capture.frames))
        yield Waiting((time.perf_counter() - began) * (1 / SHARE - 1))


def _suits(avatar: Avatar, capture: MultifaceCapture) -> None:
    if avatar.encoder is None:
        raise InputError("frames of the capture", expected="an avatar with an encoder Q to place them", got="none")
    own, other = avatar.topology.vertex_count, capture.topology.vertex_count
    if own != other:
        raise InputError("frames of the capture", expected=f"the avatar's mesh of {own:,} vertices", got=f"{other:,}")


def _read(avatar: Avatar, capture: MultifaceCapture, id: FrameId) -> tuple[Tensor, Tensor] | None:
    """Average texture [3, T, T] linear RGB and mesh [V, 3] mm; None for a frame whose files are damaged or missing."""
    try:
        frame = capture.frame(id, photos=(), textures=())
    except InputError:
        return None
    if frame.average_texture is None:
        return None
    texture = torch.from_numpy(images.resize_texture(frame.average_texture, avatar.config.texture))
    device = avatar.vertex_mean.device
    return texture.to(device).float() / 255, torch.from_numpy(frame.vertices).to(device)
