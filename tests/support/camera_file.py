"""Cameras in files, as a user has them beside a photograph."""

from __future__ import annotations

from pathlib import Path

from lipflow.camera import Camera
from lipflow.files import write_json


def save_camera(path: Path, camera: Camera, *, gamma: bool | None = None) -> None:
    """Write one camera as ``load_camera`` reads it; with ``gamma`` it says how its photograph is kept."""
    fields = {"K": camera.K.tolist(), "R": camera.R.tolist(), "t": camera.t.tolist(), "size": list(camera.size)}
    write_json(path, fields if gamma is None else fields | {"gamma": gamma})
