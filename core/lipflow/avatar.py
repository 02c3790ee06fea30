"""A drivable face avatar: Q, D, the driving signal's encoder and the prior, with what is needed to use them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lipflow.camera import Camera
from lipflow.capture.base import Statistics
from lipflow.checks import InputError, check_shape, check_values
from lipflow.mesh import Landmarks, Topology
from lipflow.nets.decoder import Decoder, DecoderConfig
from lipflow.nets.encoders import DRIVERS, DamEncoder, DriverConfig, EncoderConfig
from lipflow.nets.layers import channels_last, fold_weights
from lipflow.priors import PRIORS, SIGMAS, LatentPrior, PriorConfig

_LARGEST = 16384  # that a size of a network may be: a file that names a larger one is damaged


@dataclass(frozen=True)
class AvatarConfig:
    """All sizes of an avatar, and what it is composed of. ``variants.PRESETS`` has the sizes that are trained."""

    texture: int = 512  # T, texels a side
    latent: int = 256  # Z
    context: int = 256  # C, width of the driving signal's feature h
    prior: str = "flow"  # a key of PRIORS
    driving: str | None = "hmc"  # a key of DRIVERS, or None for an avatar without a driving signal
    has_encoder: bool = True  # whether there is a Q that sees texture and mesh
    sigma_q: str = "one"  # how σq is made of Q's output: a key of SIGMAS
    sigma_p: str = "capped"  # how σp is made of the prior's output: a key of SIGMAS
    couplings: int = 4  # K of the flow
    flow_hidden: int = 160  # width of the flow's hidden layers
    log_scale_cap: float = 2.0  # soft cap of a coupling's log-scale
    flow_seed: int = 0  # of the flow's permutations
    weight_norm: bool = False  # normalise weights as Multiface does; folded for inference
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    driver: DriverConfig = field(default_factory=DriverConfig)

    def __post_init__(self) -> None:
        for name, table in (("prior", PRIORS), ("sigma_q", SIGMAS), ("sigma_p", SIGMAS)):
            if getattr(self, name) not in table:
                raise InputError(f"config.{name}", expected=" or ".join(table), got=repr(getattr(self, name)))
        if self.driving is not None and self.driving not in DRIVERS:
            raise InputError("config.driving", expected=" or ".join([*DRIVERS, "none"]), got=repr(self.driving))
        if (self.driving is None) != (self.prior == "standard-normal"):
            raise InputError("config.prior", expected="standard-normal just where nothing drives", got=repr(self.prior))
        least = {"latent": 2, "encoder.mesh_rank": 0, "decoder.mesh_rank": 0}  # of sizes that do not begin at 1
        for name, size in self._sizes():
            low = least.get(name, 1)
            if not low <= size <= _LARGEST:
                raise InputError(f"config.{name}", expected=f"{low} to {_LARGEST}", got=size)
        check_values(
            ("config.encoder.channels", bool(self.encoder.channels), "at least one layer", "none"),
            ("config.driver.channels", bool(self.driver.channels), "at least one layer", "none"),
            ("config.log_scale_cap", self.log_scale_cap > 0, "more than 0", self.log_scale_cap),
        )

    def _sizes(self) -> Iterator[tuple[str, int]]:
        """Each size by its name, such as "latent" or "encoder.channels"; a tuple's one after the other."""
        for name in ("texture", "latent", "context", "couplings", "flow_hidden"):
            yield name, getattr(self, name)
        for part in ("encoder", "decoder", "driver"):
            for name, value in vars(getattr(self, part)).items():
                for size in value if isinstance(value, tuple) else (value,):
                    yield f"{part}.{name}", size

    def prior_config(self) -> PriorConfig:
        return PriorConfig(
            self.latent,
            self.context,
            self.sigma_p,
            self.couplings,
            self.flow_hidden,
            self.log_scale_cap,
            self.flow_seed,
        )


@dataclass(frozen=True, eq=False)
class Decoded:
    """What the decoder makes of codes and views."""

    vertices: Tensor  # [B, V, 3] mm, head frame
    texture: Tensor  # [B, 3, T, T] linear RGB, row 0 at v = 1; may overshoot [0, 1] a little


class Avatar(nn.Module):
    """Everything that belongs to one person's avatar.

    Callers see millimetres in the head frame and linear RGB; the statistics that normalise them are applied inside.
    A frozen avatar (``for_inference``) may be shared by threads.
    """

    vertex_mean: Tensor
    texture_mean: Tensor
    texture_mean_gray: Tensor
    texture_valid: Tensor
    landmark_ids: Tensor

    def __init__(
        self,
        config: AvatarConfig,
        topology: Topology,
        landmarks: Landmarks | None,
        statistics: Statistics,
        *,
        keypoint_camera: Camera | None = None,
        hmc_cameras: Camera | None = None,
        record: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_shape(
            {"T": config.texture, "V": topology.vertex_count},
            vertex_mean=(statistics.vertex_mean, "V 3"),
            texture_mean=(statistics.texture_mean, "3 T T"),
            texture_valid=(statistics.texture_valid, "T T"),
        )
        self.config, self.topology, self.landmarks = config, topology, landmarks
        self.keypoint_camera = keypoint_camera  # head frame; the keypoints' camera
        self.hmc_cameras = hmc_cameras  # head frame; mouth, left eye, right eye
        self.record = dict(record or {})  # how it was trained: seed, config hash, versions, scalars
        self.samples_z: Tensor | None = None  # [n, Z] codes of some training frames, in Q
        self.samples_u: Tensor | None = None  # [n, Z] the same in P
        self.samples_segment: tuple[str, ...] = ()  # [n] the expression that each shows

        # The mean is kept as 8 bits in display gamma, here as in a saved file, so that saving changes nothing.
        mean = np.round(np.sqrt(np.clip(statistics.texture_mean, 0, 1)) * 255).astype(np.uint8)
        self.statistics = replace(statistics, texture_mean=((mean / 255.0) ** 2).astype(np.float32))
        self.texture_mean_bytes = mean  # [3, T, T]
        # Channels last in memory, as decoded textures are: their sum then is too, and nothing has to be copied.
        texture_mean = torch.from_numpy(self.statistics.texture_mean.transpose(1, 2, 0).copy()).permute(2, 0, 1)
        for name, value in (
            ("vertex_mean", torch.from_numpy(np.asarray(statistics.vertex_mean, np.float32)).clone()),
            ("texture_mean", texture_mean),
            ("texture_mean_gray", texture_mean.mean(0, keepdim=True)),
            ("texture_valid", torch.from_numpy(np.asarray(statistics.texture_valid, bool)).clone()),
            ("landmark_ids", torch.from_numpy(np.asarray([] if landmarks is None else landmarks.ids, np.int64))),
        ):
            self.register_buffer(name, value, persistent=False)

        sizes: dict[str, Any] = {"vertex_count": topology.vertex_count, "texture": config.texture}
        sizes |= {"latent": config.latent, "weight_norm": config.weight_norm}
        self.encoder = DamEncoder(config.encoder, **sizes) if config.has_encoder else None
        self.decoder = Decoder(config.decoder, **sizes)
        self.driver = (
            DRIVERS[config.driving](config.driver, context=config.context, weight_norm=config.weight_norm)
            if config.driving is not None
            else None
        )
        self.prior: LatentPrior = PRIORS[config.prior](config.prior_config())
        channels_last(self)

    @property
    def driving(self) -> str | None:
        """What drives this avatar: "hmc", "kpt", or None."""
        return self.config.driving

    # ---- Q

    def normalise_texture(self, texture: Tensor) -> Tensor:
        """Linear RGB [B, 3, T, T] -> normalised; a channel of exactly 0 was not recorded and stays 0."""
        seen = (texture > 0) & self.texture_valid
        return torch.where(seen, (texture - self.texture_mean) / self.statistics.texture_std, 0.0)

    def normalise_mesh(self, vertices: Tensor) -> Tensor:
        """[..., V, 3] mm -> normalised."""
        return (vertices - self.vertex_mean) / self.statistics.vertex_std

    def encode(self, average_texture: Tensor, vertices: Tensor) -> tuple[Tensor, Tensor]:
        """Average texture [B, 3, T, T] linear RGB and mesh [B, V, 3] mm -> μq and log σq, [B, Z] each (Eq. 1)."""
        if self.encoder is None:
            raise InputError("encode", expected="an avatar with an encoder of textures and meshes", got="none")
        sizes = {"T": self.config.texture, "V": self.topology.vertex_count}
        check_shape(sizes, average_texture=(average_texture, "B 3 T T"), vertices=(vertices, "B V 3"))
        mu, raw = self.encoder(self.normalise_texture(average_texture), self.normalise_mesh(vertices))
        return mu, SIGMAS[self.config.sigma_q](raw)

    # ---- D

    def decode(self, z: Tensor, view: Tensor) -> Decoded:
        """Codes [B, Z] and unit view vectors [B, 3] (head origin to camera centre, head frame) -> mesh and texture."""
        check_shape({"Z": self.config.latent}, z=(z, "B Z"), view=(view, "B 3"))
        return Decoded(self.decode_mesh(z), self.decode_texture(z, view))

    def decode_mesh(self, z: Tensor) -> Tensor:
        """[..., Z] -> [..., V, 3] mm."""
        return self.vertex_mean + self.statistics.vertex_std * self.decoder.mesh(z)

    def decode_texture(self, z: Tensor, view: Tensor) -> Tensor:
        """Codes [B, Z] and unit view vectors [B, 3] -> [B, 3, T, T] linear RGB."""
        return self.texture_mean + self.decoder.texture(z, view, scale=self.statistics.texture_std)

    def decode_gray_texture(self, z: Tensor, view: Tensor) -> Tensor:
        """The mean of ``decode_texture``'s colours, [B, 1, T, T]: all that headset cameras see, at less cost."""
        return self.texture_mean_gray + self.decoder.texture(z, view, scale=self.statistics.texture_std, gray=True)

    def decode_landmarks(self, z: Tensor) -> Tensor:
        """[..., Z] -> the landmarks alone, [..., L, 3] mm: some rows of the mesh head."""
        weight, bias = self._landmark_rows()
        rows = torch.nn.functional.linear(self.decoder.mesh_coefficients(z), weight, bias)
        return self.vertex_mean[self.landmark_ids] + self.statistics.vertex_std * rows.unflatten(-1, (-1, 3))

    def landmark_head(self) -> tuple[Tensor, Tensor]:
        """The landmarks in mm as a linear map of the decoder's ``mesh_coefficients``: [L, 3, R] and [L, 3]."""
        weight, bias = self._landmark_rows()
        std, mean = self.statistics.vertex_std, self.vertex_mean[self.landmark_ids]
        return std * weight.unflatten(0, (-1, 3)), mean + std * bias.unflatten(0, (-1, 3))

    def _landmark_rows(self) -> tuple[Tensor, Tensor]:
        if self.landmarks is None:
            raise InputError("landmarks", expected="an avatar with landmarks", got="one without")
        return self.decoder.head_rows(self.landmark_ids)

    # ---- P

    def context(self, driving: Tensor | None) -> Tensor | None:
        """The driving signal, hmc [B, 3, h, w] or keypoints [B, L, 2], -> h [B, C]; None where nothing drives."""
        if self.driver is None:
            return None
        if driving is None:
            raise InputError("driving signal", expected=f"{self.driving} input", got="none")
        return self.driver(driving)

    # ---- use

    def for_inference(self) -> Avatar:
        """A frozen copy: weight norm folded, channels last, in evaluation mode, without gradients to its parameters."""
        twin = copy.deepcopy(self)
        fold_weights(twin)
        channels_last(twin)
        twin.config = replace(self.config, weight_norm=False)
        return twin.eval().requires_grad_(False)

    def set_samples(self, z: Tensor, u: Tensor, segments: tuple[str, ...]) -> None:
        """Attach codes of training frames: z and u [n, Z], and the expression of each."""
        check_shape({"n": len(segments), "Z": self.config.latent}, z=(z, "n Z"), u=(u, "n Z"))
        self.samples_z, self.samples_u, self.samples_segment = z.detach().clone(), u.detach().clone(), tuple(segments)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Avatar:
        """Cameras and samples follow the parameters to another device."""
        super()._apply(fn, recurse)
        for name in ("keypoint_camera", "hmc_cameras"):
            camera = getattr(self, name)
            if camera is not None:
                setattr(self, name, replace(camera, K=fn(camera.K), R=fn(camera.R), t=fn(camera.t)))
        for name in ("samples_z", "samples_u"):
            if getattr(self, name) is not None:
                setattr(self, name, fn(getattr(self, name)))
        return self

    def save(self, path: str | Path, *, half: bool = False) -> None:
        """Write one ``.safetensors`` file, atomically; ``half`` stores the weights as float16."""
        from lipflow.avatar_file import save_avatar

        save_avatar(self, Path(path), half=half)

    @staticmethod
    def load(path: str | Path) -> Avatar:
        """Read a saved avatar, in evaluation mode, on the CPU.

        Raises:
            InputError: one line, if the file is truncated, foreign, inconsistent or holds NaN.
        """
        from lipflow.avatar_file import load_avatar

        return load_avatar(Path(path))
