"""The decoder at the paper's size, beside one that upsamples to the last texel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lipflow.bench.timing import Measurement, measure_pair
from lipflow.nets.decoder import Decoder
from lipflow.nets.layers import Linear, UpConv, channels_last, fold_weights, leaky
from lipflow.variants import PRESETS

NAME = "decoder, 1024², 1 view"
REFERENCE = "upsampling to the last texel"
_WIDTHS = (256, 256, 64, 64, 32, 32, 16, 16, 3)  # of the first map of 4² texels, and of each that is twice as large


class UpsamplingDecoder(nn.Module):
    """A decoder with the layers of the public Deep Appearance Models code for 1024²: eight transposed convolutions.

    Its weights are not normalised, and torch's ordinary layout is kept.
    """

    def __init__(self, *, vertex_count: int, latent: int) -> None:
        super().__init__()
        self.code, self.view, self.head = Linear(latent, 256), Linear(3, 8), Linear(256, 3 * vertex_count)
        self.seed = Linear(256 + 8, _WIDTHS[0] * 4**2)
        sizes = [8 * 2**n for n in range(len(_WIDTHS) - 1)]
        self.ups = nn.Sequential(
            *(UpConv(i, o, size) for i, o, size in zip(_WIDTHS[:-1], _WIDTHS[1:], sizes, strict=True))
        )

    def forward(self, z: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
        """z [B, Z], view [B, 3] -> mesh [B, V, 3], texture [B, 3, 1024, 1024]."""
        code = leaky(self.code(z))
        seed = leaky(self.seed(torch.cat([code, leaky(self.view(view))], dim=-1)))
        return self.head(code).unflatten(-1, (-1, 3)), self.ups(seed.view(-1, _WIDTHS[0], 4, 4))


def measure(rounds: int = 5, *, vertex_count: int = 7355) -> dict[str, Measurement]:
    """One code and view to mesh and texture, forward, with fresh weights: speed does not depend on them."""
    sizes = PRESETS["paper"].avatar
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = Decoder(
            sizes.decoder,
            vertex_count=vertex_count,
            texture=sizes.texture,
            latent=sizes.latent,
            weight_norm=sizes.weight_norm,
        )
        plain = UpsamplingDecoder(vertex_count=vertex_count, latent=sizes.latent)
        z, view = torch.randn(1, sizes.latent), torch.nn.functional.normalize(torch.randn(1, 3), dim=-1)
    fold_weights(decoder)
    channels_last(decoder)

    @torch.no_grad()
    def ours() -> tuple[Tensor, Tensor]:
        return decoder.mesh(z), decoder.texture(z, view)

    @torch.no_grad()
    def reference() -> tuple[Tensor, Tensor]:
        mesh, texture = plain(z, view)
        return mesh, texture

    # Several calls a turn, as in a fit: after the other decoder the first finds its memory given back.
    return {NAME: measure_pair(ours, reference, rounds, name=NAME, reference_name=REFERENCE, repeat=5)}
