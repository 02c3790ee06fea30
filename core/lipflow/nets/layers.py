"""The layers that the networks are made of: optionally weight-normalised, foldable, laid out channels last."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2  # of every leaky rectifier, as in the public Deep Appearance Models code

_drawing = ContextVar("drawing", default=True)


@contextlib.contextmanager
def without_drawing() -> Iterator[None]:
    """Build networks whose weights are about to be read from a file: none are drawn, and no memory is touched."""
    token = _drawing.set(False)
    try:
        yield
    finally:
        _drawing.reset(token)


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


def conv_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """How many pixels a convolution leaves of ``size``."""
    return (size + 2 * padding - kernel) // stride + 1


class WeightNormalised(nn.Module):
    """A weight times a gain per output, divided by the norm of the WHOLE tensor (as Multiface does); or the weight.

    With ``weight_norm=False``, or after ``fold``, there is no gain and the weight is used as it is.
    """

    weight: nn.Parameter
    gain: nn.Parameter | None

    def _start(self, shape: tuple[int, ...], fan_in: float, output_axis: int, weight_norm: bool, size: float) -> None:
        """Draw the weight so that variance is kept through leaky rectifiers, times ``size``."""
        self.weight = nn.Parameter(torch.empty(shape))
        if _drawing.get():
            nn.init.normal_(self.weight, std=size * math.sqrt(2 / ((1 + SLOPE**2) * fan_in)))
        self._gain_shape = [n if axis == output_axis else 1 for axis, n in enumerate(shape)]
        if weight_norm:
            norm = float(self.weight.detach().norm()) if _drawing.get() else 1.0
            self.gain = nn.Parameter(torch.full((shape[output_axis],), norm))
        else:
            self.register_parameter("gain", None)

    def effective_weight(self) -> Tensor:
        """The weight that inputs are multiplied with, in the weight's shape."""
        if self.gain is None:
            return self.weight
        return self.weight * (self.gain.view(self._gain_shape) / self.weight.norm())

    @torch.no_grad()
    def fold(self) -> None:
        """Multiply gain and norm into the weight, once, for inference."""
        if self.gain is not None:
            self.weight.copy_(self.effective_weight())
            self.gain = None


class Linear(WeightNormalised):
    """[..., inputs] -> [..., outputs]."""

    def __init__(self, inputs: int, outputs: int, *, weight_norm: bool = False, size: float = 1.0) -> None:
        super().__init__()
        self._start((outputs, inputs), inputs, 0, weight_norm, size)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.effective_weight(), self.bias)


class Conv(WeightNormalised):
    """A convolution, [B, inputs, H, W] -> [B, outputs, H', W']."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        padding: int,
        *,
        weight_norm: bool = False,
        size: float = 1.0,
    ) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding
        self._start((outputs, inputs, kernel, kernel), inputs * kernel**2, 0, weight_norm, size)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.effective_weight(), self.bias, self.stride, self.padding)


class UpConv(WeightNormalised):
    """A transposed 4×4 convolution of stride 2 with a bias for each texel: [B, inputs, H, H] -> [B, outputs, 2H, 2H].

    The bias is untied: a texture's texel k is always the same spot of the face.
    """

    def __init__(self, inputs: int, outputs: int, size: int, *, weight_norm: bool = False) -> None:
        super().__init__()
        self._start((inputs, outputs, 4, 4), inputs * 4, 1, weight_norm, 1.0)  # 4 of the 16 taps meet in a texel
        self.bias = nn.Parameter(torch.zeros(1, outputs, size, size))  # 4-d, to be laid out as the texels are

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv_transpose2d(x, self.effective_weight(), None, 2, 1)
        return F.leaky_relu_(y.add_(self.bias), SLOPE)


class Residual(nn.Module):
    """x + W₂ leaky(W₁ leaky(x))."""

    def __init__(self, width: int, *, weight_norm: bool = False) -> None:
        super().__init__()
        self.first = Linear(width, width, weight_norm=weight_norm)
        self.second = Linear(width, width, weight_norm=weight_norm, size=0.3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(leaky(self.first(leaky(x))))


def fold_weights(module: nn.Module) -> None:
    """Fold every weight-normalised layer of ``module``, in place."""
    for layer in module.modules():
        if isinstance(layer, WeightNormalised):
            layer.fold()


def channels_last(module: nn.Module) -> None:
    """Lay out the 4-d parameters channels last, in place; two thirds of the decoder's speed on a CPU."""
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
