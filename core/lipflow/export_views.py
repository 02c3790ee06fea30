"""An observation beside the render of a code: what was seen, what the code shows, and where they differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow.colour import to_display, to_picture
from lipflow.evaluation.drawing import coloured_error
from lipflow.evaluation.exhibits import ERROR_SCALE
from lipflow.export import Picture
from lipflow.export_render import render_face
from lipflow.observations import FrontalObservation, HmcObservation, KeypointObservation, Observation

HMC_TITLES = ("Mouth camera", "Left eye camera", "Right eye camera")
KEYPOINT_HEIGHT = 840  # pixels of pictures with keypoints
HEAVY = 0.5  # of the largest weight: keypoints of at least so much are what the fit is about
GIVEN, HELD, FOUND = (255, 176, 59), (120, 128, 140), (86, 180, 233)  # given and heavy, given and light, rendered
GAP = 6  # pixels between views below each other
DIMMED = 0.45  # of the face below keypoints


@dataclass(frozen=True, eq=False)
class ObservedView:
    """One camera's view of an observation, beside the same view of a code."""

    title: str
    given: Picture  # [h, w, 3] what was seen
    render: Picture  # [h, w, 3]
    error: Picture  # [h, w, 3]
    caption: str


@torch.no_grad()
def observed_views(avatar: Avatar, observation: Observation, z: npt.NDArray[np.float32]) -> tuple[ObservedView, ...]:
    """A view a camera, of a code [Z].

    Raises:
        InputError: a kind of observation that has no pictures.
    """
    _, views = _kind(observation)
    return tuple(views(avatar, observation, torch.from_numpy(z).to(avatar.vertex_mean.device)))


def in_words(observation: Observation) -> str:
    """What kind of observation it is. Raises InputError as ``observed_views`` does."""
    return _kind(observation)[0]


def given_picture(avatar: Avatar, observation: Observation, z: npt.NDArray[np.float32]) -> Picture:
    """What was seen, all cameras below each other with a gap between, [h, w, 3]; ``z`` [Z] is any code."""
    first, *others = [view.given for view in observed_views(avatar, observation, z)]
    gap = np.zeros((GAP, first.shape[1], 3), np.uint8)
    return np.concatenate([first, *(part for other in others for part in (gap, other))], axis=0)


def _headset_views(avatar: Avatar, observation: HmcObservation, z: Tensor) -> list[ObservedView]:
    shown = {name: tensor[0].cpu() for name, tensor in observation.compare(avatar, z[None]).shown.items()}
    views = []
    for k, title in enumerate(HMC_TITLES):
        visible, error = shown["visible"][k].bool(), shown["error"][k]
        caption = f"RMS error {_rms(error[visible]):.3f} where the face is visible, brightness × {shown['gain'][k]:.2f}"
        given, render = _gray(observation.images[k].cpu()), _gray(shown["render"][k])
        views.append(ObservedView(title, given, render, _error(error), caption))
    return views


def _frontal_view(avatar: Avatar, observation: FrontalObservation, z: Tensor) -> list[ObservedView]:
    shown = {name: tensor[0].cpu() for name, tensor in observation.compare(avatar, z[None]).shown.items()}
    image, visible = observation.image.cpu(), shown["visible"].bool()
    error = (to_display(shown["render"]) - to_display(image)).abs() * visible
    caption = f"RMS error {_rms(error[:, visible]):.3f} in display gamma where the face is visible"
    pictures = to_picture(image), to_picture(shown["render"]), _error(error.mean(0))
    return [ObservedView("Frontal camera", *pictures, caption)]


def _keypoint_view(avatar: Avatar, observation: KeypointObservation, z: Tensor) -> list[ObservedView]:
    camera = observation.camera
    height, width = camera.size
    large = camera.resized((KEYPOINT_HEIGHT, round(width * KEYPOINT_HEIGHT / height)))
    face = render_face(avatar, z, large)
    size, larger = np.array([width, height]), np.array(large.size[::-1])
    given = observation.keypoints.cpu().numpy() * size
    found = observation.compare(avatar, z[None]).shown["projected"][0].cpu().numpy() * size
    weights = observation.weights.cpu().numpy()
    heavy = weights >= HEAVY * weights.max()
    pixels = np.linalg.norm(found - given, axis=-1)[heavy]
    caption = f"{pixels.mean():.2f} px in the mean, {pixels.max():.2f} px at most, over {heavy.sum()} keypoints "
    caption += f"of an image of {width} × {height}"
    ground = (DIMMED * face).astype(np.uint8)
    given, found = ((places + 0.5) * larger / size - 0.5 for places in (given, found))  # as ``Camera.resized`` has it
    dots = _drawn(np.zeros_like(face), given, heavy)
    return [ObservedView("Keypoints", dots, face, _drawn(ground, given, heavy, found), caption)]


Views = Callable[[Avatar, Any, Tensor], list[ObservedView]]
_KINDS: dict[type, tuple[str, Views]] = {
    HmcObservation: ("headset images", _headset_views),
    FrontalObservation: ("a frontal image", _frontal_view),
    KeypointObservation: ("keypoints", _keypoint_view),
}


def _kind(observation: Observation) -> tuple[str, Views]:
    for kind, row in _KINDS.items():
        if isinstance(observation, kind):
            return row
    expected = " or ".join(name for name, _ in _KINDS.values())
    raise InputError("observation", expected=expected, got=type(observation).__name__)


def _drawn(
    ground: Picture,
    given: npt.NDArray[np.floating],
    heavy: npt.NDArray[np.bool_],
    found: npt.NDArray[np.floating] | None = None,
) -> Picture:
    """Keypoints [L, 2], column and row, over a picture, and the lines from them to where the face has them."""
    image = Image.fromarray(ground)
    draw = ImageDraw.Draw(image)
    order = np.argsort(heavy, kind="stable")  # the heavy ones on top
    for k in order:
        at, radius = given[k], 5 if heavy[k] else 3
        if found is not None:
            end = found[k]
            draw.line([*at, *end], fill=FOUND, width=2)
            draw.ellipse([*(end - 2), *(end + 2)], fill=FOUND)
        draw.ellipse([*(at - radius), *(at + radius)], outline=GIVEN if heavy[k] else HELD, width=2)
    return np.asarray(image)


def _gray(image: Tensor) -> Picture:
    """[h, w] in the headset's own tone -> [h, w, 3]."""
    return np.repeat((255 * image.clamp(0, 1)).round().byte().numpy()[..., None], 3, axis=2)


def _error(error: Tensor) -> Picture:
    """[h, w] -> [h, w, 3], its colours ending at ``ERROR_SCALE``."""
    return coloured_error((error / ERROR_SCALE * 255).clamp(0, 255).round().byte().numpy())


def _rms(error: Tensor) -> float:
    return float(error.square().mean().sqrt()) if error.numel() else 0.0
