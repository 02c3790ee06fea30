"""The demo's headset images and the truth behind them, as shipped in the assets."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from lipflow.checks import InputError
from lipflow_studio.document import FloatArray

NAMES = ("mouth", "left", "right")


@dataclass(frozen=True, eq=False)
class Truth:
    """The face that the demo's headset images show."""

    vertices: FloatArray  # [V, 3] mm
    texture: FloatArray  # [3, T, T] linear RGB in [0, 1], averaged over views


def _folder() -> Path:
    return Path(str(files("lipflow_assets"))) / "demo"


@functools.cache  # menus ask at every edit
def available() -> bool:
    """Whether the demo's images are installed."""
    return all((_folder() / f"{name}.png").is_file() for name in NAMES)


def headset_images() -> list[Path]:
    """The files of mouth, left eye and right eye."""
    return [_folder() / f"{name}.png" for name in NAMES]


def truth() -> Truth:
    """
    Raises:
        InputError: if the file is missing or damaged.
    """
    path = _folder() / "truth.safetensors"
    try:
        tensors = load_file(path)
        texture = tensors["average_texture"]
        scale = 255.0 if texture.dtype == np.uint8 else 1.0
        return Truth(tensors["vertices"].astype(np.float32), texture.astype(np.float32) / np.float32(scale))
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(f"demo truth {path}", expected="vertices and average_texture", got=repr(error)) from error
