"""Light on the subject: per frame the diffuse texture, per camera the reflections over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipflow.capture.synthetic import shading_kernels as kernels
from lipflow.capture.synthetic.appearance import Appearance
from lipflow.capture.synthetic.skin import HAEMOGLOBIN
from lipflow.capture.synthetic.wrinkles import wrinkle_weights

FloatArray = npt.NDArray[np.float32]

_CREASE = np.array([0.10, 0.17, 0.20], dtype=np.float32)  # absorbance of a full crease
_WRAP = np.array([0.32, 0.15, 0.10], dtype=np.float32)  # how far light wraps round the terminator, by colour
_PENUMBRA = (1.4, 1.6, 10.0)  # half a shadow's edge: mm at least, texels (a sharper one would show them), mm at most
_FLUSH = 0.34  # haemoglobin that one standard deviation of flush adds


@dataclass(frozen=True)
class Light:
    """A far lamp."""

    towards: tuple[float, float, float]  # direction to the lamp, any length, world frame
    colour: tuple[float, float, float]  # irradiance on a surface that faces it, over π


@dataclass(frozen=True)
class Lighting:
    """The dome's lamps and its glow, fixed in the world."""

    lamps: tuple[Light, ...]
    sky: tuple[tuple[float, float, float], ...]  # radiance by colour: constant, along y, along z
    exposure: float

    @staticmethod
    def studio() -> Lighting:
        """A warm key from the upper right, a cool fill from the left, a rim from behind and above, and the dome."""
        return Lighting(
            lamps=(
                Light((0.50, 0.55, 0.85), (0.86, 0.82, 0.76)),
                Light((-0.80, 0.25, 0.62), (0.33, 0.35, 0.39)),
                Light((0.0, 0.85, -0.55), (0.24, 0.24, 0.27)),
            ),
            sky=((0.44, 0.44, 0.445), (0.14, 0.14, 0.15), (0.13, 0.13, 0.13)),
            exposure=0.88,
        )


@dataclass(frozen=True)
class Mood:
    """What the skin shows that no keypoint does; each about standard normal."""

    flush_cheeks: float = 0.0
    flush_brow: float = 0.0
    tone: float = 0.0  # paler (negative) or darker
    wrinkle_gain: float = 0.0


@dataclass(frozen=True, eq=False)
class ShadedFrame:
    """A frame's texels, ready to be seen from anywhere."""

    diffuse: FloatArray  # [N, 3] linear, before exposure
    position: FloatArray  # [N, 3] mm, head frame
    normal: FloatArray  # [N, 3]
    sky_open: FloatArray  # [N]
    lit: FloatArray  # [N, L] share of each lamp that arrives
    lamps: FloatArray  # [L, 3] directions, head frame
    sky: FloatArray  # [3, 3] in the head frame


class Shader:
    """Shades one subject. Stateless between frames: several threads may share it."""

    def __init__(self, appearance: Appearance, lighting: Lighting | None = None, *, directions: int = 40) -> None:
        self.appearance = appearance
        self.lighting = lighting or Lighting.studio()
        towards = np.array([lamp.towards for lamp in self.lighting.lamps])
        self._lamps = towards / np.linalg.norm(towards, axis=1, keepdims=True)
        self._colours = np.array([lamp.colour for lamp in self.lighting.lamps], dtype=np.float32)
        self._axes = _frames_along(_sphere(directions))
        self._penumbra = np.clip(_PENUMBRA[1] * appearance.spacing, _PENUMBRA[0], _PENUMBRA[2]).astype(np.float32)
        topology = appearance.topology
        self._faces = np.ascontiguousarray(topology.faces)
        self._uv, self._uv_faces = np.ascontiguousarray(topology.uv), np.ascontiguousarray(topology.uv_faces)

    def frame(
        self, vertices: FloatArray, units: npt.ArrayLike, mood: Mood, head_rotation: npt.ArrayLike
    ) -> ShadedFrame:
        """Light a posed head.

        Args:
            vertices: [V, 3] mm, head frame.
            units: [52] the expression, for the wrinkles.
            mood: the hidden factors.
            head_rotation: [3, 3] head -> world; the lamps stay in the world.
        """
        look, vertices = self.appearance, np.ascontiguousarray(vertices, dtype=np.float32)
        v, n = len(vertices), len(look.texels.texel)
        rotation = np.asarray(head_rotation, dtype=np.float64)
        lamps = (self._lamps @ rotation).astype(np.float32)
        sky = _turn_sky(np.asarray(self.lighting.sky), rotation)
        normals = np.empty((v, 3), np.float32)
        kernels.vertex_normals(vertices, self._faces, normals)
        centre = 0.5 * (vertices.min(0) + vertices.max(0))
        away = ((vertices[look.lashes] - centre) * normals[look.lashes]).sum(1, keepdims=True) < 0
        normals[look.lashes] *= np.where(away, np.float32(-1), np.float32(1))
        radius = float(np.linalg.norm(vertices - centre, axis=1).max()) * 1.02
        open_, bent = np.empty(v, np.float32), np.empty((v, 3), np.float32)
        kernels.occlusion(vertices, normals, self._faces, self._axes, centre, radius, 208, open_, bent)

        weights = wrinkle_weights(units, look.age, float(np.exp(0.28 * mood.wrinkle_gain)))
        slope = look.slope + np.stack([look.crease_slope[0] @ weights, look.crease_slope[1] @ weights], axis=1)
        position, normal, sky_normal = (np.empty((n, 3), np.float32) for _ in range(3))
        sky_open, lit = np.empty(n, np.float32), np.empty((n, len(lamps)), np.float32)
        kernels.place_texels(
            vertices, normals, open_, bent, self._faces, self._uv, self._uv_faces,
            look.texels.triangle, look.texels.barycentric, slope, position, normal, sky_normal, sky_open,
        )  # fmt: skip
        kernels.shadows(
            position, normal, self._penumbra, vertices, self._faces, _frames_along(lamps), centre, radius, 448, 0.8,
            2.0, lit,
        )  # fmt: skip
        for texels, margin in zip(look.eyes, look.lid_margins):
            kernels.lid_shade(position, texels, vertices[margin], sky_open, lit)
        diffuse = np.empty((n, 3), np.float32)
        kernels.diffuse(
            self._coloured(weights, mood),
            normal,
            sky_normal,
            sky_open,
            look.softness,
            lit,
            lamps,
            self._colours,
            sky,
            _WRAP,
            diffuse,
        )
        return ShadedFrame(diffuse, position, normal, sky_open, lit, lamps, sky)

    def view(self, frame: ShadedFrame, eye: npt.ArrayLike) -> FloatArray:
        """The texture [T, T, 3] linear in [0, 1] that a camera at ``eye`` [3] (mm, head frame) sees."""
        look, out = self.appearance, np.empty_like(frame.diffuse)
        kernels.specular(
            np.asarray(eye, dtype=np.float32), frame.position, frame.normal, frame.sky_open, frame.lit, look.specular,
            look.roughness, look.mirror, frame.lamps, self._colours, frame.sky, self.lighting.exposure, frame.diffuse,
            out,
        )  # fmt: skip
        return look.texels.image(out)

    def _coloured(self, weights: FloatArray, mood: Mood) -> FloatArray:
        """The albedo [N, 3] under this frame's creases, flush and tone."""
        look = self.appearance
        blood = look.flush @ np.array([mood.flush_cheeks, mood.flush_brow], dtype=np.float32) * _FLUSH
        crease = look.creases @ weights
        absorbed = blood[:, None] * HAEMOGLOBIN + crease[:, None] * _CREASE
        tone = 0.035 * mood.tone * look.softness[:, None] * np.array([0.7, 1.0, 1.2], dtype=np.float32)
        return look.albedo * np.exp(-absorbed - tone)


def _sphere(count: int) -> npt.NDArray[np.float64]:
    """Evenly spread unit directions [count, 3] (Fibonacci lattice)."""
    i = np.arange(count) + 0.5
    polar, around = np.arccos(1 - 2 * i / count), np.pi * (1 + 5**0.5) * i
    return np.stack([np.cos(around) * np.sin(polar), np.cos(polar), np.sin(around) * np.sin(polar)], axis=1)


def _frames_along(directions: npt.NDArray[np.floating]) -> FloatArray:
    """For each direction [D, 3] a right-handed frame with rows right, up, direction: [D, 3, 3]."""
    up = np.where(np.abs(directions[:, 1:2]) < 0.95, [[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]])
    right = np.cross(up, directions)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return np.stack([right, np.cross(directions, right), directions], axis=1).astype(np.float32)


def _turn_sky(sky: npt.NDArray[np.float64], rotation: npt.NDArray[np.float64]) -> FloatArray:
    """The sky's gradients seen from the head; what turns out of the y–z plane (a few degrees) is left out."""
    gradients = np.stack([np.zeros(3), sky[1], sky[2]])  # rows x, y, z of the world
    seen = rotation.T @ gradients
    return np.stack([sky[0], seen[1], seen[2]]).astype(np.float32)
