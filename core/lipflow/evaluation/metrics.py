"""How far a reconstruction is from the truth: PSNR and SSIM of masked pictures, distances of meshes.

Pictures come in linear RGB and are compared in display gamma with a data range of 1, inside the truth's mask.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lipflow.checks import check_shape
from lipflow.colour import to_display

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  # pixels; Wang et al. 2004
SMALLEST = SSIM_WINDOW // 2 + 1  # pixels a side of a picture: its border is mirrored within the window
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # data range 1


def psnr(image: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over the mask, in dB: ``image``, ``truth`` [B, C, H, W] linear, ``mask`` [B, H, W].

    Returns [B]; infinite where the pictures are equal, NaN where the mask is empty.
    """
    a, b = _checked(image, truth, mask)
    squared = ((a - b).square().mean(1) * mask).sum((1, 2)) / mask.sum((1, 2))
    return -10 * torch.log10(squared)


def ssim(image: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004) over the mask: an 11×11 Gaussian window with σ = 1.5 pixels.

    ``image``, ``truth`` [B, C, H, W] linear, ``mask`` [B, H, W]; H and W at least 6 pixels. Both pictures are
    blackened outside the mask, so what a model draws there does not count. Returns [B], the mean over the mask's
    pixels and the channels; NaN where the mask is empty.
    """
    a, b = _checked(image, truth, mask)
    similarity = ssim_map(a * mask[:, None], b * mask[:, None]).mean(1)
    return (similarity * mask).sum((1, 2)) / mask.sum((1, 2))


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity at every pixel and channel, of two pictures [B, C, H, W] in [0, 1] taken as they are."""
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a = _blur(a * a) - mean_a.square()
    variance_b = _blur(b * b) - mean_b.square()
    covariance = _blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + SSIM_C1) / (mean_a.square() + mean_b.square() + SSIM_C1)
    return luminance * (2 * covariance + SSIM_C2) / (variance_a + variance_b + SSIM_C2)


def vertex_error_mm(vertices: Tensor, truth: Tensor) -> Tensor:
    """Mean Euclidean distance of corresponding vertices: [B, V, 3] mm each -> [B] mm."""
    check_shape({}, vertices=(vertices, "B V 3"), truth=(truth, "B V 3"))
    return (vertices - truth).norm(dim=-1).mean(-1)


def vertex_error_normalised(vertices: Tensor, truth: Tensor, vertex_std: float) -> Tensor:
    """Mean squared vertex distance in units of the capture's vertex standard deviation (mm): [B, V, 3] -> [B]."""
    check_shape({}, vertices=(vertices, "B V 3"), truth=(truth, "B V 3"))
    return ((vertices - truth) / vertex_std).square().sum(-1).mean(-1)


def _checked(image: Tensor, truth: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    check_shape({}, image=(image, "B C H W"), truth=(truth, "B C H W"), mask=(mask, "B H W"))
    return to_display(image), to_display(truth)


def _blur(image: Tensor) -> Tensor:
    """Gaussian window, separable, mirrored at the border."""
    channels, radius = image.shape[1], SSIM_WINDOW // 2
    x = torch.arange(SSIM_WINDOW, dtype=image.dtype, device=image.device) - radius
    window = torch.exp(-x.square() / (2 * SSIM_SIGMA**2))
    window = window / window.sum()
    padded = functional.pad(image, (radius,) * 4, mode="reflect")
    rows = functional.conv2d(padded, window.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return functional.conv2d(rows, window.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
