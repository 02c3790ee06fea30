"""The encoders: Q of the capture (texture and mesh), and those of the driving signals (headset images, keypoints)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lipflow.checks import InputError, check_shape
from lipflow.nets.layers import SLOPE, Conv, Linear, Residual, conv_size, leaky


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of Q."""

    channels: tuple[int, ...] = (16, 24, 32, 48, 48, 48)  # of the 4×4 convolutions; the first strides 4, the others 2
    texture_features: int = 256  # width of the texture's branch
    mesh_features: int = 128  # width of the mesh's branch
    mesh_stride: int = 1  # the mesh's branch sees every n-th vertex
    mesh_rank: int = 0  # 0: one linear layer; n: a linear bottleneck before it, which starts from the PCA


@dataclass(frozen=True)
class DriverConfig:
    """Sizes of the driving signal's encoder."""

    size: tuple[int, int] = (240, 320)  # headset images, height and width
    channels: tuple[int, ...] = (8, 16, 24, 32, 48, 32)  # of each view's 4×4 convolutions of stride 2
    keypoints: int = 136  # number of landmarks
    blocks: int = 2  # residual blocks of the keypoints' network


class DamEncoder(nn.Module):
    """Q (Eq. 1): average texture and mesh, normalised by ``Avatar`` -> μ and raw, which SIGMAS makes log σ of."""

    def __init__(
        self, config: EncoderConfig, *, vertex_count: int, texture: int, latent: int, weight_norm: bool = False
    ) -> None:
        super().__init__()
        self.config = config
        size, inputs, convs = texture, 3, []
        for k, outputs in enumerate(config.channels):
            stride, padding = (4, 0) if k == 0 else (2, 1)
            size = conv_size(size, 4, stride, padding)
            convs.append(Conv(inputs, outputs, 4, stride, padding, weight_norm=weight_norm))
            inputs = outputs
        if size < 1:
            raise InputError("encoder.channels", expected=f"fewer layers for a {texture}² texture", got=config.channels)
        self.convs = nn.ModuleList(convs)
        self.texture = Linear(inputs * size * size, config.texture_features, weight_norm=weight_norm)
        coordinates = 3 * len(range(0, vertex_count, config.mesh_stride))
        self.project = Linear(coordinates, config.mesh_rank) if config.mesh_rank else None
        self.mesh = Linear(config.mesh_rank or coordinates, config.mesh_features, weight_norm=weight_norm)
        self.out = Linear(config.texture_features + config.mesh_features, 2 * latent, weight_norm=weight_norm)

    def forward(self, texture: Tensor, mesh: Tensor) -> tuple[Tensor, Tensor]:
        """Texture [B, 3, T, T] and mesh [B, V, 3], normalised -> μ and raw (not yet log σ), [B, Z] each."""
        x = texture.contiguous(memory_format=torch.channels_last)
        for conv in self.convs:
            x = leaky(conv(x))
        m = mesh[:, :: self.config.mesh_stride].flatten(1)
        if self.project is not None:
            m = self.project(m)
        features = torch.cat([leaky(self.texture(x.flatten(1))), leaky(self.mesh(m))], dim=1)
        mu, raw = self.out(features).chunk(2, dim=1)
        return mu, raw

    @torch.no_grad()
    def start_from_pca(self, components: Tensor, scales: Tensor) -> None:
        """Let the bottleneck start as whitened PCA coefficients; ``components`` [R, V, 3] orthonormal, scales [R]."""
        if self.project is None:
            return
        seen = components[:, :: self.config.mesh_stride].flatten(1)  # [R, N]
        rank = min(len(seen), self.config.mesh_rank)
        # Least squares on the vertices that are seen; directions of next to no motion are not blown up to unit size.
        inverse = torch.linalg.pinv(seen[:rank])  # [N, R]
        self.project.weight[:rank] = (inverse / scales[:rank].clamp_min(0.02 * float(scales[0]))).T


class HmcEncoder(nn.Module):
    """One convolutional network a headset view, fused by free attention weights W_A (Eq. 5)."""

    def __init__(self, config: DriverConfig, *, context: int, weight_norm: bool = False) -> None:
        super().__init__()
        self.config = config
        self.views = nn.ModuleList(self._view(config, context, weight_norm) for _ in range(3))
        self.attention = nn.Parameter(torch.zeros(context, 3))  # W_A: learned, the same for every input
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.full((3,), 0.5))  # of each view's pixels in the training images
        self.register_buffer("scale", torch.full((3,), 0.25))

    @staticmethod
    def _view(config: DriverConfig, context: int, weight_norm: bool) -> nn.Module:
        (height, width), inputs, convs = config.size, 1, []
        for outputs in config.channels:
            height, width = conv_size(height, 4, 2, 1), conv_size(width, 4, 2, 1)
            convs.append(Conv(inputs, outputs, 4, 2, 1, weight_norm=weight_norm))
            inputs = outputs
        if min(height, width) < 1:
            raise InputError("driver.channels", expected=f"fewer layers for {config.size} images", got=config.channels)
        layers: list[nn.Module] = [layer for conv in convs for layer in (conv, nn.LeakyReLU(SLOPE))]
        return nn.Sequential(*layers, nn.Flatten(), Linear(inputs * height * width, context, weight_norm=weight_norm))

    def forward(self, hmc: Tensor) -> Tensor:
        """Mouth, left and right eye images [B, 3, h, w] in [0, 1] -> h [B, C]."""
        height, width = self.config.size
        check_shape({}, hmc=(hmc, f"B 3 {height} {width}"))
        x = (hmc - self.mean.view(3, 1, 1)) / self.scale.view(3, 1, 1)
        features = torch.stack([leaky(view(x[:, k : k + 1])) for k, view in enumerate(self.views)], dim=-1)
        return (features * torch.softmax(self.attention, dim=-1)).sum(-1)

    @torch.no_grad()
    def view_weights(self) -> Tensor:
        """How much each view counts in h: its attention weight, the mean over h's features; [3], 1 together."""
        return torch.softmax(self.attention, dim=-1).mean(0)

    @torch.no_grad()
    def start_from(self, hmc: Tensor) -> None:
        """Take the pixels' mean and spread from training images [N, 3, h, w]."""
        self.mean.copy_(hmc.mean((0, 2, 3)))
        self.scale.copy_(hmc.std((0, 2, 3), correction=0).clamp_min(1e-2))


class KeypointEncoder(nn.Module):
    """A residual network of fully connected layers on the flattened keypoints."""

    def __init__(self, config: DriverConfig, *, context: int, weight_norm: bool = False) -> None:
        super().__init__()
        self.config = config
        self.enter = Linear(2 * config.keypoints, context, weight_norm=weight_norm)
        self.blocks = nn.Sequential(*(Residual(context, weight_norm=weight_norm) for _ in range(config.blocks)))
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.full((config.keypoints, 2), 0.5))  # of the training keypoints
        self.register_buffer("scale", torch.tensor(0.01))  # one for all, so that still landmarks stay still

    def forward(self, keypoints: Tensor) -> Tensor:
        """[B, L, 2] in [0, 1] -> h [B, C]."""
        check_shape({}, keypoints=(keypoints, f"B {self.config.keypoints} 2"))
        x = (keypoints - self.mean) / self.scale
        return leaky(self.blocks(self.enter(x.flatten(1))))

    @torch.no_grad()
    def start_from(self, keypoints: Tensor) -> None:
        """Take mean and spread from training keypoints [N, L, 2]."""
        self.mean.copy_(keypoints.mean(0))
        self.scale.copy_((keypoints - self.mean).square().mean().sqrt().clamp_min(1e-3))


DRIVERS: dict[str, type[HmcEncoder] | type[KeypointEncoder]] = {"hmc": HmcEncoder, "kpt": KeypointEncoder}
