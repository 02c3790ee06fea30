"""``lipflow temporal``: train a temporal prior on a run's avatar and judge it on held-out sequences; a prior that is
trained stays trained."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from lipflow.avatar import Avatar
from lipflow.capture.packed import PackedCapture
from lipflow.checks import InputError
from lipflow.commands.output import check_output
from lipflow.commands.progress import follow
from lipflow.commands.train import packed_for
from lipflow.evaluation.runs import Run
from lipflow.evaluation.sequences import METRICS, SequenceConfig, compare_ways
from lipflow.files import write_json
from lipflow.serial import to_json
from lipflow.temporal import TemporalPrior
from lipflow.temporal_training import TemporalConfig, train_temporal
from lipflow.training_start import provenance

PRIOR, CONTROL, FIGURES = "temporal.safetensors", "control.safetensors", "temporal.json"


@dataclass(frozen=True)
class Temporal:
    """Train p(z_t | h_t, z_{t-1}) for an avatar that keypoints drive; compare sequence fits with noisy keypoints."""

    run_folder: tyro.conf.Positional[Path]
    """Folder that `lipflow train` wrote."""
    capture: Path
    """The capture that the run was trained on."""
    out: Path
    """Folder to write temporal.safetensors, control.safetensors (the prior of h_t alone) and temporal.json into."""
    noise: tuple[float, ...] = (1.0, 2.0)
    """Standard deviations of the keypoints' noise to compare at, pixels; training sees up to the largest."""
    steps: int = TemporalConfig.steps
    """Of training."""
    seed: int = 0
    """Of training and of the noise."""
    cameras_per_frame: int = 3
    """As the run was trained with, so that its pack is found again."""

    def run(self) -> None:
        check_output(self.out)
        run = Run.open(self.run_folder)
        if run.preset is None:
            raise InputError(f"run {self.run_folder}", expected="the sizes of a preset", got="others")
        comparison = SequenceConfig(noise=self.noise, seed=self.seed)
        config = TemporalConfig(steps=self.steps, keypoint_noise=max(self.noise), seed=self.seed)
        avatar = run.avatar()
        if avatar.driving != "kpt":
            got = f"one driven by {avatar.driving}"
            raise InputError(f"run {self.run_folder}", expected="an avatar that keypoints drive", got=got)
        packed = packed_for(self.capture, run.preset, self.cameras_per_frame)
        if packed.name != run.subject:
            raise InputError("--capture", expected=run.subject, got=packed.name, mend="give the run's own capture")
        given = {"avatar": run.avatar_hash(), "capture": packed.hash}
        priors = {
            name: self._prior(file, name, avatar, packed, replace(config, forget=forget), given)
            for name, file, forget in (("temporal", PRIOR, config.forget), ("control", CONTROL, 1.0))
        }
        rows = follow(
            compare_ways(avatar, packed, priors, comparison), "compare", "sequence", lambda s: (s.done, s.total)
        )
        body = {
            "format": "lipflow-temporal-figures",
            "version": 1,
            "made": provenance(),
            "run": {"subject": run.subject, "variant": run.variant.name, "seed": run.seed, "config": run.config_hash},
            "training": to_json(config),
            "comparison": to_json(comparison),
            "rows": rows,
        }
        write_json(self.out / FIGURES, body)
        sys.stdout.write("\n".join([*map(line_of, rows), str(self.out / FIGURES), ""]))

    def _prior(
        self,
        file: str,
        name: str,
        avatar: Avatar,
        packed: PackedCapture,
        config: TemporalConfig,
        given: dict[str, str],
    ) -> TemporalPrior:
        """The prior that a command before has left in --out, or else one that is trained now and left there."""
        path, record = self.out / file, {**given, "training": to_json(config)}
        if path.exists():
            with contextlib.suppress(InputError):  # another program's, or damaged: it is replaced
                kept = TemporalPrior.load(path)
                if kept.record == record:
                    return kept
        steps = train_temporal(avatar, packed, config)
        prior = follow(steps, f"train {name}", "step", lambda state: (state.step, state.steps))
        prior.record = record
        prior.save(path)
        return prior


def line_of(row: dict[str, Any]) -> str:
    """A row's figures, and its difference from fits frame by frame."""
    cells = []
    for metric, name in zip(METRICS, ("error", "jitter", "jitter of the error")):
        against = "" if row["paired"] is None else f" ({row['paired'][metric]['mean']:+.3f})"
        cells.append(f"{name} {row[metric]['mean']:.3f}{against}")
    about = f"{row['noise_px']:g} px  {row['title']:<44} λ {row['prior_weight']:<4g} in {row['space']}"
    return f"{about} {'  '.join(cells)} mm; true jitter {row['true_jitter_mm']:.3f}"
