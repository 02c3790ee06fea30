"""The document, and the values that the Session's signals carry: frozen, of numpy arrays and plain numbers.

Only the ``Document`` itself holds a model; views never see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.capture import FrameId
from lipflow.capture.headset import HeadsetAugmentation
from lipflow.checks import InputError
from lipflow.fitting import FitConfig
from lipflow.mesh import Landmarks, Topology
from lipflow_studio.orbit import Orbit

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]

CAMERA_NAMES = ("mouth", "left eye", "right eye")  # order of the headset's images


class Status(Enum):
    """What the fit is doing."""

    IDLE = "Idle"
    RUNNING = "Fitting"
    PAUSED = "Paused"
    CONVERGED = "Converged"
    ENDED = "At the limit"  # of its iterations, without having converged


class Source(Enum):
    """What the fit is driven by."""

    KEYPOINTS = "Keypoints"
    HEADSET = "Headset images"
    FRONTAL = "Frontal image"


@dataclass(frozen=True, eq=False)
class AvatarInfo:
    """What the views need to know about the open avatar."""

    name: str
    path: Path | None
    driving: str | None  # "kpt", "hmc" or None
    topology: Topology
    landmarks: Landmarks
    backdrop_size: tuple[int, int]  # height, width of the frontal picture behind the keypoints
    headset_size: tuple[int, int] | None  # height, width of its headset images
    start: FloatArray  # [Z] code of the face that is shown first
    vertices: FloatArray  # [V, 3] mm, that face
    keypoints: FloatArray  # [L, 2] in [0, 1], that face's landmarks under the keypoint camera
    keypoint_projection: FloatArray  # [3, 4] head mm -> homogeneous position in that picture, depth mm last
    viewpoints: Mapping[str, Orbit]  # the viewer in the place of the keypoint and headset cameras
    attention: tuple[float, ...] | None  # how much each headset camera counts in the prior's encoder; None: no such one


@dataclass(frozen=True, eq=False)
class Shape:
    """A decoded mesh."""

    serial: int  # of the observation that it was fitted to
    vertices: FloatArray  # [V, 3] mm
    positions: FloatArray  # [S, 3] mm, doubled along seams for GL
    keypoints: FloatArray  # [L, 2] the landmarks under the keypoint camera, in [0, 1]


@dataclass(frozen=True, eq=False)
class Picture:
    """The face as decoded for display. Arrays that did not change are the same objects as before."""

    shape: Shape  # of the newest code
    texture: ByteArray | None  # [T, T, 3] display gamma, row 0 at v = 1
    frontal: ByteArray | None  # [h, w, 4] display gamma and coverage, under the keypoint camera


HOLD = 0.02  # weight of the landmarks that nobody pinned
PULL = 10.0  # weight of a keypoint that was put somewhere by hand: it counts like ten seen ones


@dataclass(frozen=True, eq=False)
class KeypointSet:
    """Where the user wants the landmarks, and which of them: the others only hold the face together."""

    given: FloatArray  # [L, 2] in [0, 1]
    strength: FloatArray  # [L] weight of those that are pinned, 0 of the others
    frame: CaptureFrame | None = None  # whose landmarks they were, before any was dragged

    @property
    def pinned(self) -> BoolArray:
        return self.strength > 0

    @staticmethod
    def at_rest(points: FloatArray) -> KeypointSet:
        """Landmarks [L, 2] where a face has them, none of them pinned."""
        return KeypointSet(points.copy(), np.zeros(len(points), np.float32))

    def moved(self, points: Mapping[int, tuple[float, float]], strength: float | None = None) -> KeypointSet:
        """Points put somewhere (kept inside the image) and pinned there; those that are pinned keep their strength."""
        given, strengths = self.given.copy(), self.strength.copy()
        for index, position in points.items():
            given[index] = np.clip(position, 0.0, 1.0)
            strengths[index] = strength or self.strength[index] or PULL
        return replace(self, given=given, strength=strengths)

    def released(self, indices: frozenset[int]) -> KeypointSet:
        """Points that are pinned no more."""
        strength = self.strength.copy()
        strength[list(indices)] = 0.0
        return replace(self, strength=strength)

    def weights(self, hold: float) -> FloatArray:
        """[L]: the strength of pinned points, ``hold`` for the others."""
        return np.where(self.pinned, self.strength, hold).astype(np.float32)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeypointSet):
            return NotImplemented
        return np.array_equal(self.given, other.given) and np.array_equal(self.strength, other.strength)

    __hash__ = None  # type: ignore[assignment]


PLAIN = HeadsetAugmentation(lighting=0.0, background=0.0, slop=0.0)
MOST_AUGMENTATION = 2.0  # 1 is what a real headset varies by


@dataclass(frozen=True)
class HeadsetRecipe:
    """What headset images were made from, where a capture's frame made them: they can be made again, otherwise."""

    capture: str  # its folder, absolute
    segment: str
    number: int
    augmentation: HeadsetAugmentation = PLAIN
    seed: int = 0  # of the augmentation's draw

    def __post_init__(self) -> None:
        for name, amount in vars(self.augmentation).items():
            number = isinstance(amount, int | float) and not isinstance(amount, bool)
            if not number or not 0 <= amount <= MOST_AUGMENTATION:
                raise InputError(name, expected=f"0 to {MOST_AUGMENTATION:g}", got=repr(amount))
        if type(self.seed) is not int or not 0 <= self.seed < 2**31:
            raise InputError("seed", expected="a whole number from 0", got=repr(self.seed))

    @property
    def frame(self) -> FrameId:
        return FrameId(self.segment, self.number)


@dataclass(frozen=True, eq=False)
class HeadsetImages:
    """The three opened headset images, at the size the avatar takes."""

    images: FloatArray  # [3, h, w] in [0, 1]
    names: tuple[str, str, str]  # file names
    recipe: HeadsetRecipe | None = None  # None: they came from files


@dataclass(frozen=True)
class CaptureFrame:
    """A frame of a capture."""

    capture: str  # its folder, absolute
    segment: str
    number: int


@dataclass(frozen=True, eq=False)
class FrontalImage:
    """An opened photograph of the face, and the camera that took it."""

    image: FloatArray  # [3, H, W] linear RGB in [0, 1]
    camera: Camera  # in the head frame, on the CPU; for the fit only
    name: str  # file name
    frame: CaptureFrame | None = None  # that it is a photo of; None: it came from a file


@dataclass(frozen=True, eq=False)
class Document:
    """What is open. Edits replace it, undo puts the one before back, a session file holds it."""

    avatar: Avatar | None = None
    info: AvatarInfo | None = None
    keypoints: KeypointSet | None = None
    headset: HeadsetImages | None = None
    frontal: FrontalImage | None = None
    source: Source = Source.KEYPOINTS
    configs: Mapping[Source, FitConfig] = field(default_factory=dict)  # of the sources that were fitted to
    hold: float = HOLD  # weight of the landmarks that are not pinned
    code: FloatArray | None = None  # [Z] of the face when this became the document

    @property
    def config(self) -> FitConfig | None:
        """How the present source is fitted to."""
        return self.configs.get(self.source)

    @property
    def frame(self) -> CaptureFrame | None:
        """The capture's frame that is fitted to, if it is one: keypoints that were dragged since still are."""
        if self.source is Source.HEADSET:
            recipe = None if self.headset is None else self.headset.recipe
            return None if recipe is None else CaptureFrame(recipe.capture, recipe.segment, recipe.number)
        given = self.keypoints if self.source is Source.KEYPOINTS else self.frontal
        return None if given is None else given.frame

    @property
    def pictures(self) -> tuple[FloatArray, ...]:
        """Its images, which weigh most in it."""
        headset = () if self.headset is None else (self.headset.images,)
        return headset if self.frontal is None else (*headset, self.frontal.image)

    @property
    def has_observation(self) -> bool:
        """Whether a user gave something to fit to."""
        return self.gives(self.source)

    def gives(self, source: Source) -> bool:
        """Whether a user gave something of this kind: images, or a keypoint that is pinned."""
        if source is Source.KEYPOINTS:
            return self.keypoints is not None and bool(self.keypoints.pinned.any())
        return self.offers(source)

    def offers(self, source: Source) -> bool:
        """Whether there is something of this kind to fit to."""
        given = {Source.KEYPOINTS: self.keypoints, Source.HEADSET: self.headset, Source.FRONTAL: self.frontal}
        return given[source] is not None

    @staticmethod
    def of_avatar(avatar: Avatar, info: AvatarInfo) -> Document:
        """An avatar as it is when it was just opened: its neutral face, nothing pinned."""
        return Document(avatar, info, KeypointSet.at_rest(info.keypoints), code=info.start)


@dataclass(frozen=True, eq=False)
class FitUpdate:
    """One state of the running fit, as the panels show it."""

    serial: int  # of the observation
    source: Source
    z: FloatArray  # [Z]
    shape: Shape  # of that code
    iteration: int
    energy: float
    data_energy: float
    log_likelihood: float  # log p_P(z), nats
    converged: bool
    running: bool  # False: the fit has come to its end and waits
    iterations_per_s: float
    step_ms: float  # duration of the last iteration
    curve: npt.NDArray[np.float64]  # [n, 3] energy, data energy, log-likelihood, oldest first
    first: int  # iteration number of curve[0]
    renders: FloatArray | None  # [3, h, w], for headset fits
    errors: FloatArray | None  # [3, h, w] absolute differences where the face is visible, 0 elsewhere


@dataclass(frozen=True)
class Problem:
    """An error as the banner shows it."""

    line: str
    details: str
