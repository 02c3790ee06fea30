"""``lipflow train``: train one variant on a capture; stop whenever, resume to the same result."""

from __future__ import annotations

import sys
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tqdm import tqdm

from lipflow.avatar import Avatar
from lipflow.capture import open_capture
from lipflow.capture.packed import PackedCapture, pack
from lipflow.checks import InputError
from lipflow.commands.output import check_output
from lipflow.commands.progress import follow, tell_skipped
from lipflow.device import choose_device, describe_device
from lipflow.distributed import joined
from lipflow.runs import AVATAR, CHECKPOINT, advance, claimed, is_finished, opened
from lipflow.steering import steered
from lipflow.training import Training
from lipflow.training_config import TrainConfig
from lipflow.variants import PRESETS, VARIANTS


def of_presets(name: str) -> str:
    """What an option's help says of a number that each preset has of its own."""
    return f"Instead of the preset's: {', '.join(f'{getattr(p, name)} ({key})' for key, p in PRESETS.items())}."


@dataclass(frozen=True)
class Train:
    """Train one variant on a capture; writes avatar.safetensors, checkpoints and TensorBoard scalars into --out."""

    capture: tyro.conf.Positional[Path]
    """Folder of a capture in the Multiface layout."""
    out: Path
    """Folder of the run."""
    variant: str = "lip-flow-kpt"
    """What to train: dam, dam-enc-*, dam-reg-*, lip-kl-*, lip-flow-* and its ablations, with * hmc or kpt."""
    preset: Literal["studio", "paper", "small", "tiny"] = "studio"
    """Sizes of the model and of what it is trained on."""
    base: Path | None = None
    """The trained dam avatar that dam-reg-* freezes."""
    seed: int = 0
    """Of the weights, the noise and the order of the frames."""
    steps: Annotated[int | None, tyro.conf.arg(help=of_presets("steps"))] = None
    batch: Annotated[int | None, tyro.conf.arg(help=f"Frames a step. {of_presets('batch')}")] = None
    learning_rate: Annotated[
        float | None, tyro.conf.arg(help=f"Adam's, at its peak. {of_presets('learning_rate')}")
    ] = None
    keypoint_noise: float | None = None
    """Instead of 0.001: standard deviation added to the keypoints that drive it, over the image's width and height."""
    cameras_per_frame: int = 3
    """Dome cameras that each frame is packed with, in turn."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""
    resume: bool = False
    """Go on with the run in --out."""

    def run(self) -> None:
        check_output(self.out)
        config = self._config()
        checkpoint = self.out / CHECKPOINT
        if checkpoint.exists() and not self.resume:
            mend = "add --resume to go on with it, or choose another folder"
            raise InputError(f"run {self.out}", expected="a new folder", got="a run that has begun", mend=mend)
        is_finished(self.out, config)  # refuses another run's folder before anything is read
        base = self._base()
        with joined(choose_device(self.device)) as (ranks, device):
            with ranks.first_first():
                packed = packed_for(self.capture, self.preset, self.cameras_per_frame, quiet=not ranks.is_first)
            with claimed(self.out, steered=True) if ranks.is_first else nullcontext():
                training = opened(self.out, config, packed, device, base, self._options(), ranks)
                if ranks.is_first:
                    others = f", {ranks.count} processes" if ranks.count > 1 else ""
                    sys.stderr.write(f"training on {describe_device(device)}{others}\n")
                _follow(training, self.out)
        if ranks.is_first:
            figures = ", ".join(f"{name} {value:.2f}" for name, value in (training.validation or {}).items())
            told = f"; {figures}" if figures else ""
            sys.stdout.write(f"{self.out / AVATAR}: step {training.step}, {training.seconds:.0f} s{told}\n")

    def _base(self) -> Avatar | None:
        """What the variant freezes."""
        first = VARIANTS[self.variant].starts_from
        if first is None and self.base is not None:
            expected = f"none, since {self.variant} freezes no avatar"
            raise InputError("--base", expected=expected, got=self.base, mend="leave it out")
        if first is not None and self.base is None and not (self.out / CHECKPOINT).exists():
            expected = f"the trained {first} avatar that {self.variant} freezes"
            raise InputError("--base", expected=expected, got="none", mend=f"train {first} first")
        return None if self.base is None else Avatar.load(self.base)

    def _options(self) -> dict[str, object]:
        """What the config does not tell, for whoever wants to go on with the run."""
        base = None if self.base is None else str(self.base.absolute())
        capture = str(self.capture.absolute())
        return {"capture": capture, "preset": self.preset, "base": base, "cameras_per_frame": self.cameras_per_frame}

    def _config(self) -> TrainConfig:
        if self.variant not in VARIANTS:
            raise InputError("--variant", expected=" or ".join(VARIANTS), got=self.variant)
        names = ("steps", "batch", "learning_rate", "keypoint_noise")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return TrainConfig.of(self.variant, self.preset, seed=self.seed, **given)


def packed_for(capture: Path, preset: str, cameras_per_frame: int, *, quiet: bool = False) -> PackedCapture:
    """A capture's pack at a preset's sizes, made behind a bar where it is not there yet."""
    sizes = PRESETS[preset]
    states = pack(
        open_capture(capture),
        texture=sizes.avatar.texture,
        photo=sizes.photo,
        hmc=sizes.avatar.driver.size,
        cameras_per_frame=cameras_per_frame,
    )
    packed = follow(states, "reading frames", "frame", lambda progress: (progress.done, progress.total), quiet=quiet)
    if not quiet:
        tell_skipped(packed)
    return packed


def _follow(training: Training, out: Path) -> None:
    """Train to the end behind a bar, or until a signal says otherwise."""
    first = training.ranks.is_first
    bar = tqdm(total=training.config.steps, initial=training.step, dynamic_ncols=True, disable=not first)
    try:
        with steered() as steering, bar, closing(advance(training, out)) as states:
            for state in states:
                bar.update(state.step - bar.n)
                bar.set_postfix(loss=f"{state.scalars.get('loss', float('nan')):.4f}", refresh=False)
                steering.obey(lambda: training.save(out / CHECKPOINT) if first else None, training.ranks.any)
    except KeyboardInterrupt:
        if first:
            raise  # the others end well: torchrun would take an error for a reason to end the first, which saves
