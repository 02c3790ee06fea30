"""The viewer's camera: a turntable around a point of the head."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lipflow.camera import Camera

Matrix = npt.NDArray[np.float32]
Points = npt.NDArray[np.floating]

MAX_ELEVATION = 85.0
NEAREST, FARTHEST = 150.0, 6000.0  # mm from viewer to target; nearer, the near plane would cut the head


@dataclass(frozen=True)
class Orbit:
    """Where the viewer stands. Head frame: x to the viewer's right, y up, z out of the face; millimetres."""

    azimuth: float = 0.0  # degrees; positive walks to the viewer's right
    elevation: float = 0.0  # degrees; positive climbs
    distance: float = 900.0  # mm from the target
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)  # mm
    field_of_view: float = 22.0  # degrees, vertical

    @property
    def backward(self) -> npt.NDArray[np.float64]:
        """Unit vector from the target to the viewer."""
        a, e = np.radians(self.azimuth), np.radians(self.elevation)
        return np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])

    @property
    def axes(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The picture's right and up, as unit vectors of the head frame."""
        a = np.radians(self.azimuth)
        right = np.array([np.cos(a), 0.0, -np.sin(a)])
        return right, np.cross(self.backward, right)

    @property
    def eye(self) -> npt.NDArray[np.float64]:
        return np.asarray(self.target) + self.distance * self.backward

    @property
    def view(self) -> tuple[float, float, float]:
        """Unit vector from the head's origin to the viewer: what the decoder's texture depends on."""
        v = self.eye / np.linalg.norm(self.eye)
        return float(v[0]), float(v[1]), float(v[2])

    def orbited(self, right: float, up: float) -> Orbit:
        """Walk around by degrees."""
        azimuth = (self.azimuth + right + 180.0) % 360.0 - 180.0
        return replace(
            self, azimuth=azimuth, elevation=float(np.clip(self.elevation + up, -MAX_ELEVATION, MAX_ELEVATION))
        )

    def panned(self, right: float, up: float) -> Orbit:
        """Move target and viewer in the picture's plane, by fractions of the picture's height."""
        height = 2 * self.distance * np.tan(np.radians(self.field_of_view) / 2)
        x, y = self.axes
        target = np.asarray(self.target) + height * (right * x + up * y)
        return replace(self, target=(float(target[0]), float(target[1]), float(target[2])))

    def zoomed(self, factor: float) -> Orbit:
        """Divide the distance by a factor, within bounds that keep the head in front of the near plane."""
        return replace(self, distance=float(np.clip(self.distance / factor, NEAREST, FARTHEST)))

    def projected(self, points: Points, width: int, height: int) -> npt.NDArray[np.float64]:
        """Where points [N, 3] mm are in a picture of that size: [N, 2] pixels from its upper left corner."""
        right, up = self.axes
        away = np.asarray(points, float) - self.eye
        scale = 1.0 / (self.mm_a_pixel(1.0, height) * np.maximum(-away @ self.backward, 1e-3))
        return np.stack([width / 2 + scale * (away @ right), height / 2 - scale * (away @ up)], axis=-1)

    def mm_a_pixel(self, depth: float, height: int) -> float:
        """The size of a pixel, mm, so deep (mm) before the viewer, in a picture so many pixels high."""
        return float(2 * depth * np.tan(np.radians(self.field_of_view) / 2) / max(height, 1))

    def depth(self, point: Points) -> float:
        """How far before the viewer's plane a point [3] is, mm."""
        return float((self.eye - np.asarray(point, float)) @ self.backward)

    def clip_from_head(self, aspect: float) -> Matrix:
        """OpenGL's clip-from-head matrix [4, 4] (column vectors) for a picture of width/height ``aspect``."""
        right, up = self.axes
        back = self.backward
        view = np.eye(4)
        view[:3, :3] = np.stack([right, up, back])
        view[:3, 3] = -view[:3, :3] @ self.eye
        near, far = max(self.distance - 600.0, 20.0), self.distance + 900.0
        f = 1.0 / np.tan(np.radians(self.field_of_view) / 2)
        projection = np.zeros((4, 4))
        projection[0, 0], projection[1, 1] = f / max(aspect, 1e-6), f
        projection[2, 2], projection[2, 3] = (far + near) / (near - far), 2 * far * near / (near - far)
        projection[3, 2] = -1.0
        return np.asarray(projection @ view, dtype=np.float32)


def through(camera: Camera) -> Orbit:
    """The viewer at a camera's place, looking where it looks: its axis in the picture's middle, upright.

    The target is the point of its axis that is nearest to the head's origin.
    """
    eye = camera.centre.double().cpu().numpy()
    forward = camera.R[2].double().cpu().numpy()
    distance = max(float(-eye @ forward), NEAREST)
    x, y, z = eye + distance * forward
    azimuth = np.degrees(np.arctan2(-forward[0], -forward[2]))
    elevation = np.clip(np.degrees(np.arcsin(np.clip(-forward[1], -1, 1))), -MAX_ELEVATION, MAX_ELEVATION)
    field = np.degrees(2 * np.arctan(camera.size[0] / 2 / float(camera.K[1, 1])))
    return Orbit(float(azimuth), float(elevation), distance, (float(x), float(y), float(z)), float(field))


PRESETS = {"front": (0.0, 0.0), "left": (-50.0, 0.0), "right": (50.0, 0.0)}


def framing(vertices: npt.NDArray[np.float32]) -> Orbit:
    """The viewer in front of a head [V, 3], the whole head in view."""
    low, high = vertices.min(0), vertices.max(0)
    centre = (low + high) / 2
    orbit = Orbit(target=(float(centre[0]), float(centre[1]), float(centre[2])))
    half = 0.5 * float(high[1] - low[1]) * 1.02
    distance = half / np.tan(np.radians(orbit.field_of_view) / 2) + 0.5 * float(high[2] - low[2])
    return replace(orbit, distance=float(distance))
