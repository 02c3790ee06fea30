"""What decides a training run, and its learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from lipflow.avatar import AvatarConfig
from lipflow.capture.headset import HeadsetAugmentation
from lipflow.checks import InputError, check_seed
from lipflow.variants import PRESETS, VARIANTS, Variant

VALIDATIONS = 20  # in a run
VALIDATION_PAUSE = 25  # steps at least between two: one costs about half a step


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run's result, but for the capture and the machine."""

    variant: str = "lip-flow-kpt"  # a key of VARIANTS
    # Of the networks; how they are composed is set by the variant, whatever is given.
    sizes: AvatarConfig = field(default_factory=lambda: PRESETS["studio"].avatar)
    seed: int = 0
    steps: int = 10000
    batch: int = 8
    learning_rate: float = 5e-4  # Adam's peak; one cycle, up in 5 % of the steps and down to a 200th
    clip: float = 10.0  # norm that gradients are clipped to
    lambda_image: float = 0.1  # at 1 the images pull the mesh away from the tracked one
    lambda_texture: float = 1.0  # of the texture as the camera saw it
    lambda_mesh: float = 1.0
    lambda_latent: float = 1e-2  # on the mean over the code's dimensions
    image_every: int = 1  # the image term is taken in every n-th step; 0: never
    image_rows: int = 0  # and for this many of the batch; 0: all
    sigma_q: str | None = None  # instead of the variant's: a key of SIGMAS
    latent_loss: str | None = None  # instead of the variant's: a key of LATENT_LOSSES
    cycle: str | None = None  # instead of the variant's: a key of CYCLES
    jitter: float = 0.1  # of the jittered cycle, in units of σp
    augmentation: HeadsetAugmentation = field(default_factory=HeadsetAugmentation)  # of headset images
    keypoint_noise: float = 1e-3  # standard deviation added to keypoints, over the image's width and height
    validate_every: int = 1000  # steps at most; a shorter run is validated more often, see ``validation_steps``
    validation_frames: int = 16  # of held-out expressions
    log_every: int = 10  # steps between two readings of the scalars
    snapshot_every: int = 250  # steps between two sample pictures

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise InputError("variant", expected=" or ".join(VARIANTS), got=repr(self.variant))
        counts = ("steps", "batch", "validate_every", "validation_frames", "log_every", "snapshot_every")
        for name in counts:
            if getattr(self, name) < 1:
                raise InputError(name, expected="1 or more", got=getattr(self, name))
        amounts = [name for name in vars(self) if name.startswith(("lambda_", "image_"))]
        for name in (*amounts, "jitter", "keypoint_noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(name, expected="0 or more", got=getattr(self, name))
        for name in ("learning_rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(name, expected="more than 0", got=getattr(self, name))
        check_seed(self.seed)
        object.__setattr__(self, "sizes", self.row().avatar_config(self.sizes))

    @staticmethod
    def of(variant: str, preset: str = "studio", **changes: Any) -> TrainConfig:
        """A preset's config for a variant; ``changes`` replace fields."""
        if preset not in PRESETS:
            raise InputError("preset", expected=" or ".join(PRESETS), got=repr(preset))
        p = PRESETS[preset]
        fields = {"steps": p.steps, "batch": p.batch, "image_every": p.image_every, "learning_rate": p.learning_rate}
        return TrainConfig(**{"variant": variant, "sizes": p.avatar, **fields, **changes})

    @property
    def validation_steps(self) -> int:
        """Steps from one validation to the next: so many that a run has ``VALIDATIONS`` of them, within bounds."""
        return min(self.validate_every, max(VALIDATION_PAUSE, self.steps // VALIDATIONS))

    def row(self) -> Variant:
        """The variant's row with this config's changes."""
        row = VARIANTS[self.variant]
        return replace(row, sigma_q=self.sigma_q or row.sigma_q)


def one_cycle(step: int, steps: int, peak: float) -> float:
    """The learning rate: from a tenth of ``peak`` up in 5 % of the steps, down to a 200th, along cosines."""
    rise = max(1.0, 0.05 * steps)
    if step < rise:
        low, high, along = peak / 10, peak, step / rise
    else:
        low, high, along = peak, peak / 200, (step - rise) / max(1.0, steps - rise)
    return high + (low - high) * 0.5 * (1 + math.cos(math.pi * along))
