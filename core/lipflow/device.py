"""Which processor the work runs on, chosen in one place and passed on as a value; and the way back to the host."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.checks import InputError


def choose_device(name: str = "auto") -> torch.device:
    """``auto`` takes the GPU where torch finds one; ``cpu`` and ``cuda`` insist.

    Raises:
        InputError: if the device that is insisted on is not here.
    """
    has_gpu = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if has_gpu else "cpu")
    if name not in ("cpu", "cuda"):
        raise InputError("device", expected="auto, cpu or cuda", got=name)
    if name == "cuda" and not has_gpu:
        raise InputError("device", expected="a GPU that torch can use", got="none", mend="use --device cpu")
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """The device's name for people: the GPU's model, or the CPU with its thread count."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    count = torch.get_num_threads()
    return f"CPU, {count} thread{'s' if count > 1 else ''}"


def host_copy(tensor: Tensor) -> npt.NDArray[np.float32]:
    """A tensor of any device as a float32 array [...] of its own: later steps do not change what a state shows."""
    return np.array(tensor.detach().cpu().numpy(), dtype=np.float32, copy=True)
