"""Run folders as ``lipflow train`` writes them, and the evaluation that each of them keeps."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipflow.avatar import Avatar, AvatarConfig
from lipflow.checks import InputError
from lipflow.evaluation.frames import FrameSizes
from lipflow.runs import AVATAR, RECORD
from lipflow.serial import from_json
from lipflow.training_config import TrainConfig
from lipflow.variants import PRESETS, VARIANTS, Variant

_SIZES = ("texture", "latent", "encoder", "decoder", "driver")  # of a config, that a preset decides


@dataclass(frozen=True)
class Run:
    """A finished training run."""

    folder: Path
    subject: str  # name of the capture that it was trained on
    config: TrainConfig
    config_hash: str  # of the config as it was written; another revision may write the same one otherwise
    revision: str  # of the code that trained it; "unknown" where it was not recorded

    @staticmethod
    def open(folder: Path) -> Run:
        """Read what a run is; its avatar is left where it is.

        Raises:
            InputError: if the folder is no run, or its training has not ended.
        """
        what, mend = f"run {folder}", "give folders that `lipflow train --out` wrote"
        try:
            record = json.loads((folder / RECORD).read_text())
        except (OSError, ValueError) as error:
            got = "none" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
            raise InputError(what, expected=RECORD, got=got, mend=mend) from error
        if not isinstance(record, dict) or not all(isinstance(record.get(k), str) for k in ("capture", "config_hash")):
            raise InputError(what, expected="the record of a training", got="another file", mend=mend)
        if not (folder / AVATAR).is_file():
            raise InputError(what, expected=AVATAR, got="none", mend="let its training end: lipflow train --resume")
        config = from_json(TrainConfig, record.get("config"), what=f"{what}, config")
        revision = str(record.get("revision") or "unknown")
        return Run(folder, record["capture"], config, record["config_hash"], revision)

    @property
    def variant(self) -> Variant:
        return VARIANTS[self.config.variant]

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def preset(self) -> str | None:
        """The preset whose sizes the run has."""
        own = self.config.sizes
        return next((name for name, p in PRESETS.items() if all(_same(p.avatar, own, part) for part in _SIZES)), None)

    def sizes(self, photo: tuple[int, int] | None = None) -> FrameSizes:
        """At what sizes the run is judged; ``photo`` instead of its preset's.

        Raises:
            InputError: if the run is of no preset and ``photo`` is not given.
        """
        if photo is None:
            if self.preset is None:
                mend = "say at what size photographs are compared: --photo HEIGHT WIDTH"
                raise InputError(f"run {self.folder}", expected="the sizes of a preset", got="others", mend=mend)
            photo = PRESETS[self.preset].photo
        return FrameSizes(self.config.sizes.texture, photo, self.config.sizes.driver.size)

    def avatar(self) -> Avatar:
        """The trained avatar, for inference, on the CPU.

        Raises:
            InputError: if its file is damaged.
        """
        return Avatar.load(self.folder / AVATAR).for_inference()

    def avatar_hash(self) -> str:
        """Twelve hex digits that name the avatar's content."""
        with (self.folder / AVATAR).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:12]

    def described(self, record: dict[str, Any]) -> dict[str, Any]:
        """The run as results.json lists it, from its avatar's record."""
        return {
            "subject": self.subject,
            "variant": self.variant.name,
            "title": self.variant.title,
            "seed": self.seed,
            "config_hash": self.config_hash,
            "steps": record.get("step"),
            "seconds": record.get("seconds"),
            "frames": record.get("frames"),
            "scalars": record.get("scalars") or {},
            "validation": record.get("validation") or {},
        }


def _same(a: AvatarConfig, b: AvatarConfig, part: str) -> bool:
    return getattr(a, part) == getattr(b, part)
