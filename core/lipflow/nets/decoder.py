"""The decoder D: code and view direction -> mesh and view-specific texture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipflow.checks import InputError
from lipflow.nets.layers import Conv, Linear, UpConv, leaky


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of D. Texture = seed · 2^len(channels) · shuffle."""

    code: int = 256  # width of the latent code's layer, shared by mesh and texture
    view: int = 8  # width of the view direction's layer
    seed: int = 8  # side of the first feature map
    seed_channels: int = 32
    channels: tuple[int, ...] = (64, 48, 32, 16)  # of the upsampling layers; each doubles the side
    shuffle: int = 4  # the last layer's texels that one feature fills, per axis
    mesh_rank: int = 0  # 0: the paper's full linear head; n: factorised, n columns, no nonlinearity between

    @property
    def texture(self) -> int:
        return self.seed * 2 ** len(self.channels) * self.shuffle


class Decoder(nn.Module):
    """D. Mesh and texture come out normalised by the capture's statistics, which ``Avatar`` undoes."""

    def __init__(
        self, config: DecoderConfig, *, vertex_count: int, texture: int, latent: int, weight_norm: bool = False
    ) -> None:
        super().__init__()
        if config.texture != texture:
            raise InputError("decoder", expected=f"layers that end at {texture}² texels", got=f"{config.texture}²")
        self.config = config
        self.code = Linear(latent, config.code, weight_norm=weight_norm)
        self.view = Linear(3, config.view, weight_norm=weight_norm)
        # The head and the last layer start small: near the mean face.
        self.coefficients = Linear(config.code, config.mesh_rank) if config.mesh_rank else None
        self.head = Linear(config.mesh_rank or config.code, 3 * vertex_count, weight_norm=weight_norm, size=0.3)
        self.seed = Linear(config.code + config.view, config.seed_channels * config.seed**2, weight_norm=weight_norm)
        ups, inputs, size = [], config.seed_channels, config.seed
        for outputs in config.channels:
            size *= 2
            ups.append(UpConv(inputs, outputs, size, weight_norm=weight_norm))
            inputs = outputs
        self.ups = nn.ModuleList(ups)
        self.last = Conv(inputs, 3 * config.shuffle**2, 3, 1, 1, weight_norm=weight_norm, size=0.3)

    def mesh_coefficients(self, z: Tensor) -> Tensor:
        """[..., Z] -> what the linear head takes, [..., R]."""
        features = leaky(self.code(z))
        return features if self.coefficients is None else self.coefficients(features)

    def mesh(self, z: Tensor) -> Tensor:
        """[..., Z] -> normalised mesh [..., V, 3]; the view plays no part."""
        return self.head(self.mesh_coefficients(z)).unflatten(-1, (-1, 3))

    def head_rows(self, vertices: Tensor) -> tuple[Tensor, Tensor]:
        """Weight [3L, R] and bias [3L] of the mesh head for some vertices [L]."""
        rows = (3 * vertices[:, None] + torch.arange(3, device=vertices.device)).flatten()
        return self.head.effective_weight()[rows], self.head.bias[rows]

    def texture(self, z: Tensor, view: Tensor, scale: float = 1.0, *, gray: bool = False) -> Tensor:
        """z [B, Z] and unit view vectors [B, 3] -> ``scale`` times the normalised texture, [B, 3, T, T].

        ``gray`` gives the mean of its colours, [B, 1, T, T], for a third of the last layer's work.
        """
        features = torch.cat([leaky(self.code(z)), leaky(self.view(view))], dim=-1)
        side = self.config.seed
        x = leaky(self.seed(features)).view(-1, self.config.seed_channels, side, side)
        x = x.contiguous(memory_format=torch.channels_last)
        for up in self.ups:
            x = up(x)
        weight, bias = self._last_layer(gray)
        # Scaling the small weight is cheaper than the large texture.
        return _spread(F.conv2d(x, weight * scale, bias * scale, 1, 1), self.config.shuffle)

    def _last_layer(self, gray: bool) -> tuple[Tensor, Tensor]:
        """The last convolution with its outputs in the order (row, column, colour), or their means over the colours."""
        colours = (3, self.config.shuffle**2)
        weight, bias = self.last.effective_weight().unflatten(0, colours), self.last.bias.unflatten(0, colours)
        if gray:
            return weight.mean(0), bias.mean(0)
        return weight.transpose(0, 1).flatten(0, 1), bias.T.flatten()

    @torch.no_grad()
    def start_from_pca(self, components: Tensor, scales: Tensor) -> None:
        """Let the factorised head start with a PCA's columns; ``components`` [R, V, 3] orthonormal, scales [R].

        Each coefficient then starts with about unit size, whatever the size of its motion: that trains much faster.
        """
        if self.coefficients is None:
            return
        rank = min(len(components), self.config.mesh_rank)
        self.head.weight[:, :rank] = (components[:rank].flatten(1) * scales[:rank, None]).T
        self.head.weight[:, rank:].mul_(0.01)
        if self.head.gain is not None:
            self.head.gain.copy_(self.head.weight.norm().expand_as(self.head.gain))


def _spread(x: Tensor, shuffle: int) -> Tensor:
    """``pixel_shuffle`` of channels in the order row, column, colour: [B, s² C, H, W] -> [B, C, s H, s W].

    Channels last in memory on both sides, it moves whole runs of s C numbers: three times as fast as torch's own.
    """
    batch, channels, height, width = x.shape
    colours = channels // shuffle**2
    runs = x.permute(0, 2, 3, 1).reshape(batch, height, width, shuffle, shuffle * colours).transpose(2, 3)
    return runs.reshape(batch, height * shuffle, width * shuffle, colours).permute(0, 3, 1, 2)
