"""How renders are compared with images: where, and at what energy (½ Σ (residual / σ)², see ``observations``)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lipflow.capture.headset import DARKEST, hmc_tone

MIN_GAIN, MAX_GAIN = 0.2, 5.0  # of a headset view's brightness; beyond, the image is no view of this face


def image_energy(rendered: Tensor, image: Tensor, visible: Tensor, noise: float, patch: int) -> Tensor:
    """Energy of rendered images [..., C, h, w] against ``image`` [C, h, w] (or alike) where ``visible`` [..., h, w].

    What a model cannot draw goes together over neighbouring pixels and the colour channels, so an image holds
    n = h·w / patch² independent measurements, not h·w: the energy is ``½ n · mean((rendered − image)² / σ²)`` over
    the visible pixels. As a mean, it does not reward a code for showing less of the face. Returns [...].
    """
    off = (rendered - image) * visible.sqrt().unsqueeze(-3)
    mean = (off * off).sum((-1, -2, -3)) / (rendered.shape[-3] * visible.sum((-1, -2)).clamp_min(1.0))
    measurements = image.shape[-1] * image.shape[-2] / patch**2
    return 0.5 * measurements / noise**2 * mean


def image_residuals(rendered: Tensor, image: Tensor, visible: Tensor, noise: float, patch: int) -> Tensor:
    """What ``image_energy`` sums, as residuals [..., C, h, w]: half the sum of their squares is that energy."""
    measurements = image.shape[-1] * image.shape[-2] / patch**2
    weight = measurements * visible / (rendered.shape[-3] * visible.sum((-1, -2), keepdim=True).clamp_min(1.0))
    return (rendered - image) * weight.sqrt().unsqueeze(-3) / noise


def visible_region(covered: Tensor, mask: Tensor | None) -> Tensor:
    """Where images are compared: [..., h, w] from what the render covers [..., h, w] and the image's mask [..., h, w].

    Without a mask, all that the render covers but a rim of 1/64 of the width: there, an error of a few pixels in the
    outline would compare the face with the background, which no gradient of a rendered texture mends.
    """
    if mask is not None:
        return covered * mask
    rim = -(-covered.shape[-1] // 64)
    outside = (covered.detach() < 0.5).to(torch.uint8)  # bytes: a quarter of the memory to go through
    for axis in (-1, -2):
        outside = _widened(outside, rim, axis)
    return (1 - outside).to(covered)


def _widened(x: Tensor, reach: int, axis: int) -> Tensor:
    """The maximum over ``reach`` neighbours to both sides along an axis, in steps that double."""
    padding = (reach, reach) if axis == -1 else (0, 0, reach, reach)
    x = torch.nn.functional.pad(x, padding)
    done = 1
    while done < 2 * reach + 1:
        shift = min(done, 2 * reach + 1 - done)
        length = x.shape[axis] - shift
        x = torch.maximum(x.narrow(axis, 0, length), x.narrow(axis, shift, length))
        done += shift
    return x


def headset_energy(
    gray: Tensor, images: Tensor, visible: Tensor, noise: float, patch: int, *, compensate_gain: bool = True
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``image_energy`` of rendered headset views, in their tone and scaled by ``view_gains`` (or as they are).

    Args:
        gray: [B, V, h, w] the mean of a render's linear colours.
        images: [B or 1, V, h, w] or [V, h, w], in the headset's tone.
        visible: [B, V, h, w].

    Returns:
        the energies [B, V], differentiable in ``gray``; and detached the scaled renders and the absolute errors where
        visible, [B, V, h, w] each, and the gains [B, V].
    """
    scale = 0.5 * images.shape[-1] * images.shape[-2] / patch**2 / noise**2
    energy, lit, error, gain = _HeadsetEnergy.apply(gray, images, visible, scale, compensate_gain)
    return energy, lit, error, gain


class _HeadsetEnergy(torch.autograd.Function):
    """The images of a fit's iteration are large, and passes over fresh memory are what comparing them takes: written
    out, there are a third as many as autograd makes of the same."""

    @staticmethod
    def forward(
        ctx: Any, gray: Tensor, images: Tensor, visible: Tensor, scale: float, compensate_gain: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        tone = hmc_tone(gray[:, :, None])
        gain = view_gains(tone, images, visible) if compensate_gain else tone.new_ones(tone.shape[:2])
        lit = gain[..., None, None] * tone
        off = lit - images
        seen = off * visible
        weight = scale / visible.sum((-1, -2)).clamp_min(1.0)  # [B, V]
        ctx.save_for_backward(gray, tone, seen, weight * gain)
        error = seen.abs()
        ctx.mark_non_differentiable(lit, error, gain)
        return weight * (off * seen).sum((-1, -2)), lit, error, gain

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_energy: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        gray, tone, seen, factor = ctx.saved_tensors
        # Of weight · visible · (gain · tone − image)² by tone: 2 · weight · gain · seen; of tone by gray: 1 / (2 tone).
        by_gray = (seen / tone).mul_((by_energy * factor)[..., None, None])
        return torch.ops.aten.threshold_backward(by_gray, gray, DARKEST), None, None, None, None


def view_gains(rendered: Tensor, images: Tensor, visible: Tensor) -> Tensor:
    """The factor for each rendered view [B, V, h, w] that fits its image best, [B, V], kept within reason.

    It is constant in the gradient: at its optimum, that is exact.
    """
    shown = rendered * visible
    best = (shown * images).sum((-1, -2)) / (shown * rendered).sum((-1, -2)).clamp_min(1e-6)
    return best.clamp(MIN_GAIN, MAX_GAIN)
