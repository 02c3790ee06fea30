"""What this machine can do at best: the figures that all others are to be read beside."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from lipflow.device import describe_device

_MATRIX = 1536  # side of the multiplied matrices
_BYTES = 256 * 2**20  # copied at once
_ROUNDS = 5


@dataclass(frozen=True)
class Machine:
    """Measured limits of the processor that the bench runs on."""

    device: str
    gemm_gflops: float  # float32 matrix product, best of five
    copy_gb_per_s: float  # memory read and written, best of five


def measure_machine(device: torch.device) -> Machine:
    a, b = torch.randn(2, _MATRIX, _MATRIX, device=device)
    source = torch.ones(_BYTES // 4, device=device)
    target = torch.empty_like(source)
    product = _best(lambda: a @ b, device)
    copy = _best(lambda: target.copy_(source), device)
    return Machine(describe_device(device), 2 * _MATRIX**3 / product / 1e9, 2 * _BYTES / copy / 1e9)


def _best(function: Callable[[], object], device: torch.device) -> float:
    seconds = []
    for _ in range(_ROUNDS + 1):
        begun = time.perf_counter()
        function()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        seconds.append(time.perf_counter() - begun)
    return min(seconds[1:])
