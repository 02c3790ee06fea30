"""The script of a recording: named poses in the 52 units, and the segments that perform them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lipflow.capture.synthetic.units import UNIT_INDEX, UNITS

FloatArray = npt.NDArray[np.float32]
Part = Literal["train", "val", "test"]

# A unit without its side stands for both.
POSES: dict[str, dict[str, float]] = {
    "neutral": {},
    "smile": {"mouthSmile": 1.0, "cheekSquint": 0.65, "eyeSquint": 0.3, "mouthUpperUp": 0.15, "mouthDimple": 0.2},
    "grin": {
        "mouthSmile": 1.0, "mouthUpperUp": 0.5, "mouthLowerDown": 0.55, "jawOpen": 0.12, "cheekSquint": 0.7,
        "eyeSquint": 0.4,
    },
    "smile_closed": {"mouthSmile": 0.8, "mouthPress": 0.3, "mouthDimple": 0.35, "cheekSquint": 0.4},
    "smirk_left": {"mouthSmileLeft": 0.8, "cheekSquintLeft": 0.4, "mouthLeft": 0.25, "mouthDimpleLeft": 0.3},
    "smirk_right": {"mouthSmileRight": 0.8, "cheekSquintRight": 0.4, "mouthRight": 0.25, "mouthDimpleRight": 0.3},
    "frown": {"mouthFrown": 0.95, "browDown": 0.35, "mouthShrugLower": 0.35},
    "sad": {"mouthFrown": 0.7, "browInnerUp": 0.75, "eyeSquint": 0.2, "mouthShrugLower": 0.3},
    "angry": {"browDown": 1.0, "eyeSquint": 0.45, "noseSneer": 0.45, "mouthPress": 0.6, "jawForward": 0.25},
    "disgust": {"noseSneer": 1.0, "mouthUpperUp": 0.65, "browDown": 0.45, "eyeSquint": 0.4, "mouthFrown": 0.3},
    "surprise": {"browInnerUp": 1.0, "browOuterUp": 0.9, "eyeWide": 0.8, "jawOpen": 0.45},
    "fear": {"browInnerUp": 0.9, "eyeWide": 0.9, "mouthStretch": 0.75, "jawOpen": 0.2},
    "brows_up": {"browInnerUp": 1.0, "browOuterUp": 0.9, "eyeWide": 0.3},
    "brow_up_left": {"browOuterUpLeft": 1.0, "browInnerUp": 0.35, "browDownRight": 0.4},
    "brow_up_right": {"browOuterUpRight": 1.0, "browInnerUp": 0.35, "browDownLeft": 0.4},
    "brows_down": {"browDown": 1.0, "eyeSquint": 0.3},
    "blink": {"eyeBlink": 1.0},
    "wink_left": {"eyeBlinkLeft": 1.0, "cheekSquintLeft": 0.6, "mouthSmileLeft": 0.35},
    "wink_right": {"eyeBlinkRight": 1.0, "cheekSquintRight": 0.6, "mouthSmileRight": 0.35},
    "squint": {"eyeSquint": 1.0, "cheekSquint": 0.6, "browDown": 0.3},
    "eyes_wide": {"eyeWide": 1.0, "browInnerUp": 0.3},
    "squeeze": {
        "eyeBlink": 1.0, "eyeSquint": 0.9, "cheekSquint": 0.8, "noseSneer": 0.5, "browDown": 0.6, "mouthPress": 0.4,
    },
    "jaw_open": {"jawOpen": 0.85},
    "jaw_wide": {"jawOpen": 1.0, "mouthStretch": 0.25, "mouthLowerDown": 0.3, "mouthUpperUp": 0.25},
    "jaw_left": {"jawLeft": 0.85, "mouthLeft": 0.2},
    "jaw_right": {"jawRight": 0.85, "mouthRight": 0.2},
    "jaw_forward": {"jawForward": 0.95, "mouthShrugLower": 0.2},
    "mouth_left": {"mouthLeft": 0.95},
    "mouth_right": {"mouthRight": 0.95},
    "pucker": {"mouthPucker": 1.0},
    "funnel": {"mouthFunnel": 0.95, "jawOpen": 0.25},
    "kiss": {"mouthPucker": 0.85, "mouthFunnel": 0.35, "cheekPuff": 0.1},
    "lips_in": {"mouthRollLower": 0.85, "mouthRollUpper": 0.85, "mouthPress": 0.3},
    "lip_bite": {"mouthRollLower": 0.8, "mouthUpperUp": 0.35, "jawOpen": 0.08},
    "press": {"mouthPress": 1.0, "mouthDimple": 0.6},
    "shrug": {"mouthShrugLower": 0.9, "mouthShrugUpper": 0.6, "mouthFrown": 0.4, "browInnerUp": 0.3},
    "lower_teeth": {"mouthLowerDown": 1.0, "mouthStretch": 0.4, "jawOpen": 0.1},
    "upper_teeth": {"mouthUpperUp": 1.0, "noseSneer": 0.4, "jawOpen": 0.05},
    "stretch": {"mouthStretch": 1.0, "jawOpen": 0.15},
    "cheeks_puffed": {"cheekPuff": 0.95, "mouthPucker": 0.25},
    "tongue_out": {"tongueOut": 0.95, "jawOpen": 0.4},
    "A": {"jawOpen": 0.55, "mouthLowerDown": 0.2},
    "E": {"jawOpen": 0.22, "mouthStretch": 0.4, "mouthSmile": 0.25, "mouthLowerDown": 0.25},
    "I": {"jawOpen": 0.10, "mouthSmile": 0.4, "mouthStretch": 0.3, "mouthLowerDown": 0.2},
    "O": {"jawOpen": 0.32, "mouthFunnel": 0.75},
    "U": {"jawOpen": 0.10, "mouthPucker": 0.8, "mouthFunnel": 0.25},
    "M": {"mouthPress": 0.45, "mouthRollLower": 0.25, "mouthRollUpper": 0.2},
    "F": {"mouthRollLower": 0.55, "mouthUpperUp": 0.35, "jawOpen": 0.06},
    "L": {"jawOpen": 0.28, "mouthLowerDown": 0.2, "mouthUpperUp": 0.1},
    "S": {"jawOpen": 0.06, "mouthStretch": 0.35, "mouthUpperUp": 0.2, "mouthLowerDown": 0.3},
    "W": {"mouthPucker": 0.95, "jawOpen": 0.05},
}  # fmt: skip


@dataclass(frozen=True)
class Segment:
    """One take: poses (several joined by + are added) reached one after the other from rest, and back."""

    name: str
    part: Part  # of the split
    poses: tuple[str, ...]
    seconds: float
    tongue: float = 0.0  # how much the tongue moves on its own, [0, 1]


def _say(name: str, part: Part, sounds: str) -> Segment:
    poses = tuple(sounds)
    return Segment(f"SEN_{name}", part, poses, 0.35 * len(poses), tongue=0.7)


# Held out are combinations and words whose parts training shows: enough expressions for a bootstrap over them.
SEGMENTS: tuple[Segment, ...] = (
    Segment("EXP_smile", "train", ("smile", "grin", "smile_closed"), 5),
    Segment("EXP_jaw_open", "train", ("jaw_open", "jaw_wide", "jaw_open"), 5, tongue=0.5),
    Segment("EXP_brows_up", "train", ("brows_up", "brow_up_left", "brow_up_right", "brows_up"), 5),
    Segment("EXP_brows_down", "train", ("brows_down", "angry"), 4),
    Segment("EXP_eyes", "train", ("squint", "eyes_wide", "blink", "squeeze", "neutral"), 5),
    Segment("EXP_wink", "train", ("wink_left", "neutral", "wink_right"), 4),
    Segment("EXP_frown", "test", ("frown", "sad", "shrug"), 4),
    Segment("EXP_disgust", "train", ("disgust", "upper_teeth"), 4),
    Segment("EXP_surprise", "test", ("surprise", "fear"), 4, tongue=0.3),
    Segment("EXP_pucker", "train", ("pucker", "funnel", "kiss"), 4),
    Segment("EXP_lips", "train", ("lips_in", "press", "lip_bite", "lower_teeth"), 5, tongue=0.3),
    Segment("EXP_jaw_sideways", "train", ("jaw_left", "jaw_right", "jaw_forward"), 5),
    Segment("EXP_mouth_sideways", "train", ("mouth_left", "mouth_right", "smirk_left", "smirk_right"), 5),
    Segment("EXP_cheeks_puffed", "train", ("cheeks_puffed", "neutral", "cheeks_puffed"), 4),
    Segment("EXP_tongue", "train", ("tongue_out", "jaw_open", "tongue_out"), 5, tongue=1.0),
    Segment("EXP_stretch", "train", ("stretch", "lower_teeth", "stretch+brows_up"), 4),
    Segment("EXP_mix_01", "train", ("smile+brows_up", "frown+squint", "jaw_open+brows_down", "pucker+eyes_wide"), 6),
    Segment(
        "EXP_mix_02", "val", ("smile+jaw_open", "mouth_left+brow_up_left", "shrug+brows_up", "funnel+squint"), 6, 0.4
    ),
    Segment(
        "EXP_mix_03",
        "test",
        ("disgust+jaw_open", "cheeks_puffed+brows_down", "stretch+blink", "smirk_right+wink_left"),
        6,
    ),
    _say("the_quick_brown_fox", "train", "WIOUAOFSEI"),
    _say("she_had_your_dark_suit", "train", "SIAEMUASUI"),
    _say("we_were_away_a_year_ago", "train", "WIWEAWEAIEOAO"),
    _say("bring_me_my_long_umbrella", "test", "MIMAILOAMELA"),
    Segment("EXP_lips_and_brows", "val", ("press+brows_up", "lips_in+eyes_wide", "grin+brows_down"), 5),
    _say("do_you_like_films_on_sunday", "val", "UULAIFILMSOSAE"),
    Segment(
        "EXP_ROM",
        "test",
        (
            "smile+squint+jaw_open",
            "pucker+brows_up",
            "mouth_right+eyes_wide",
            "upper_teeth+brows_up",
            "jaw_left+smile_closed",
            "shrug+squeeze",
            "funnel+brows_down",
            "fear+mouth_left",
        ),
        10,
        tongue=0.5,
    ),
    Segment(
        "EXP_free_face",
        "test",
        (
            "grin+brow_up_right",
            "kiss+wink_right",
            "angry+jaw_open",
            "stretch+surprise",
            "tongue_out+squint",
            "sad+press",
        ),
        8,
        tongue=0.8,
    ),
)


def units_of(pose: str) -> FloatArray:
    """The 52 units of a pose, or of several joined by ``+`` (added, at most 1).

    Raises:
        KeyError: if a pose or a unit does not exist.
    """
    units = np.zeros(len(UNITS), dtype=np.float32)
    for name in pose.split("+"):
        for unit, value in POSES[name].items():
            for side in (unit,) if unit in UNIT_INDEX else (f"{unit}Left", f"{unit}Right"):
                units[UNIT_INDEX[side]] += value
    return np.clip(units, 0, 1)
