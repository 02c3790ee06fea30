"""The performance: what the face does at each moment of a recording, as smooth curves fixed by a seed.

Part of it shows in the keypoints (the units), part only in the images (gaze, tongue, flush, tone, how deep the
wrinkles are), and part in the mesh away from any keypoint (masseter, throat, temple). The hidden part follows what is
seen only loosely, so that keypoints or a headset's views leave something to be known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipflow.capture.base import SPLITS
from lipflow.capture.synthetic.expressions import SEGMENTS, Segment, units_of
from lipflow.capture.synthetic.head import Expression
from lipflow.capture.synthetic.shading import Mood
from lipflow.capture.synthetic.units import UNIT_INDEX, UNITS

FloatArray = npt.NDArray[np.float32]
Curve = npt.NDArray[np.float64]

FRAME_RATE = 30  # frame numbers a second
_BLINKS = [UNIT_INDEX["eyeBlinkLeft"], UNIT_INDEX["eyeBlinkRight"]]
_LOOKS = [UNIT_INDEX[f"eyeLook{way}{side}"] for way in ("Up", "Down", "In", "Out") for side in ("Left", "Right")]


@dataclass(frozen=True, eq=False)
class Moment:
    """One frame of the performance."""

    segment: str
    number: int  # of the frame; numbers skip, as in real recordings
    expression: Expression
    mood: Mood
    head_pose: FloatArray  # [3, 4] head -> world, mm


def perform(frames: int, seed: int) -> list[Moment]:
    """``frames`` moments, shared out over the segments by their length, in the order of SEGMENTS.

    A curve depends on the seed and its segment only: more frames sample the same performance more densely.
    """
    moments: list[Moment] = []
    for index, count in enumerate(share_out(frames)):
        if count:
            moments += _segment(SEGMENTS[index], index, count, seed)
    return moments


def share_out(frames: int) -> list[int]:
    """How many frames each segment gets: at least one for training, validation and test if there are three."""
    seconds = np.array([segment.seconds for segment in SEGMENTS])
    if frames >= len(SEGMENTS):
        return _apportion(frames - len(SEGMENTS), seconds, np.ones(len(SEGMENTS), int))
    # Too few for every segment: some of each part, spread over its segments.
    counts = np.zeros(len(SEGMENTS), int)
    members = {part: [i for i, segment in enumerate(SEGMENTS) if segment.part == part] for part in SPLITS}
    wanted = {"test": min(round(0.15 * frames) or 1, len(members["test"])) if frames > 2 else 0}
    wanted["val"] = min(round(0.1 * frames) or 1, len(members["val"])) if frames > 1 else 0
    wanted["train"] = min(frames - wanted["test"] - wanted["val"], len(members["train"]))
    for part, number in wanted.items():
        for k in range(number):
            counts[members[part][k * len(members[part]) // number]] = 1
    return _apportion(frames - int(counts.sum()), seconds * (counts > 0), counts)


def _apportion(left: int, weights: Curve, counts: npt.NDArray[np.int_]) -> list[int]:
    """Add ``left`` to the counts in proportion to the weights (largest remainders)."""
    exact = left * weights / weights.sum()
    more = np.floor(exact).astype(int)
    for i in np.argsort(more - exact, kind="stable")[: left - int(more.sum())]:
        more[i] += 1
    return [int(n) for n in counts + more]


def _segment(segment: Segment, index: int, count: int, seed: int) -> list[Moment]:
    generator = np.random.default_rng([seed, index])
    t = (np.arange(count) + 0.5) / count * segment.seconds
    units = _units(segment, t, generator)
    activity = np.sqrt((units**2).sum(1)) - 1.2
    gaze = _gaze(segment, t, generator)
    units[:, _BLINKS] = np.maximum(units[:, _BLINKS], _blinks(segment, t, generator)[:, None])
    units[:, _LOOKS] = 0.0  # the rig turns the eyes and moves the lids by the gaze
    slow = [_wander(t, generator, period) for period in (9, 9, 14, 7, 6, 5, 8)]
    jaw = units[:, UNIT_INDEX["jawOpen"]]
    clench = units[:, UNIT_INDEX["jawForward"]] + units[:, UNIT_INDEX["mouthPressLeft"]] - 0.4
    flush_cheeks, flush_brow = 0.45 * activity + 0.85 * slow[0], 0.25 * activity + 0.9 * slow[1]
    tone, gain = slow[2], 0.35 * activity + 0.9 * slow[3]
    hidden = np.stack([0.5 * clench + 0.85 * slow[4], 0.4 * (jaw - 0.2) + 0.9 * slow[5], slow[6]], axis=1)
    forward = np.clip(0.25 + 0.35 * segment.tongue * _wander(t, generator, 0.9), 0, 1)
    up = np.clip(0.55 * (0.25 + segment.tongue) * _wander(t, generator, 0.7), -1, 1)
    poses = _head_poses(t, generator)
    numbers = _numbers(t, segment.seconds, count) + 1000 * index
    return [
        Moment(
            segment.name,
            int(numbers[i]),
            Expression(
                units=units[i].astype(np.float32),
                gaze=(float(gaze[i, 0]), float(gaze[i, 1])),
                tongue=(float(forward[i]), float(up[i])),
                hidden=hidden[i].astype(np.float32),
            ),
            Mood(float(flush_cheeks[i]), float(flush_brow[i]), float(tone[i]), float(gain[i])),
            poses[i],
        )
        for i in range(count)
    ]


def _numbers(t: Curve, seconds: float, count: int) -> npt.NDArray[np.int64]:
    """Frame numbers that grow with time; at more frames than the rate has, the rate is multiplied."""
    rate = FRAME_RATE * int(np.ceil(count / (seconds * FRAME_RATE)))
    return np.floor(t * rate).astype(np.int64)


def _units(segment: Segment, t: Curve, generator: np.random.Generator) -> Curve:
    """The poses one after the other, each rising and falling smoothly, with small restless movement: [n, 52]."""
    spoken = segment.name.startswith("SEN_")
    step = segment.seconds / len(segment.poses)
    out = np.zeros((len(t), len(UNITS)))
    for k, pose in enumerate(segment.poses):
        peak = (k + 0.5 + generator.uniform(-0.08, 0.08)) * step
        reach = step * (0.85 if spoken else 0.62)
        hold = 0.1 if spoken else 0.35  # of the reach at full strength
        rise = np.clip((1 - np.abs(t - peak) / reach) / (1 - hold), 0, 1)
        strength = generator.uniform(0.75, 1.0) * rise**2 * (3 - 2 * rise)
        out += strength[:, None] * units_of(pose)
    restless = np.stack([_wander(t, generator, 1.8) for _ in UNITS], axis=1)
    slight = 0.03 * generator.random(len(UNITS))
    slight[[UNIT_INDEX["jawOpen"], UNIT_INDEX["tongueOut"], UNIT_INDEX["mouthClose"]]] *= 0.2
    out += np.maximum(restless - 0.4, 0) * slight
    if spoken:
        brows = [UNIT_INDEX["browInnerUp"], UNIT_INDEX["browOuterUpLeft"], UNIT_INDEX["browOuterUpRight"]]
        out[:, brows] += 0.25 * np.maximum(_wander(t, generator, 1.5), 0)[:, None]
    return np.clip(out, 0, 1)


def _blinks(segment: Segment, t: Curve, generator: np.random.Generator) -> Curve:
    """A blink of 0.3 s every three seconds or so, [n] in [0, 1]."""
    out = np.zeros(len(t))
    moment = generator.uniform(0.3, 2.5)
    while moment < segment.seconds:
        out = np.maximum(out, np.exp(-(((t - moment) / 0.09) ** 2)))
        moment += generator.uniform(1.8, 4.5)
    return out


def _gaze(segment: Segment, t: Curve, generator: np.random.Generator) -> Curve:
    """Yaw and pitch [n, 2]: the eyes rest on points and leap between them."""
    out = np.zeros((len(t), 2))
    moment, here = 0.0, np.zeros(2)
    while moment < segment.seconds:
        there = np.clip(generator.normal(0, [0.20, 0.12]), [-0.42, -0.28], [0.42, 0.28]) * (generator.random() < 0.75)
        leap = np.clip((t - moment) / 0.06, 0, 1)[:, None]
        out = np.where((t >= moment)[:, None], here + (there - here) * leap, out)
        moment, here = moment + generator.uniform(0.5, 1.6), there
    return out


def _head_poses(t: Curve, generator: np.random.Generator) -> FloatArray:
    """Small head movement, [n, 3, 4] head -> world: a few degrees, a few millimetres."""
    yaw, pitch, roll = (np.radians(a) * _wander(t, generator, 5) for a in (2.5, 1.8, 1.2))
    shift = np.stack([3.0 * _wander(t, generator, 6) for _ in range(3)], axis=1)
    zero, one = np.zeros_like(t), np.ones_like(t)

    def turn(*rows: list[Curve]) -> Curve:
        return np.moveaxis(np.array(rows), -1, 0)

    c, s = np.cos, np.sin
    about_y = turn([c(yaw), zero, s(yaw)], [zero, one, zero], [-s(yaw), zero, c(yaw)])
    about_x = turn([one, zero, zero], [zero, c(pitch), -s(pitch)], [zero, s(pitch), c(pitch)])
    about_z = turn([c(roll), -s(roll), zero], [s(roll), c(roll), zero], [zero, zero, one])
    return np.concatenate([about_y @ about_x @ about_z, shift[..., None]], axis=2).astype(np.float32)


def _wander(t: Curve, generator: np.random.Generator, period: float) -> Curve:
    """A smooth curve of about zero mean and unit variance that changes over ``period`` seconds."""
    rates = 2 * np.pi / (period * generator.uniform(0.6, 1.8, 4))
    phases = generator.uniform(0, 2 * np.pi, 4)
    return np.sin(np.outer(t, rates) + phases).sum(1) / np.sqrt(2)
