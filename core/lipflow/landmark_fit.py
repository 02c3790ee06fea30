"""A frozen avatar's landmarks beside given keypoints, for one code at a time: what a fit to keypoints waits for.

All of it lives on the host and in numpy, as a prior's ``Passage`` does and for the same reason. Only where matrices
meet matrices torch multiplies: an application that limits torch's threads means these products, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.nets.layers import SLOPE, Linear

Array = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class LandmarkView:
    """What a camera sees of an avatar's landmarks, as layers from the code to homogeneous pixels.

    K (R x + t) is folded into the mesh head's rows. The arrays are in the parameters' precision.
    """

    avatar: Avatar
    camera: Camera  # single, in the head frame
    code: tuple[Array, Array]  # weight [H, Z] and bias [H], before the leaky rectifier
    coefficients: tuple[Array, Array] | None  # [R, H] and [R]; None: the H features are the head's R
    head: tuple[Array, Array]  # [3L, R] and [3L]: column · depth, row · depth, depth (pixels, mm) of each landmark

    @staticmethod
    def of(avatar: Avatar, camera: Camera) -> LandmarkView:
        """Raises InputError if the avatar has no landmarks."""
        weight, bias = (tensor.detach().cpu().double() for tensor in avatar.landmark_head())  # [L, 3, R], [L, 3] mm
        K, R, t = (tensor.detach().cpu().double() for tensor in (camera.K, camera.R, camera.t))
        to_pixels = torch.cat([K[:2], K.new_tensor([[0, 0, 1]])])  # the last row keeps the depth
        rows, offsets = to_pixels @ R @ weight, bias @ (to_pixels @ R).T + to_pixels @ t
        decoder, dtype = avatar.decoder, avatar.vertex_mean.dtype
        return LandmarkView(
            avatar=avatar,
            camera=camera,
            code=_on_host(decoder.code),
            coefficients=None if decoder.coefficients is None else _on_host(decoder.coefficients),
            head=(rows.flatten(0, 1).to(dtype).numpy(), offsets.flatten().to(dtype).numpy()),
        )


@dataclass(frozen=True, eq=False)
class KeypointsAgainst:
    """Keypoints set against one avatar's landmarks: a function of the code."""

    view: LandmarkView
    given: Array  # [L, 2] column, row in pixels
    scale: Array  # [L, 1] √w / σ, in 1 / pixels

    def __call__(self, z: Array) -> KeypointDifference:
        return KeypointDifference(self, z)


class KeypointDifference:
    """How one code's landmarks differ from the keypoints, and what was kept to differentiate that."""

    def __init__(self, against: KeypointsAgainst, z: Array) -> None:
        self._against, view = against, against.view
        weight, bias = view.code
        features = weight @ z + bias
        self._on = features > 0
        features = np.maximum(features, SLOPE * features)
        if view.coefficients is not None:
            weight, bias = view.coefficients
            features = weight @ features + bias
        self.coefficients: Array = features  # [R], what the mesh head takes
        weight, bias = view.head
        seen = (weight @ features + bias).reshape(-1, 3)
        self._depth = seen[:, 2:]  # [L, 1] mm
        self._pixels = seen[:, :2] / self._depth
        self.residual = ((self._pixels - against.given) * against.scale).ravel()  # [2L]

    @property
    def shown(self) -> dict[str, Array]:
        size = np.asarray(self._against.view.camera.size[::-1], self._pixels.dtype)
        return {"projected": self._pixels / size}  # [L, 2], units of the keypoints

    def factors(self) -> tuple[Array, Array]:
        view = self._against.view
        rows = view.head[0].reshape(len(self._pixels), 3, -1)
        by_feature = rows[:, :2] - self._pixels[:, :, None] * rows[:, 2:]  # the quotient rule
        by_feature *= (self._against.scale / self._depth)[:, :, None]
        by_feature = by_feature.reshape(-1, by_feature.shape[-1])
        slope, weight = np.where(self._on, 1.0, SLOPE).astype(by_feature.dtype), view.code[0]
        if view.coefficients is None:
            return by_feature, slope[:, None] * weight
        of_code = torch.from_numpy(view.coefficients[0] * slope)
        return by_feature, (of_code @ torch.from_numpy(weight)).numpy()


def _on_host(layer: Linear) -> tuple[Array, Array]:
    weight, bias = (tensor.detach().cpu().numpy() for tensor in (layer.effective_weight(), layer.bias))
    return weight, bias
