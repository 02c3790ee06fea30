"""Looking at a model while it trains: figures on held-out expressions, a sample picture, codes for latent plots."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.capture.packed import Batch, PackedCapture
from lipflow.colour import to_picture
from lipflow.evaluation.metrics import psnr, vertex_error_mm
from lipflow.rendering import Renderer

_CHUNK = 8  # frames at once
_SNAPSHOT_CODES = 64


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A picture and some codes, copied."""

    picture: npt.NDArray[np.uint8] | None  # [H, 3W, 3] photo, reconstruction, the prior's guess; None if not drawn
    codes_q: npt.NDArray[np.float32]  # [n, Z] Q's mean for some training frames, in Q (the prior's, without a Q)
    codes_u: npt.NDArray[np.float32]  # [n, Z] the same, carried into P
    codes_p: npt.NDArray[np.float32]  # [n, Z] the prior's mean, in P
    codes_start: npt.NDArray[np.float32]  # [n, Z] the prior's mean, carried into Q
    segments: tuple[str, ...]  # [n] the expression of each


def spread(indices: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """At most ``count`` of ``indices``, evenly spaced, in order."""
    if len(indices) <= count:
        return indices
    return indices[np.linspace(0, len(indices) - 1, count).round().astype(np.int64)]


@torch.no_grad()
def validate(avatar: Avatar, packed: PackedCapture, renderer: Renderer, count: int) -> dict[str, float] | None:
    """Figures on frames of held-out expressions, under each frame's first camera; None where there are none.

    ``reconstruction_psnr`` (Q's mean decoded, dB in display gamma inside the mask), ``start_psnr`` (the prior's
    guess decoded), ``mesh_mm`` and ``start_mesh_mm`` (mean vertex distance), ``nll`` (of Q's mean, nats).
    """
    frames = spread(packed.split("val"), count)
    if len(frames) == 0:
        return None
    figures: dict[str, list[float]] = {}
    with _evaluating(avatar):
        for first in range(0, len(frames), _CHUNK):
            batch = packed.batch(frames[first : first + _CHUNK], 0, _device(avatar))
            h, z_q, z_start = _codes(avatar, batch)
            for name, z in (("reconstruction", z_q), ("start", z_start)):
                decoded = avatar.decode(z, batch.camera.view)
                drawn = renderer.render(decoded.vertices, decoded.texture, batch.camera).rgb
                figures.setdefault(f"{name}_psnr", []).extend(psnr(drawn, batch.photo, batch.mask).tolist())
                error = vertex_error_mm(decoded.vertices, batch.vertices).tolist()
                figures.setdefault("mesh_mm" if name == "reconstruction" else "start_mesh_mm", []).extend(error)
            figures.setdefault("nll", []).extend((-avatar.prior.log_prob(z_q, h)).tolist())
    means = {name: [v for v in values if math.isfinite(v)] for name, values in figures.items()}
    return {name: sum(values) / len(values) for name, values in means.items() if values}


@torch.no_grad()
def snapshot(
    avatar: Avatar,
    packed: PackedCapture,
    renderer: Renderer | None,
    *,
    frames: npt.NDArray[np.int64] | None = None,
) -> Snapshot:
    """Codes of ``frames`` (some training frames), and with a ``renderer`` a picture of one held-out frame."""
    chosen = spread(packed.split("train"), _SNAPSHOT_CODES) if frames is None else frames
    parts: list[list[Tensor]] = [[], [], [], []]
    picture = None
    with _evaluating(avatar):
        for first in range(0, len(chosen), _CHUNK):
            batch = packed.batch(chosen[first : first + _CHUNK], 0, _device(avatar))
            h, z_q, z_start = _codes(avatar, batch)
            mu_p = avatar.prior.base(h)[0].expand_as(z_q)
            for part, codes in zip(parts, (z_q, avatar.prior.to_prior(z_q, h)[0], mu_p, z_start)):
                part.append(codes.cpu())
        if renderer is not None:
            picture = _picture(avatar, packed, renderer)
    q, u, p, start = (np.array(torch.cat(part).numpy()) for part in parts)
    return Snapshot(picture, q, u, p, start, tuple(packed.frames[int(k)].segment for k in chosen))


def _picture(avatar: Avatar, packed: PackedCapture, renderer: Renderer) -> npt.NDArray[np.uint8]:
    held_out = packed.split("val")
    frames = held_out if len(held_out) else packed.split("train")
    index = frames[len(frames) // 2 : len(frames) // 2 + 1]
    views = packed.batch(index.repeat(packed.cameras_per_frame), range(packed.cameras_per_frame))
    in_front = F.normalize(views.camera.centre, dim=-1)[:, 2].argmax()  # sees most of the face
    batch = packed.batch(index, int(in_front), _device(avatar))
    _, z_q, z_start = _codes(avatar, batch)
    row = [batch.photo[0] * batch.mask[0]]
    for z in (z_q, z_start):
        decoded = avatar.decode(z, batch.camera.view)
        row.append(renderer.render(decoded.vertices, decoded.texture, batch.camera).rgb[0])
    return to_picture(torch.cat(row, dim=-1))


def _codes(avatar: Avatar, batch: Batch) -> tuple[Tensor | None, Tensor, Tensor]:
    """h, Q's mean and the prior's guess, both in Q."""
    h = avatar.context({"hmc": batch.hmc, "kpt": batch.keypoints, None: None}[avatar.driving])
    start = avatar.prior.start(h).expand(len(batch.vertices), -1)
    z = start if avatar.encoder is None else avatar.encode(batch.average_texture, batch.vertices)[0]
    return h, z, start


def _device(avatar: Avatar) -> torch.device:
    return avatar.vertex_mean.device


@contextlib.contextmanager
def _evaluating(avatar: Avatar) -> Iterator[None]:
    """Evaluation mode inside, the mode from before afterwards."""
    was_training = avatar.training
    avatar.eval()
    try:
        yield
    finally:
        avatar.train(was_training)
