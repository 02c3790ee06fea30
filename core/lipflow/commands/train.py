"""``lipflow train``: train one variant on a capture; stop whenever, resume to the same result."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from PIL import Image
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from lipflow.avatar import Avatar
from lipflow.capture import open_capture
from lipflow.capture.packed import PackedCapture, pack
from lipflow.checks import InputError
from lipflow.commands.progress import follow
from lipflow.device import choose_device, describe_device
from lipflow.files import replacing, write_json
from lipflow.serial import config_hash, to_json
from lipflow.training import TrainConfig, Training, TrainState
from lipflow.training_start import provenance
from lipflow.variants import PRESETS, VARIANTS

CHECKPOINT, AVATAR, RECORD, SAMPLE = "checkpoint.safetensors", "avatar.safetensors", "run.json", "sample.png"
_SAVE_SECONDS = 60.0  # between two checkpoints


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
    steps: int | None = None
    """Instead of the preset's."""
    batch: int | None = None
    """Instead of the preset's."""
    learning_rate: float | None = None
    """Instead of the preset's."""
    cameras_per_frame: int = 3
    """Dome cameras that each frame is packed with, in turn."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""
    resume: bool = False
    """Go on with the run in --out."""

    def run(self) -> None:
        training = self._training()
        _run(training, self.out)
        validation = training.finished_avatar().record["validation"] or {}
        figures = ", ".join(f"{name} {value:.2f}" for name, value in validation.items())
        sys.stdout.write(f"{self.out / AVATAR}: step {training.step}, {training.seconds:.0f} s; {figures}\n")

    def _training(self) -> Training:
        if self.variant not in VARIANTS:
            raise InputError("--variant", expected=" or ".join(VARIANTS), got=self.variant)
        checkpoint = self.out / CHECKPOINT
        if checkpoint.exists() and not self.resume:
            mend = "add --resume to go on with it, or choose another folder"
            raise InputError(f"run {self.out}", expected="a new folder", got="a run that has begun", mend=mend)
        device = choose_device(self.device)
        changes = {"steps": self.steps, "batch": self.batch, "learning_rate": self.learning_rate}
        given = {name: value for name, value in changes.items() if value is not None}
        config = TrainConfig.of(self.variant, self.preset, seed=self.seed, **given)
        if checkpoint.exists() and _begun_with(self.out / RECORD) != to_json(config):
            mend = "give the same --variant, --preset, --seed, --steps, --batch and --learning-rate"
            raise InputError(f"run {self.out}", expected="the options that it was begun with", got="others", mend=mend)
        packed = self._packed()
        sys.stderr.write(f"training on {describe_device(device)}\n")
        if checkpoint.exists():
            return Training.resume(checkpoint, packed, device)
        base = None if self.base is None else Avatar.load(self.base)
        training = Training(config, packed, device, base=base)
        record = {"config": to_json(config), "config_hash": config_hash(config), "capture": packed.name}
        write_json(self.out / RECORD, {**record, "device": describe_device(device), **provenance()})
        return training

    def _packed(self) -> PackedCapture:
        preset = PRESETS[self.preset]
        states = pack(
            open_capture(self.capture),
            texture=preset.avatar.texture,
            photo=preset.photo,
            hmc=preset.avatar.driver.size,
            cameras_per_frame=self.cameras_per_frame,
        )
        return follow(states, "pack", "frame", lambda progress: (progress.done, progress.total))


def _run(training: Training, out: Path) -> None:
    """Train to the end behind a bar; a stop saves first."""
    saved = time.monotonic()
    with SummaryWriter(str(out / "logs")) as board, tqdm(total=training.config.steps, initial=training.step) as bar:
        try:
            for state in training.run():
                _log(board, state, training.config.log_every)
                bar.update(state.step - bar.n)
                bar.set_postfix(loss=f"{state.scalars.get('loss', float('nan')):.4f}", refresh=False)
                if state.snapshot is not None and state.snapshot.picture is not None:
                    _save_picture(out / SAMPLE, state.snapshot.picture)
                if time.monotonic() - saved > _SAVE_SECONDS:
                    training.save(out / CHECKPOINT)
                    saved = time.monotonic()
        finally:
            training.save(out / CHECKPOINT)
    training.finished_avatar().save(out / AVATAR, half=True)


def _begun_with(record: Path) -> object:
    """The config that a run's record names; None where it names none."""
    try:
        body = json.loads(record.read_text())
    except (OSError, ValueError):
        return None
    return body.get("config") if isinstance(body, dict) else None


def _log(board: SummaryWriter, state: TrainState, every: int) -> None:
    if state.step % every == 0:
        for name, value in state.scalars.items():
            board.add_scalar(f"train/{name}", value, state.step)
    if state.snapshot is not None:
        for name, value in (state.validation or {}).items():
            board.add_scalar(f"held-out/{name}", value, state.step)


def _save_picture(path: Path, picture: np.ndarray) -> None:
    with replacing(path) as beside:
        Image.fromarray(picture).save(beside)
