"""Faces as pictures for people: cameras around the head, and renders with smooth edges."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.colour import to_picture
from lipflow.export import Picture
from lipflow.observations import render_views

FIELD_OF_VIEW = 22.0  # degrees, vertical
ROOM = 1.06  # of the picture, for each part of it that the head fills
SAMPLES = 2  # of a pixel in each direction


def head_camera(vertices: Tensor, size: tuple[int, int], azimuth: float = 0.0, elevation: float = 0.0) -> Camera:
    """A camera that sees the whole head [V, 3] (mm) from any side, at one distance.

    Args:
        size: height and width of its picture, pixels.
        azimuth: degrees around the head's vertical axis, from the front towards +x (the head's left).
        elevation: degrees upwards.
    """
    low, high = vertices.detach().cpu().amin(0), vertices.detach().cpu().amax(0)
    middle, extent = (low + high) / 2, high - low
    radius = float(extent[[0, 2]].norm()) / 2  # of the upright cylinder around it
    half, tangent = float(extent[1]) / 2, math.tan(math.radians(FIELD_OF_VIEW) / 2)
    distance = radius + ROOM * max(half, radius * size[0] / size[1]) / tangent
    a, e = math.radians(azimuth), math.radians(elevation)
    towards = torch.tensor([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])
    return Camera.look_at(middle + distance * towards, middle, size[0] / 2 / tangent, size).to(vertices.device)


@torch.no_grad()
def render_face(avatar: Avatar, z: Tensor, camera: Camera) -> Picture:
    """A code [Z] as one camera sees it, before black, in display gamma: [h, w, 3], edges smoothed in linear light."""
    camera = camera.to(z.device)
    top, bottom, left, right = _covered(camera, avatar.decode_mesh(z[None])[0])
    picture = np.zeros((*camera.size, 3), np.uint8)
    if top < bottom and left < right:
        large = _part(camera, top, bottom, left, right)
        large = large.resized((SAMPLES * large.size[0], SAMPLES * large.size[1]))
        rgb, _ = render_views(avatar, z[None], Camera.stack([large]))
        picture[top:bottom, left:right] = to_picture(avg_pool2d(rgb[0], SAMPLES)[0])
    return picture


def _covered(camera: Camera, vertices: Tensor) -> tuple[int, int, int, int]:
    """The rows and columns that a mesh [V, 3] can touch: nothing is drawn outside, which halves the time."""
    height, width = camera.size
    pixels = camera.project(vertices)
    if pixels[:, 2].min() <= 0:  # some of it is behind the camera
        return 0, height, 0, width
    low, high = pixels[:, :2].amin(0).floor().int().tolist(), pixels[:, :2].amax(0).ceil().int().tolist()
    return max(low[1], 0), min(high[1] + 1, height), max(low[0], 0), min(high[0] + 1, width)


def _part(camera: Camera, top: int, bottom: int, left: int, right: int) -> Camera:
    """The camera of these rows and columns of the picture."""
    K = camera.K.clone()
    K[0] -= left * K[2]
    K[1] -= top * K[2]
    return replace(camera, K=K, size=(bottom - top, right - left))
