"""Derives the rig from the cropped base mesh, once: refined skin, neck cut, loops, parts, atlas and landmarks.

Everything here looks at the base shape only. Identities and expressions reuse its topology, its operator and its
vertex groups, so this runs when the assets are made and never at start-up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from lipflow.capture.synthetic import parts
from lipflow.capture.synthetic.mesh_ops import (
    Polygons,
    boundary_loops,
    edge_loops,
    neighbours,
    offset_rings,
    ordered_loop,
    refine,
    slice_above,
    triangulate,
)
from lipflow.capture.synthetic.rig_landmarks import place_landmarks
from lipflow.capture.synthetic.unwrap import SLOTS, magnify, superellipse, unwrap_disc

if TYPE_CHECKING:
    from lipflow.capture.synthetic.rig_source import RawHead

Array = npt.NDArray[np.float64]

ORIGIN = np.array([0.0, 710.0, 20.0])  # the head frame's origin in the base mesh, mm: between the ears
# Rings of edges around the mouth: 0 is where the lips touch in front, outwards positive, into the mouth negative.
LIP_MARGIN, LIP_OUTER, BAG_SEAM = 0, 5, -3
_LIP_SPLIT = (-2, 6)
# Rings around each eye: 0 is the tightest, behind the lids' edge; the edge is 2, and the lashes grow from 3.
LID_MARGIN, LASH_ROOT, _LID_KEPT = 2, 3, -1
_LID_SPLIT = (1, 6)
# The plane of the neck's cut: its height in mm at the throat and at the nape.
NECK_FRONT, NECK_BACK = 560.0 - 710.0, 598.0 - 710.0

# The face island's outline (exponent of a superellipse) and how much its middle is enlarged.
_ISLAND, _MAGNIFY = 5.0, 1.0


def build_rig(raw: RawHead) -> dict[str, npt.NDArray[Any]]:
    """The rig's arrays, ready to be saved; their meaning is documented where ``HeadRig`` reads them."""
    base = raw.vertices - ORIGIN
    mouth, eyes = _find_rings(raw, base)
    keep = np.ones(len(base), bool)
    for eye in eyes:
        keep[[i for number, ring in eye.items() if number < _LID_KEPT for i in ring]] = False
    quads = raw.quads[keep[raw.quads].all(1)]

    split = np.zeros(len(quads), bool)
    for found, (first, last) in ((mouth, _LIP_SPLIT), (eyes[0], _LID_SPLIT), (eyes[1], _LID_SPLIT)):
        members = np.zeros(len(base), bool)
        members[[i for number, ring in found.items() if first <= number <= last for i in ring]] = True
        split |= members[quads].all(1)
    operator, polygons = refine(quads, len(base), split)
    average = _average_adult(raw, base)
    points = np.asarray(operator @ average)
    cut, polygons = slice_above(points, polygons, _neck_height(points))
    operator = (cut @ operator).tocsr()

    used = np.unique(np.concatenate([np.asarray(p) for p in polygons]))
    position = np.full(operator.shape[0], -1)
    position[used] = np.arange(len(used))
    polygons = [position[p].tolist() for p in polygons]
    operator = operator[used]
    operator.data = np.where(np.abs(operator.data) < 1e-9, 0, operator.data)
    operator.eliminate_zeros()
    points = np.asarray(operator @ average)
    faces = triangulate(points, polygons)

    to_fine = {int(i): int(position[i]) for i in range(len(base)) if position[i] >= 0}
    loops = {
        "lips_margin": _fine_loop(mouth[LIP_MARGIN], quads, polygons, to_fine),
        "lips_outer": _fine_loop(mouth[LIP_OUTER], quads, polygons, to_fine),
        "lid_left": _fine_loop(eyes[0][LID_MARGIN], quads, polygons, to_fine),
        "lid_right": _fine_loop(eyes[1][LID_MARGIN], quads, polygons, to_fine),
        "seal_left": [to_fine[i] for i in sorted(eyes[0][_LID_KEPT])],
        "seal_right": [to_fine[i] for i in sorted(eyes[1][_LID_KEPT])],
        "lash_left": _fine_loop(eyes[0][LASH_ROOT], quads, polygons, to_fine),
        "lash_right": _fine_loop(eyes[1][LASH_ROOT], quads, polygons, to_fine),
    }
    bag: npt.NDArray[np.bool_] = np.zeros(len(points), bool)
    bag[[to_fine[i] for number, ring in mouth.items() if number <= BAG_SEAM for i in ring]] = True
    # edge vertices on the seam's far side belong to the face: only whole polygons make the bag
    bag_faces = np.asarray(bag[faces].all(1))
    uv, uv_faces = _unwrap_skin(points, faces, bag_faces)
    _, mirror = cKDTree(points).query(points * [-1, 1, 1])
    landmarks = place_landmarks(points, faces, loops, mirror, operator @ raw.masks["ears"])

    extra = _parts(uv, uv_faces)
    masks = {f"mask_{name}": np.clip(operator @ values, 0, 1) for name, values in raw.masks.items()}
    masks["mask_neck_edge"] = _neck_mask(points, polygons)
    weights = operator.tocoo()
    return {
        "base": base.astype(np.float32),
        "operator_row": weights.row.astype(np.int32),
        "operator_column": weights.col.astype(np.int32),
        "operator_weight": weights.data.astype(np.float32),
        "skin_count": np.int32(len(points)),
        "skin_faces": faces.astype(np.int32),
        "skin_mirror": mirror.astype(np.int32),
        "units": raw.units,
        "identity": raw.identity,
        "identity_names": np.asarray(raw.identity_names),
        **{f"helper_{name}": ids.astype(np.int32) for name, ids in raw.helpers.items()},
        **{name: (255 * values + 0.5).astype(np.uint8) for name, values in masks.items()},
        **{f"loop_{name}": np.asarray(loop, np.int32) for name, loop in loops.items()},
        **landmarks,
        **extra,
    }


def _average_adult(raw: RawHead, base: Array) -> Array:
    """The mean of the macro targets' adults, its eyes where the base mesh has them: where all else is placed."""
    weights = np.asarray([_AVERAGE.get(name, 0.0) for name in raw.identity_names])
    average = base + 0.01 * np.tensordot(weights, raw.identity.astype(float), 1)
    eyes = np.concatenate([raw.helpers["eye_left"], raw.helpers["eye_right"]])
    return average + base[eyes].mean(0) - average[eyes].mean(0)


_AVERAGE = {
    f"macrodetails/{kind}-{gender}-young{build}": share
    for gender in ("male", "female")
    for kind, build, share in (
        ("universal", "-averagemuscle-averageweight", 0.5),
        ("african", "", 1 / 6),
        ("asian", "", 1 / 6),
        ("caucasian", "", 1 / 6),
    )
}


def _find_rings(raw: RawHead, base: Array) -> tuple[dict[int, set[int]], list[dict[int, set[int]]]]:
    """The edge rings around the mouth and around both eyes (+x first), numbered as the constants above say.

    The base mesh is a regular tube there: every ring of the lips has 38 vertices, every ring of the lids 28.
    """
    skin = np.unique(raw.quads)
    lips = skin[(raw.masks["lips"][skin] > 0.9) & (np.abs(base[skin, 0]) < 0.1)]
    loops = edge_loops(raw.quads, lips.tolist(), 38)
    closed = [loop for loop in loops if np.ptp(base[loop, 1]) < 3]
    if not closed:
        raise ValueError("the base mesh has no closed lip loop: not the expected data")
    margin = max(closed, key=lambda loop: base[loop, 2].mean())
    ahead = max(neighbours(raw.quads.tolist())[margin[0]] - set(margin), key=lambda i: base[i, 2])
    mouth = offset_rings(raw.quads, margin, ahead, _LIP_SPLIT[1])
    eyes = []
    for side in ("eye_left", "eye_right"):
        centre = base[raw.helpers[side]].mean(0)
        near = skin[(np.abs(base[skin] - centre) < 20).all(1)]
        loops = edge_loops(raw.quads, near.tolist(), 28)
        tightest = min(loops, key=lambda loop: np.ptp(base[loop, 1]) + (base[loop, 2].mean() < centre[2]) * 99)
        ahead = max(neighbours(raw.quads.tolist())[tightest[0]] - set(tightest), key=lambda i: base[i, 2])
        eyes.append(offset_rings(raw.quads, tightest, ahead, _LID_SPLIT[1]))
    return mouth, eyes


def _fine_loop(ring: set[int], quads: npt.NDArray[np.int64], polygons: Polygons, to_fine: dict[int, int]) -> list[int]:
    """A ring of the base mesh with the edge vertices that refinement put between its members."""
    coarse = [to_fine[i] for i in ordered_loop(ring, [q for q in quads.tolist() if len(ring & set(q)) >= 2])]
    around = neighbours(polygons)
    loop = []
    for a, b in zip(coarse, [*coarse[1:], coarse[0]]):
        loop.append(a)
        if b not in around[a]:
            loop += around[a] & around[b]  # exactly the edge's own vertex
    return loop


def _neck_height(points: Array) -> Array:
    """Height over the plane that cuts the neck: lower at the throat than at the nape, mm."""
    plane = NECK_FRONT + (NECK_BACK - NECK_FRONT) * (70.0 - 20.0 - points[:, 2]) / 95.0
    return points[:, 1] - plane


def _neck_mask(points: Array, polygons: Polygons) -> Array:
    """1 at the cut, falling to 0 over 12 mm."""
    loop = boundary_loops(polygons)
    longest = max(loop, key=lambda ids: np.ptp(points[ids, 0]))
    distance, _ = cKDTree(points[longest]).query(points)
    return np.clip(1 - distance / 12, 0, 1)


def _unwrap_skin(
    points: Array, faces: npt.NDArray[np.int64], bag_faces: npt.NDArray[np.bool_]
) -> tuple[Array, npt.NDArray[np.int64]]:
    """The face island (cut up the nape to the crown) and the mouth bag's, placed in the atlas."""
    face = faces[~bag_faces]
    ids = np.unique(face)
    local = np.full(len(points), -1)
    local[ids] = np.arange(len(ids))
    p, f = points[ids], local[face]
    neck = max(boundary_loops(f.tolist()), key=lambda loop: float(np.ptp(p[loop, 0])))
    midline = {int(i) for i in np.nonzero(np.abs(p[:, 0]) < 1e-3)[0]}
    around = neighbours(f.tolist())
    nape = min((i for i in neck if i in midline), key=lambda i: p[i, 2])
    path, crown_z = [nape], 10.0
    while p[path[-1], 2] < crown_z or p[path[-1], 1] < 80:
        upward = [n for n in around[path[-1]] if n in midline and n not in path and n not in neck]
        path.append(max(upward, key=lambda n: p[n, 1] if p[path[-1], 1] < 60 else p[n, 2]))
    seam = path[:-1]  # the last vertex is the crown, where the cut ends
    # vertices of the seam are doubled: triangles on the viewer's left take the copies
    copy = {v: len(p) + k for k, v in enumerate(seam)}
    p_cut = np.vstack([p, p[seam]])
    left = p[f].mean(1)[:, 0] < 0
    f_cut = f.copy()
    for v, c in copy.items():
        f_cut[left] = np.where(f_cut[left] == v, c, f_cut[left])
    outline = max(boundary_loops(f_cut.tolist()), key=lambda loop: float(np.ptp(p_cut[loop, 1])))
    crown = outline.index(path[-1])
    outline = outline[crown:] + outline[:crown]
    if p_cut[outline[len(outline) // 4], 0] < 0 or outline[1] in copy.values():
        outline = [outline[0], *outline[:0:-1]]
    at = _outline_fractions(p_cut[outline], outline, neck, set(copy.values()))
    density = _density(p_cut)
    flat = unwrap_disc(p_cut, f_cut, np.asarray(outline), superellipse(at, _ISLAND), density)
    flat = SLOTS["skin"].place(magnify(flat, _ISLAND, _MAGNIFY))

    bag = faces[bag_faces]
    bag_ids = np.unique(bag)
    local[:] = -1
    local[bag_ids] = np.arange(len(bag_ids))
    bag_points, bag_tris = points[bag_ids], local[bag]
    rim = boundary_loops(bag_tris.tolist())[0]
    way = np.linalg.norm(np.diff(bag_points[[*rim, rim[0]]], axis=0), axis=1)
    turn = np.r_[0, np.cumsum(way)[:-1]] / way.sum()
    depth = bag_points[:, 2]
    wanted = np.clip((depth - depth.min()) / np.ptp(depth), 0.15, 1)
    bag_uv = unwrap_disc(bag_points, bag_tris, np.asarray(rim), superellipse(turn, 2.0), wanted)
    bag_uv = _upright(bag_uv, bag_tris)
    uv = np.vstack([flat, SLOTS["mouth_bag"].place(bag_uv)])
    uv_faces = np.empty_like(faces)
    uv_faces[~bag_faces] = f_cut
    uv_faces[bag_faces] = bag_tris + len(p_cut)
    return uv, uv_faces


def _outline_fractions(outline: Array, ids: list[int], neck: list[int], copies: set[int]) -> Array:
    """Where the outline's vertices go round the island: the two sides of the cut above, the neck below."""
    on_neck = np.asarray([i in set(neck) or (i in copies and k == 0) for k, i in enumerate(ids)])
    first, last = np.nonzero(on_neck)[0][[0, -1]]
    way = np.r_[0, np.cumsum(np.linalg.norm(np.diff(outline, axis=0), axis=1))]
    total = way[-1] + np.linalg.norm(outline[-1] - outline[0])
    last = last + 1 if last + 1 < len(ids) else last  # the copied nape vertex ends the neck
    fraction = np.empty(len(ids))
    lower, upper = 0.34, 0.66  # the lower corners of the outline
    fraction[: first + 1] = way[: first + 1] / way[first] * lower
    span = way[last] - way[first]
    fraction[first : last + 1] = lower + (way[first : last + 1] - way[first]) / span * (upper - lower)
    fraction[last:] = upper + (way[last:] - way[last]) / (total - way[last]) * (1 - upper)
    return fraction


def _density(points: Array) -> Array:
    """Wanted texels a millimetre, relative: the face in front most, ears less, scalp and nape least."""
    x, y, z = points.T
    front = np.clip((z - 10) / 70, 0, 1) * np.clip((95 - y) / 40, 0, 1) * np.clip((y + 120) / 30, 0, 1)
    middle = np.exp(-((x / 48) ** 4)) * np.clip((z - 70) / 30, 0, 1)
    ears = np.clip((np.abs(x) - 70) / 6, 0, 1) * np.clip(1 - np.abs(z + 8) / 35, 0, 1)
    return 0.12 + 1.0 * front + 0.45 * front * middle + 0.10 * ears


def _upright(uv: Array, faces: npt.NDArray[np.int64]) -> Array:
    """Mirror an island if its triangles are clockwise."""
    a, b, c = (uv[faces[:, k]] for k in range(3))
    signed = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).sum()
    return uv if signed > 0 else np.c_[1 - uv[:, 0], uv[:, 1]]


def _parts(skin_uv: Array, skin_uv_faces: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
    """The whole atlas and the parts' own faces, in the order in which HeadRig stacks them behind the skin."""
    eye, tongue, lashes = parts.eyeball(), parts.tongue_grid(), parts.lash_grid()
    upper, lower = parts.teeth("upper"), parts.teeth("lower")
    order = [
        ("eye_left", eye, "eye_left"),
        ("eye_right", eye, "eye_right"),
        ("teeth_upper", upper, "teeth"),
        ("teeth_lower", lower, "teeth"),
        ("gums_upper", parts.gums("upper"), "gums_upper"),
        ("gums_lower", parts.gums("lower"), "gums_lower"),
        ("tongue", tongue, "tongue"),
        ("lashes_left", lashes, "lashes_left"),
        ("lashes_right", lashes, "lashes_right"),
    ]
    uv, uv_faces = [skin_uv], [skin_uv_faces]
    counts, faces = [], []
    offset = len(skin_uv)
    for _, template, slot in order:
        flat = _upright(template.uv, template.uv_faces)
        uv.append(SLOTS[slot].place(flat))
        uv_faces.append(template.uv_faces + offset)
        offset += len(flat)
        counts.append(len(template.vertices))
        faces.append(template.faces)
    start = np.cumsum([0, *counts[:-1]])
    return {
        "uv": np.concatenate(uv).astype(np.float32),
        "uv_faces": np.concatenate(uv_faces).astype(np.int32),
        "part_names": np.asarray([name for name, _, _ in order]),
        "part_counts": np.asarray(counts, np.int32),
        "part_faces": np.concatenate([f + s for f, s in zip(faces, start)]).astype(np.int32),
    }
