"""The subject's paint, baked once in the texture: what every frame of a capture shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lipflow.capture.synthetic.features import paint_eye, paint_gums, paint_lashes, paint_teeth, paint_tongue
from lipflow.capture.synthetic.hair import add_hair
from lipflow.capture.synthetic.head import HeadRig, Part
from lipflow.capture.synthetic.identity import Identity, make_identity
from lipflow.capture.synthetic.skin import SkinSamples, Surface, paint_skin
from lipflow.capture.synthetic.texels import TexelMap
from lipflow.capture.synthetic.unwrap import SLOTS
from lipflow.capture.synthetic.wrinkles import DEPTH, WRINKLES, paint_wrinkles
from lipflow.mesh import Topology

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

_PAINTED_SIZE = 1024  # pixels; smaller textures are painted finer than they are, up to 4 × 4, and averaged
_MAX_FINER = 4
_PUPILS_APART = 62.0  # mm, of the canonical frame


@dataclass(frozen=True, eq=False)
class Appearance:
    """A subject's maps at the N covered texels of its texture."""

    topology: Topology
    texels: TexelMap
    albedo: FloatArray  # [N, 3] linear, at rest
    slope: FloatArray  # [N, 2] derivative of the height (mm) by u and v
    specular: FloatArray  # [N] strength of the reflection
    roughness: FloatArray  # [N]
    softness: FloatArray  # [N] how far light spreads under the surface: 1 skin, 0 hair and lashes
    mirror: FloatArray  # [N] 1 where the wet eye mirrors its surroundings
    creases: FloatArray  # [N, 8] the wrinkle maps of ``wrinkles.WRINKLES``
    crease_slope: FloatArray  # [2, N, 8] derivative of their depth by u and v
    flush: FloatArray  # [N, 2] where blood comes and goes: cheeks; forehead and nose
    spacing: FloatArray  # [N] mm between texels, on the rig's average head
    eyes: tuple[IntArray, IntArray]  # positions of the texels of each eyeball
    lid_margins: tuple[IntArray, IntArray]  # vertex ids of each eye's lid margin
    lashes: IntArray  # vertex ids; seen from both sides
    age: float  # [0, 1]


def canonical_places(rig: HeadRig) -> FloatArray:
    """Vertices of the rig's average head [V, 3] in the canonical frame of the paint (see skin.py)."""
    average = rig.neutral(Identity(0, (), make_identity(0).style))
    left, right = (eye.centre.astype(np.float64) for eye in average.eyes)
    scale = _PUPILS_APART / np.linalg.norm(left - right)
    return ((average.vertices - 0.5 * (left + right)) * scale).astype(np.float32)


def bake(rig: HeadRig, identity: Identity, size: int, seed: int) -> Appearance:
    """Paint the subject at texture ``size``; the same arguments give the same bytes."""
    finer = int(np.clip(_PAINTED_SIZE // size, 1, _MAX_FINER))
    texels = TexelMap.build(rig.topology, size)
    fine = TexelMap.build(rig.topology, size * finer)
    painted = _paint(rig, identity, fine, seed)

    def settle(values: FloatArray) -> npt.NDArray[np.float32]:
        """Average the finer samples over each texel, as an image."""
        image = fine.image(values)
        if finer == 1:
            return image
        weight = fine.valid.astype(np.float32).reshape(size, finer, size, finer)
        blocks = image.reshape(size, finer, size, finer, -1)
        total: FloatArray = np.einsum("ijkl,ijklc->ikc", weight, blocks)
        mean: FloatArray = total / np.maximum(weight.sum((1, 3)), 1)[..., None]
        return mean.reshape(size, size, *values.shape[1:])

    def at_texels(image: npt.NDArray[Any]) -> FloatArray:
        return np.ascontiguousarray(image.reshape(size * size, *image.shape[2:])[texels.texel])

    def slopes(image: npt.NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
        """Derivatives by u (columns) and by v (rows downwards, so with the sign turned)."""
        down, right = (np.gradient(image, axis=k) for k in (0, 1))
        return at_texels(right * size), at_texels(-down * size)

    def on(part: Part) -> IntArray:
        return np.flatnonzero(rig.part[rig.topology.faces[texels.triangle, 0]] == part).astype(np.int32)

    maps = {name: settle(values) for name, values in painted.items()}
    crease_u, crease_v = slopes(maps["creases"] * -DEPTH)
    return Appearance(
        topology=rig.topology,
        texels=texels,
        slope=np.stack(slopes(maps["height"]), axis=-1),
        crease_slope=np.stack([crease_u, crease_v]),
        age=identity.style.age,
        spacing=_spacing(canonical_places(rig), rig.topology, size)[texels.triangle],
        eyes=(on(Part.EYE_LEFT), on(Part.EYE_RIGHT)),
        lid_margins=(rig.loops["lid_left"], rig.loops["lid_right"]),
        lashes=np.flatnonzero(rig.part == Part.LASH).astype(np.int32),
        **{
            name: at_texels(maps[name])
            for name in ("albedo", "specular", "roughness", "softness", "mirror", "creases", "flush")
        },
    )


def _paint(rig: HeadRig, identity: Identity, fine: TexelMap, seed: int) -> dict[str, FloatArray]:
    """Every map at the finer samples."""
    topology, style = rig.topology, identity.style
    n = len(fine.texel)
    canonical = canonical_places(rig)
    place = fine.interpolate(canonical, topology.faces)
    part = rig.part[topology.faces[fine.triangle, 0]]
    maps = {
        "albedo": np.zeros((n, 3), np.float32),
        "height": np.zeros(n, np.float32),
        "specular": np.zeros(n, np.float32),
        "roughness": np.full(n, 0.5, np.float32),
        "softness": np.zeros(n, np.float32),
        "mirror": np.zeros(n, np.float32),
        "creases": np.zeros((n, len(WRINKLES)), np.float32),
        "flush": np.zeros((n, 2), np.float32),
    }

    def put(at: npt.NDArray[np.intp], surface: Surface, softness: float | FloatArray) -> None:
        maps["albedo"][at], maps["height"][at] = surface.albedo, surface.height
        maps["specular"][at], maps["roughness"][at] = surface.specular, surface.roughness
        maps["softness"][at] = softness

    at = np.flatnonzero(part == Part.SKIN)
    masks = {
        name: fine.interpolate(rig.masks[name], topology.faces)[at]
        for name in ("lips", "mouth_inside", "eyelids", "ears")
    }
    samples = SkinSamples(place[at], **masks)
    skin, zone = paint_skin(samples, style, seed)
    haired = add_hair(skin, samples, zone, style, seed, _spacing_at_brows(canonical, topology, fine.size))
    cover = np.abs(haired.albedo - skin.albedo).sum(1) / np.maximum(skin.albedo.sum(1), 1e-3)
    put(at, haired, np.clip(1 - cover, 0, 1))
    maps["creases"][at] = paint_wrinkles(samples, zone, seed)
    blood_shown = (1 - np.clip(cover, 0, 1)) * (1 - zone.mouth_inside)
    maps["flush"][at, 0] = np.clip(zone.cheeks * 1.1 + 0.4 * zone.ears, 0, 1) * blood_shown
    maps["flush"][at, 1] = np.clip(0.8 * zone.forehead + zone.nose + 0.6 * zone.chin, 0, 1) * blood_shown

    for eye, nose_side in ((Part.EYE_LEFT, -1.0), (Part.EYE_RIGHT, 1.0)):
        at = np.flatnonzero(part == eye)
        centre = np.array([-31.0 * nose_side, 0.0, 0.0], dtype=np.float32)
        radius = float(np.median(np.linalg.norm(canonical[rig.part == eye] - centre, axis=1)))
        put(at, paint_eye(place[at] - centre, radius, nose_side, style, seed + int(eye)), 0.25)
        maps["mirror"][at] = 1.0

    flat = _texture_coordinates(fine)
    for teeth, lower in ((Part.TEETH_UPPER, False), (Part.TEETH_LOWER, True)):
        at = np.flatnonzero(part == teeth)
        slot = SLOTS["teeth"]
        cell = (flat[at] - [slot.left, slot.bottom]) / [slot.width, slot.height] * [6, 4]
        put(at, paint_teeth(cell.astype(np.float32), np.full(len(at), lower), style, seed), 0.5)
        maps["mirror"][at] = 0.12
    at = np.flatnonzero(part == Part.GUMS)
    put(at, paint_gums(place[at], seed), 0.8)
    at = np.flatnonzero(part == Part.TONGUE)
    put(at, paint_tongue(place[at], seed), 0.8)
    at = np.flatnonzero(part == Part.LASH)
    slot = SLOTS["lashes_left"]
    way = (flat[at, 0] - slot.left) / slot.width % 1.0
    from_root = np.where(way < 0.65, way / 0.6, (1 - way) / 0.3).astype(np.float32)
    lid = maps["albedo"][part == Part.SKIN][masks["eyelids"] > 0.3].mean(0)
    put(at, paint_lashes(from_root, lid, style), 0.0)
    return maps


def _texture_coordinates(texels: TexelMap) -> FloatArray:
    """u, v [N, 2] of the covered texels."""
    row, column = np.divmod(texels.texel, texels.size)
    return np.stack([(column + 0.5) / texels.size, 1 - (row + 0.5) / texels.size], axis=1).astype(np.float32)


def _spacing(places: FloatArray, topology: Topology, size: int) -> FloatArray:
    """Distance between texels on each face [F], mm."""
    corners = places[topology.faces]
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    uv = topology.uv[topology.uv_faces]
    a, b = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    flat = 0.5 * np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    return (np.sqrt(area / np.maximum(flat, 1e-12)) / size).astype(np.float32)


def _spacing_at_brows(places: FloatArray, topology: Topology, size: int) -> float:
    """Distance between texels on the front of the face, mm."""
    middle = places[topology.faces].mean(1)
    brow = (np.abs(middle[:, 0]) < 55) & (np.abs(middle[:, 1] - 20) < 12) & (middle[:, 2] > -25)
    return float(np.median(_spacing(places, topology, size)[brow]))
