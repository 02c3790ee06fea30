"""Colour: everything is linear RGB in [0, 1]; only pictures for people and metrics are in display gamma."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

DISPLAY_GAMMA = 2.0  # that of the reference code for these captures


def to_display(linear: Tensor) -> Tensor:
    """Linear [0, 1] -> display gamma, for metrics (values outside are clamped)."""
    return linear.clamp(0, 1) ** (1 / DISPLAY_GAMMA)


def to_picture(linear: Tensor) -> npt.NDArray[np.uint8]:
    """Linear [3, H, W] (or [1, H, W]) -> an 8-bit picture [H, W, 3] in display gamma."""
    picture = (to_display(linear.detach().cpu()) * 255).round().byte().permute(1, 2, 0).numpy()
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
