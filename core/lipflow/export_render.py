"""Faces as pictures for people: cameras around the head, and renders with smooth edges."""

from __future__ import annotations

import math

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
    large = camera.resized((SAMPLES * camera.size[0], SAMPLES * camera.size[1])).to(z.device)
    rgb, _ = render_views(avatar, z[None], Camera.stack([large]))
    return to_picture(avg_pool2d(rgb[0], SAMPLES)[0])
