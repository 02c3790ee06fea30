"""The head rig: one topology, every identity, every expression.

``HeadRig.load()`` reads the compact rig; ``neutral(identity)`` makes a subject; ``pose(neutral, expression)`` moves it.
All positions are millimetres in the head frame: x to the viewer's right (the subject's left), y up, z out of the face,
the origin between the ears. The parts follow each other in the vertex list: skin, eyes, teeth, gums, tongue, lashes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from lipflow.capture.synthetic import parts
from lipflow.capture.synthetic.contact import (
    LID_CLEARANCE,
    LID_REACH,
    LIP_REACH,
    SEAL,
    Eye,
    Opening,
    clear_teeth,
    close_lips,
    lid_gap,
    rest_on_eye,
)
from lipflow.capture.synthetic.identity import Identity
from lipflow.capture.synthetic.mouth_parts import (
    Jaw,
    LashArcs,
    Lashes,
    Mouth,
    grow_lashes,
    lash_arcs,
    lash_surface,
    rigid_motion,
)
from lipflow.capture.synthetic.units import UNIT_INDEX, UNITS
from lipflow.checks import InputError
from lipflow.mesh import FloatArray, IntArray, Landmarks, Topology, vertex_normals

LOOK_PITCH, LOOK_YAW = np.radians(26.0), np.radians(34.0)  # the eye's turn at a look unit of 1
HIDDEN = ("masseter", "throat", "temple")  # what no keypoint shows
# Centre (x mirrored), spread and height in mm of each hidden factor's bulge at 1.
_BULGES = {
    "masseter": ((58.0, -48.0, 42.0), (15.0, 22.0, 22.0), 3.0),
    "throat": ((0.0, -118.0, 62.0), (16.0, 16.0, 26.0), 4.0),
    "temple": ((64.0, 38.0, 55.0), (14.0, 18.0, 20.0), 2.2),
}


class Part(IntEnum):
    """What a vertex belongs to."""

    SKIN = 0
    EYE_LEFT = 1
    EYE_RIGHT = 2
    TEETH_UPPER = 3
    TEETH_LOWER = 4
    GUMS = 5
    TONGUE = 6
    LASH = 7


_PART_OF = {
    "eye_left": Part.EYE_LEFT,
    "eye_right": Part.EYE_RIGHT,
    "teeth_upper": Part.TEETH_UPPER,
    "teeth_lower": Part.TEETH_LOWER,
    "gums_upper": Part.GUMS,
    "gums_lower": Part.GUMS,
    "tongue": Part.TONGUE,
    "lashes_left": Part.LASH,
    "lashes_right": Part.LASH,
}


@dataclass(frozen=True, eq=False)
class Expression:
    """What the face does in one frame."""

    units: FloatArray = field(default_factory=lambda: np.zeros(len(UNITS), np.float32))  # [52] ARKit order, 0..1
    gaze: tuple[float, float] = (0.0, 0.0)  # yaw towards +x, pitch upwards; radians, both eyes
    tongue: tuple[float, float] = (0.0, 0.0)  # forward 0..1, up -1..1; inside the mouth
    hidden: FloatArray = field(default_factory=lambda: np.zeros(len(HIDDEN), np.float32))  # [3], see HIDDEN

    @staticmethod
    def of(
        *,
        gaze: tuple[float, float] = (0.0, 0.0),
        tongue: tuple[float, float] = (0.0, 0.0),
        hidden: tuple[float, ...] = (0.0,) * len(HIDDEN),
        **units: float,
    ) -> Expression:
        """An expression by unit names; a name without its side sets both: ``Expression.of(mouthSmile=0.5)``.

        Raises:
            InputError: for a name that is no unit.
        """
        values = np.zeros(len(UNITS), np.float32)
        for name, value in units.items():
            known = [n for n in (name, f"{name}Left", f"{name}Right") if n in UNIT_INDEX]
            if not known or (name not in UNIT_INDEX and len(known) != 2):
                raise InputError("expression", expected="names of ARKit face units", got=repr(name))
            for n in known[:1] if name in UNIT_INDEX else known:
                values[UNIT_INDEX[n]] = value
        return Expression(values, gaze, tongue, np.asarray(hidden, np.float32))


@dataclass(frozen=True, eq=False)
class Neutral:
    """One subject at rest, with all that posing needs to know of its shape."""

    identity: Identity
    vertices: FloatArray  # [V, 3] mm at rest, lips and eyes as in a quiet face
    eyes: tuple[Eye, Eye]  # +x first
    jaw: Jaw
    skin: FloatArray  # [S, 3] mm before contact: what expressions are added to
    upper_mouth: FloatArray  # [n, 3] upper teeth and gums, still
    lower_mouth: FloatArray  # [n, 3] lower teeth and gums, jaw closed
    tongue_spine: FloatArray  # [4, 3] mm, jaw closed
    bulges: FloatArray  # [3, S, 3] mm of each hidden factor at 1
    blink_missing: tuple[FloatArray, FloatArray]  # [31] radians that a full blink leaves open, for each eye
    clearance: tuple[FloatArray, FloatArray]  # [n] mm of the lids' vertices over the eyeball
    upper_front: FloatArray  # [c, 2] the upper teeth's front as (x, z) mm
    lower_front: FloatArray  # [c, 3] the lower teeth's front as (x, y, z) mm, jaw closed
    lashes: tuple[Lashes, Lashes]


@dataclass(frozen=True, eq=False)
class HeadRig:
    """Topology, groups and targets shared by all subjects."""

    topology: Topology
    landmarks: Landmarks
    part: npt.NDArray[np.int8]  # [V] a Part each
    masks: dict[str, FloatArray]  # [V] in 0..1: lips, mouth_inside, eyelids, ears, neck_edge
    slices: dict[str, slice]  # "skin", "eye_left", ... -> the part's vertices
    eye_directions: FloatArray  # [n, 3] unit directions of an eyeball's vertices, looking along +z
    base: FloatArray  # [N, 3] base mesh, helpers included
    operator: sparse.csr_matrix  # [S, N] refinement of the base mesh
    unit_skin: FloatArray  # [52, S * 3] mm
    identity_names: tuple[str, ...]
    identity_base: npt.NDArray[np.int16]  # [I, N, 3] 0.01 mm
    helpers: dict[str, IntArray]
    skin_faces: IntArray
    lips: Opening
    lids: tuple[Opening, Opening]
    sealed: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]  # which of the lids' regions is the skin's edge
    lash_arcs: tuple[LashArcs, LashArcs]
    jaw: Jaw  # of the base mesh
    jaw_share: FloatArray  # [S] how far each skin vertex moves with the jaw bone
    loops: dict[str, IntArray]

    @staticmethod
    def load() -> HeadRig:
        """Read the embedded rig. Takes about half a second: keep the result."""
        with (files("lipflow_assets") / "head_rig.npz").open("rb") as file, np.load(file, allow_pickle=False) as rig:
            data = {name: rig[name] for name in rig.files}
        return _assemble(data)

    @property
    def vertex_count(self) -> int:
        return self.topology.vertex_count

    def neutral(self, identity: Identity) -> Neutral:
        """The subject at rest.

        Raises:
            InputError: if the identity names a target that the rig lacks.
        """
        index = {name: row for row, name in enumerate(self.identity_names)}
        unknown = [name for name, _ in identity.targets if name not in index]
        if unknown:
            raise InputError("identity", expected="targets of the head rig", got=repr(unknown[0]))
        rows = [index[name] for name, _ in identity.targets]
        weights = np.asarray([weight for _, weight in identity.targets], np.float32) * 0.01
        base = self.base + np.tensordot(weights, self.identity_base[rows].astype(np.float32), 1)
        # macro targets move the whole head: bring the eyes' midpoint back to where the base mesh has it
        both = np.concatenate([self.helpers["eye_left"], self.helpers["eye_right"]])
        base += self.base[both].mean(0) - base[both].mean(0)
        skin = np.asarray(self.operator @ base, np.float32)
        eyes = (_fit_eye(base[self.helpers["eye_left"]]), _fit_eye(base[self.helpers["eye_right"]]))
        close_lips(skin, self.lips, always=True)

        ears = self.masks["ears"][self.slices["skin"]] > 0.5
        shift = (skin - np.asarray(self.operator @ self.base))[ears].mean(0)
        jaw = self.jaw.moved(shift)
        mouth = Mouth.fit(self.base, base, self.helpers, skin, self.lips)
        normals = vertex_normals(skin, self.skin_faces)
        bulges = np.stack([_bulge(skin, normals, name) for name in HIDDEN])

        generator = np.random.default_rng([identity.seed, 0x1A5])
        left, right = (
            grow_lashes(skin, arcs, eye.centre, identity.lash_length, generator)
            for arcs, eye in zip(self.lash_arcs, eyes)
        )
        clearance = [_clearance(skin, *both) for both in zip(self.lids, eyes, self.sealed)]
        draft = Neutral(
            identity=identity,
            vertices=skin,
            eyes=eyes,
            jaw=jaw,
            skin=skin,
            upper_mouth=mouth.upper,
            lower_mouth=mouth.lower,
            tongue_spine=mouth.spine,
            bulges=bulges,
            blink_missing=(np.zeros(31, np.float32), np.zeros(31, np.float32)),
            clearance=(clearance[0], clearance[1]),
            upper_front=mouth.front("upper")[:, [0, 2]],
            lower_front=mouth.front("lower"),
            lashes=(left, right),
        )
        missing = self._blink_missing(draft)
        ready = replace(draft, blink_missing=missing)
        return replace(ready, vertices=self.pose(ready, Expression()))

    def pose(self, neutral: Neutral, expression: Expression) -> FloatArray:
        """Vertices [V, 3] mm of the subject in an expression.

        Raises:
            InputError: if the units or hidden factors have another length.
        """
        units = np.asarray(expression.units, np.float32)
        hidden = np.asarray(expression.hidden, np.float32)
        if units.shape != (len(UNITS),) or hidden.shape != (len(HIDDEN),):
            raise InputError(
                "expression",
                expected=f"{len(UNITS)} units and {len(HIDDEN)} hidden factors",
                got=f"{units.shape} and {hidden.shape}",
            )
        axes = self.gaze_axes(expression)
        units = _with_soft_blink(_with_gaze(units, expression.gaze))
        skin = self._skin(neutral, units, hidden)
        lower_teeth = neutral.jaw.opened(neutral.lower_front, float(units[UNIT_INDEX["jawOpen"]]))
        clear_teeth(skin, self.lips, neutral.upper_front, lower_teeth[:, [0, 2]])
        close_lips(skin, self.lips)
        for k, side in enumerate(("Left", "Right")):
            blink = float(np.clip(units[UNIT_INDEX[f"eyeBlink{side}"]], 0, 1))
            closing = neutral.blink_missing[k] * blink**2
            look, clear = axes[k][:, 2], neutral.clearance[k]
            rest_on_eye(skin, self.lids[k], neutral.eyes[k], look, clear, self.sealed[k], closing)

        out = np.empty((self.vertex_count, 3), np.float32)
        out[self.slices["skin"]] = skin
        for k, name in enumerate(("eye_left", "eye_right")):
            eye = neutral.eyes[k]
            relief = eye.radius * parts.eye_radius(self.eye_directions, np.array([0.0, 0.0, 1.0]))
            out[self.slices[name]] = eye.centre + (self.eye_directions * relief[:, None]) @ axes[k].T
        self._place_mouth(out, neutral, units, expression.tongue)
        for k, name in enumerate(("lashes_left", "lashes_right")):
            eye = neutral.eyes[k]
            out[self.slices[name]] = lash_surface(skin, neutral.lashes[k], eye.centre, eye.radius)
        return out

    def gaze_axes(self, expression: Expression) -> tuple[FloatArray, FloatArray]:
        """Rotations [3, 3] of the two eyes, +x first; their last columns are the directions of gaze."""
        units = _with_gaze(np.asarray(expression.units, np.float32), expression.gaze)
        return _look_axis(units, "Left"), _look_axis(units, "Right")

    def _skin(self, neutral: Neutral, units: FloatArray, hidden: FloatArray) -> FloatArray:
        active = np.nonzero(units)[0]
        skin = neutral.skin.copy()
        if len(active):
            skin += (units[active] @ self.unit_skin[active]).reshape(-1, 3)
        opening = float(units[UNIT_INDEX["jawOpen"]])
        if opening:
            # the unit's straight path bent into the hinge's arc; at 0 and 1 nothing changes
            arc = neutral.jaw.opened(neutral.skin, opening) - neutral.skin
            chord = neutral.jaw.opened(neutral.skin, 1.0) - neutral.skin
            skin += self.jaw_share[:, None] * (arc - opening * chord)
        if hidden.any():
            skin += np.tensordot(hidden, neutral.bulges, 1)
        return skin

    def _place_mouth(self, out: FloatArray, neutral: Neutral, units: FloatArray, tongue: tuple[float, float]) -> None:
        opening = float(units[UNIT_INDEX["jawOpen"]])
        slide = sum((units[UNIT_INDEX[name]] * shift for name, shift in neutral.jaw.slides.items()), np.zeros(3))
        lower = neutral.jaw.opened(neutral.lower_mouth, opening) + slide
        for place, source in (("upper", neutral.upper_mouth), ("lower", lower)):
            teeth, gums = self.slices[f"teeth_{place}"], self.slices[f"gums_{place}"]
            count = teeth.stop - teeth.start
            out[teeth], out[gums] = source[:count], source[count:]
        spine = neutral.jaw.opened(neutral.tongue_spine, opening * 0.92) + slide
        spine = Mouth.bend(spine, tongue, float(units[UNIT_INDEX["tongueOut"]]))
        out[self.slices["tongue"]] = Mouth.tongue(spine)

    def _blink_missing(self, neutral: Neutral) -> tuple[FloatArray, FloatArray]:
        """What the blink units leave open (or overlap) on this subject, per column."""
        units = np.zeros(len(UNITS), np.float32)
        units[[UNIT_INDEX["eyeBlinkLeft"], UNIT_INDEX["eyeBlinkRight"]]] = 1
        skin = self._skin(neutral, units, np.zeros(len(HIDDEN), np.float32))
        gaps = [lid_gap(skin, lids, eye)[1].astype(np.float32) for lids, eye in zip(self.lids, neutral.eyes)]
        return gaps[0], gaps[1]


def _with_gaze(units: FloatArray, gaze: tuple[float, float]) -> FloatArray:
    """Units with the gaze added to the look units of both eyes, so that the lids follow the eyes."""
    yaw, pitch = float(gaze[0]) / LOOK_YAW, float(gaze[1]) / LOOK_PITCH
    out = units.copy()
    for side, outward in (("Left", 1.0), ("Right", -1.0)):
        out[UNIT_INDEX[f"eyeLookUp{side}"]] += max(pitch, 0)
        out[UNIT_INDEX[f"eyeLookDown{side}"]] += max(-pitch, 0)
        out[UNIT_INDEX[f"eyeLookOut{side}"]] += max(outward * yaw, 0)
        out[UNIT_INDEX[f"eyeLookIn{side}"]] += max(-outward * yaw, 0)
    return out


def _with_soft_blink(units: FloatArray) -> FloatArray:
    """Units whose lids give way to a blink: squint, wide and look units would fold a closed lid over itself."""
    out = units.copy()
    for side in ("Left", "Right"):
        blink = float(np.clip(units[UNIT_INDEX[f"eyeBlink{side}"]], 0, 1))
        for name, yielding in (("Squint", 0.75), ("Wide", 1.0), ("LookDown", 0.9), ("LookUp", 0.9)):
            out[UNIT_INDEX[f"eye{name}{side}"]] *= 1 - yielding * blink
        out[UNIT_INDEX[f"cheekSquint{side}"]] *= 1 - 0.35 * blink
    return out


def _look_axis(units: FloatArray, side: str) -> FloatArray:
    """Rotation [3, 3] of one eye from its look units: first pitch about x, then yaw about y."""
    look = {name: float(units[UNIT_INDEX[f"eyeLook{name}{side}"]]) for name in ("Up", "Down", "Out", "In")}
    yaw = (look["Out"] - look["In"]) * LOOK_YAW * (1 if side == "Left" else -1)
    pitch = (look["Up"] - look["Down"]) * LOOK_PITCH
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return (turn @ np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])).astype(np.float32)


def _fit_eye(points: FloatArray) -> Eye:
    """The sphere through a helper eye's vertices, by linear least squares."""
    p = points.astype(np.float64)
    solution = np.linalg.lstsq(np.c_[2 * p, np.ones(len(p))], (p**2).sum(1), rcond=None)[0]
    centre = solution[:3]
    return Eye(centre.astype(np.float32), float(np.sqrt(solution[3] + centre @ centre)))


def _clearance(skin: FloatArray, lids: Opening, eye: Eye, sealed: npt.NDArray[np.bool_]) -> FloatArray:
    over = np.linalg.norm(skin[lids.region] - eye.centre, axis=1) - eye.radius
    return np.where(sealed, SEAL, np.clip(over, *LID_CLEARANCE)).astype(np.float32)


def _bulge(skin: FloatArray, normals: FloatArray, name: str) -> FloatArray:
    centre, spread, height = _BULGES[name]
    mirrored = np.c_[np.abs(skin[:, 0]), skin[:, 1:]]
    amount = height * np.exp(-((((mirrored - centre) / spread) ** 2).sum(1)))
    return (amount[:, None] * normals).astype(np.float32)


def _assemble(data: dict[str, npt.NDArray[Any]]) -> HeadRig:
    skin_count = int(data["skin_count"])
    names, counts = [str(n) for n in data["part_names"]], data["part_counts"].tolist()
    starts = np.cumsum([skin_count, *counts])
    slices = {"skin": slice(0, skin_count)} | {
        name: slice(int(a), int(a + n)) for name, a, n in zip(names, starts, counts)
    }
    total = int(starts[-1])
    part = np.zeros(total, np.int8)
    for name in names:
        part[slices[name]] = _PART_OF[name]
    faces = np.concatenate([data["skin_faces"], data["part_faces"] + skin_count])
    topology = Topology.checked(faces, data["uv"], data["uv_faces"], total, what="head rig")
    marks = [str(n) for n in data["landmark_names"]]
    groups: dict[str, list[int]] = {}
    for position, name in enumerate(marks):
        groups.setdefault(_GROUP_OF[name.split(".")[0]], []).append(position)
    landmarks = Landmarks(
        tuple(int(i) for i in data["landmark_ids"]),
        tuple(marks),
        {name: tuple(members) for name, members in groups.items()},
        tuple(int(i) for i in data["landmark_mirror"]),
    )
    base = data["base"]
    operator = sparse.csr_matrix(
        (data["operator_weight"], (data["operator_row"], data["operator_column"])), (skin_count, len(base))
    )
    unit_skin = np.stack([operator @ (u.astype(np.float32) * np.float32(0.01)) for u in data["units"]])
    skin = np.asarray(operator @ base)
    loops = {k.removeprefix("loop_"): v for k, v in data.items() if k.startswith("loop_")}
    masks = {}
    for key, values in data.items():
        if key.startswith("mask_"):
            full = np.zeros(total, np.float32)
            full[:skin_count] = values.astype(np.float32) / 255
            masks[key.removeprefix("mask_")] = full
    helpers = {k.removeprefix("helper_"): v for k, v in data.items() if k.startswith("helper_")}
    jaw = rigid_motion(base, data["units"], helpers["teeth_lower"])
    full = jaw.opened(skin, 1.0) - skin
    moved = np.linalg.norm(unit_skin[UNIT_INDEX["jawOpen"]], axis=1)
    share = np.clip(moved / np.maximum(np.linalg.norm(full, axis=1), 5.0), 0, 1)
    lids = [Opening.around(skin, data["skin_faces"], loops[f"lid_{side}"], LID_REACH) for side in ("left", "right")]
    sealed = [np.isin(opening.region, loops[f"seal_{side}"]) for opening, side in zip(lids, ("left", "right"))]
    return HeadRig(
        topology=topology,
        landmarks=landmarks,
        part=part,
        masks=masks,
        slices=slices,
        eye_directions=parts.eyeball().vertices.astype(np.float32),
        base=base,
        operator=operator,
        unit_skin=unit_skin.reshape(len(UNITS), -1).astype(np.float32),
        identity_names=tuple(str(n) for n in data["identity_names"]),
        identity_base=data["identity"],
        helpers=helpers,
        skin_faces=data["skin_faces"],
        lips=Opening.around(skin, data["skin_faces"], loops["lips_margin"], LIP_REACH),
        lids=(lids[0], lids[1]),
        sealed=(sealed[0], sealed[1]),
        lash_arcs=(lash_arcs(skin, loops["lash_left"]), lash_arcs(skin, loops["lash_right"])),
        jaw=jaw,
        jaw_share=share.astype(np.float32),
        loops=loops,
    )


_GROUP_OF = {"jaw": "jaw", "brow": "brows", "nose": "nose", "lid": "lids", "lips": "lips"}
