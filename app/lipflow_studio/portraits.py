"""Small pictures of faces for strips and for what is under the pointer. Torch lives here; a plain generator."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import torch

from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.colour import to_display
from lipflow.rendering import make_renderer
from lipflow.rendering.base import Renderer
from lipflow_studio.document import ByteArray, FloatArray
from lipflow_studio.workers import Waiting

SIZE = (352, 264)  # height and width of a portrait, pixels: twice what is shown, as many has a screen at 200 %
ROOM = 1.06  # of the picture, for each part of it that the head fills
HANDED_OVER = 32  # of the newest portraits, so that none is lost between two readings


@dataclass(frozen=True, eq=False)
class Portrait:
    """A face from the front."""

    z: FloatArray  # [Z]
    image: ByteArray  # [h, w, 4] display gamma and coverage


def portraits(avatar: Avatar) -> Generator[Sequence[Portrait] | Waiting, Sequence[FloatArray] | None, None]:
    """Draws the wanted codes one after the other; a newer list replaces what is left of an older one.

    Yields the newest portraits, the latest last.
    """
    assert avatar.keypoint_camera is not None  # describe() has seen to it
    camera = framed(avatar.keypoint_camera, avatar.vertex_mean)
    view = camera.view[None]
    renderer: Renderer | None = None
    made: OrderedDict[bytes, Portrait] = OrderedDict()
    wanted: list[FloatArray] = []
    while True:
        if not wanted:
            message = yield Waiting()
        else:
            z = wanted.pop(0)
            renderer = renderer or make_renderer(avatar.topology, device=view.device)
            code = torch.from_numpy(z).to(view.device)[None]
            with torch.inference_mode():
                drawn = renderer.render(avatar.decode_mesh(code), avatar.decode_texture(code, view), camera)
                picture = to_display(torch.cat([drawn.rgb, drawn.mask[:, None]], dim=1)[0]) * 255
                image = picture.round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
            made[z.tobytes()] = Portrait(z, image)
            if len(made) > HANDED_OVER:
                made.popitem(last=False)
            message = yield tuple(made.values())
        if message is not None:
            wanted = list(message)


def framed(camera: Camera, vertices: torch.Tensor) -> Camera:
    """The camera turned into one of ``SIZE`` whose picture the head [V, 3] mm fills; it stays where it is."""
    height, width = SIZE
    pixels = camera.project(vertices)[:, :2]
    low, high = pixels.amin(0), pixels.amax(0)
    extent = (high - low) * ROOM
    scale = torch.minimum(width / extent[0], height / extent[1])
    middle = pixels.new_tensor([(width - 1) / 2, (height - 1) / 2])
    to_picture = torch.eye(3, dtype=camera.K.dtype, device=camera.K.device)
    to_picture[0, 0] = to_picture[1, 1] = scale
    to_picture[:2, 2] = middle - scale * (low + high) / 2
    return replace(camera, K=to_picture @ camera.K, size=SIZE)
