"""What the loader's thread does when files are opened: reads them, and prepares an avatar for use."""

from __future__ import annotations

from pathlib import Path

import torch

from lipflow import embedded
from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow.observation_files import load_hmc
from lipflow_studio.document import AvatarInfo, FloatArray
from lipflow_studio.engine import describe


def load_avatar(path: Path, device: torch.device) -> tuple[Avatar, AvatarInfo]:
    """An avatar for inference, and what the views need of it.

    Raises:
        InputError: if the file is no avatar, or one without landmarks.
    """
    avatar = Avatar.load(path).to(device).for_inference()
    return avatar, describe(avatar, path.stem, path)


def load_headset(
    files: list[Path], current: Avatar | None, device: torch.device
) -> tuple[Avatar, AvatarInfo | None, FloatArray]:
    """Three images [3, h, w] and the avatar they drive: ``current``, or else the embedded one, then with its info.

    Raises:
        InputError: if the images are not what the avatar's headset takes.
    """
    avatar, info = current, None
    if avatar is None:
        avatar, info = load_avatar(embedded.avatar_driven_by("hmc"), device)
    if avatar.hmc_cameras is None:
        raise InputError("headset images", expected="an avatar with headset cameras", got="one without")
    return avatar, info, load_hmc(files, avatar.hmc_cameras.size).numpy().copy()


def in_camera_order(files: list[Path]) -> list[Path]:
    """Sort files named after their cameras as mouth, left, right; keep the given order where names do not say."""
    order = []
    for part in ("mouth", "left", "right"):
        matches = [f for f in files if part in f.stem.lower()]
        if len(matches) != 1:
            return files
        order.append(matches[0])
    return order if len(set(order)) == 3 else files
