"""Training a temporal prior on the encoded sequences of a trained avatar. Encoder, decoder and driver stay frozen."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.capture.headset import HeadsetAugmentation
from lipflow.capture.packed import PackedCapture
from lipflow.checks import InputError, check_seed
from lipflow.temporal import TemporalPrior
from lipflow.training_config import one_cycle

_CHUNK = 16  # frames encoded at once


@dataclass(frozen=True)
class TemporalConfig:
    """How a temporal prior is trained."""

    steps: int = 1500
    batch: int = 32
    learning_rate: float = 5e-4  # Adam's peak, one cycle
    weight_decay: float = 1e-3
    clip: float = 10.0
    keypoint_noise: float = 2.0  # pixels; each sample is given a standard deviation between 0 and this
    code_noise: float = 1.0  # of the codes that are to be explained, in units of σq
    before_noise: float = 1.0  # of the codes before them, in units of σq: fits err, too
    forget: float = 0.1  # probability that the code before is hidden; at 1 the prior knows only h_t
    validate_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "validate_every", "learning_rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(name, expected="more than 0", got=getattr(self, name))
        for name in ("weight_decay", "keypoint_noise", "code_noise", "before_noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(name, expected="0 or more", got=getattr(self, name))
        check_seed(self.seed)
        if not 0 <= self.forget <= 1:
            raise InputError("forget", expected="between 0 and 1", got=self.forget)


@dataclass(frozen=True)
class TemporalState:
    """Where a training stands."""

    step: int
    steps: int
    nll: float  # of the batch, nats a dimension
    validation: float | None  # the same on held-out expressions, as last read
    seconds: float


@dataclass(frozen=True, eq=False)
class Sequences:
    """Frames of one split, segment by segment, encoded."""

    packed: PackedCapture
    frames: npt.NDArray[np.int64]  # [N]
    before: Tensor  # [N] place of the frame before in ``frames``, −1 at the start of a segment
    mu: Tensor  # [N, Z] of Q
    log_sigma: Tensor  # [N, Z]

    @staticmethod
    @torch.no_grad()
    def encoded(avatar: Avatar, packed: PackedCapture, split: str) -> Sequences:
        """Encode a split.

        Raises:
            InputError: an avatar without an encoder, or a split without a frame that follows another.
        """
        frames = ordered(packed, packed.split(split))
        segments = [packed.frames[int(k)].segment for k in frames]
        before = [k - 1 if k and segments[k - 1] == segment else -1 for k, segment in enumerate(segments)]
        if max(before, default=-1) < 0:
            raise InputError("capture", expected=f"sequences of frames in the {split} split", got="none")
        parts = []
        for first in range(0, len(frames), _CHUNK):
            batch = packed.batch(frames[first : first + _CHUNK], 0, avatar.vertex_mean.device)
            parts.append(torch.cat(avatar.encode(batch.average_texture, batch.vertices), -1))
        mu, log_sigma = torch.cat(parts).chunk(2, dim=-1)
        return Sequences(packed, frames, torch.tensor(before), mu, log_sigma)


def ordered(packed: PackedCapture, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Frames by segment and number: sequences."""
    return np.array(sorted(frames, key=lambda k: (packed.frames[int(k)].segment, packed.frames[int(k)].number)))


def train_temporal(
    avatar: Avatar, packed: PackedCapture, config: TemporalConfig | None = None
) -> Generator[TemporalState, None, TemporalPrior]:
    """Train p(z_t | h_t, z_{t−1}) for an avatar (from ``for_inference()``); returns the prior of the best validation.

    The objective is Eq. 9's with the wider context: −log p of Q's sample. Sequences are a segment's frames in order,
    whatever the time between them. The same arguments give the same prior.

    Raises:
        InputError: an avatar without an encoder or a driven prior; a capture without sequences or its signal; a
            gradient that is not finite.
    """
    config = TemporalConfig() if config is None else config
    began = time.perf_counter()
    train, held_out = (Sequences.encoded(avatar, packed, split) for split in ("train", "val"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        temporal = TemporalPrior.of(avatar, train.mu)
    generator = torch.Generator().manual_seed(config.seed)
    optimiser = torch.optim.AdamW(temporal.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    validation = lowest = _validate(avatar, temporal, held_out, config)
    best = copy.deepcopy(temporal.state_dict())
    for step in range(config.steps):
        temporal.train()
        rows = torch.randint(len(train.frames), (config.batch,), generator=generator)
        loss = _nll(avatar, temporal, train, rows, config, generator).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(temporal.parameters(), config.clip)
        if not torch.isfinite(norm):
            got = f"{float(norm)} in step {step + 1}"
            raise InputError("training", expected="a finite gradient", got=got, mend="try a lower learning rate")
        for group in optimiser.param_groups:
            group["lr"] = one_cycle(step, config.steps, config.learning_rate)
        optimiser.step()
        if (step + 1) % config.validate_every == 0 or step + 1 == config.steps:
            validation = _validate(avatar, temporal, held_out, config)
            if validation < lowest:
                best, lowest = copy.deepcopy(temporal.state_dict()), validation
        yield TemporalState(step + 1, config.steps, float(loss.detach()), validation, time.perf_counter() - began)
    temporal.load_state_dict(best)
    return temporal.eval().requires_grad_(False)


def _nll(
    avatar: Avatar,
    temporal: TemporalPrior,
    sequences: Sequences,
    rows: Tensor,
    config: TemporalConfig,
    generator: torch.Generator,
) -> Tensor:
    """−log p of Q's samples of some rows [B], in nats a dimension, [B]."""
    count = len(rows)
    noise = torch.randn(2, count, sequences.mu.shape[1], generator=generator).to(sequences.mu)
    kept = torch.rand(count, generator=generator) >= config.forget
    before = sequences.before[rows]
    sigma = sequences.log_sigma.exp()
    z = sequences.mu[rows] + config.code_noise * sigma[rows] * noise[0]
    previous = sequences.mu[before] + config.before_noise * sigma[before] * noise[1]
    with torch.no_grad():
        h = avatar.context(_signal(avatar, sequences, rows, config, generator))
    assert h is not None  # ``TemporalPrior.of`` has seen to it
    context = temporal.context(h, previous, (kept & (before >= 0)).to(z))
    return -temporal.prior.log_prob(z, context) / z.shape[1]


def _signal(
    avatar: Avatar, sequences: Sequences, rows: Tensor, config: TemporalConfig, generator: torch.Generator
) -> Tensor:
    """What the driver sees of some rows, with noise as at inference time."""
    packed, device = sequences.packed, sequences.mu.device
    frames = sequences.frames[rows.numpy()]
    if avatar.driving == "kpt" and packed.landmarks is not None:
        points = packed.vertices(frames)[:, torch.from_numpy(packed.landmarks.index)]
        keypoints = packed.keypoint_camera.project_normalised(points)
        height, width = packed.keypoint_camera.size
        level = config.keypoint_noise * torch.rand(len(rows), 1, 1, generator=generator)
        noise = level * torch.randn(keypoints.shape, generator=generator)
        return (keypoints + noise / torch.tensor([width, height])).to(device)
    batch = packed.batch(frames, 0, device, augmentation=HeadsetAugmentation(), generator=generator)
    if batch.hmc is None:
        raise InputError("capture", expected=f"the {avatar.driving} signal to drive with", got="a pack without")
    return batch.hmc


@torch.no_grad()
def _validate(avatar: Avatar, temporal: TemporalPrior, held_out: Sequences, config: TemporalConfig) -> float:
    """The objective on all held-out frames, with noise that is the same every time."""
    temporal.eval()
    generator = torch.Generator().manual_seed(config.seed + 1)
    rows = torch.arange(len(held_out.frames))
    parts = [_nll(avatar, temporal, held_out, some, config, generator) for some in rows.split(_CHUNK)]
    return float(torch.cat(parts).mean())
