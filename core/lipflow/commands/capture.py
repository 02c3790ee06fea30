"""``lipflow capture``: make a capture of the synthetic subject, or check one before anything is trained on it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from lipflow.capture.check import check_capture
from lipflow.capture.synthetic.dome import SynthesisConfig, SynthesisProgress, synthesize
from lipflow.checks import InputError
from lipflow.commands.output import check_output
from lipflow.commands.progress import follow


@dataclass(frozen=True)
class Synthesize:
    """Record the synthetic subject in a dome of cameras and write the Multiface layout; run again to go on."""

    out: Path
    """Folder to write."""
    subject: int = 0
    """Seed of the person: shape, skin, hair, eyes. 0 is the embedded subject."""
    frames: int = 600
    """Frames, over all expressions together."""
    cameras: int = 12
    """Dome cameras, around the front of the head."""
    size: tuple[int, int] = (384, 256)
    """Height and width of a photo, pixels."""
    texture: int = 256
    """Texels a side of the unwrapped textures."""
    seed: int = 0
    """Seed of the performance."""

    def run(self) -> None:
        check_output(self.out)
        config = SynthesisConfig(self.subject, self.frames, self.cameras, self.size, self.texture, self.seed)
        last: list[SynthesisProgress] = []

        def place(progress: SynthesisProgress) -> tuple[int, int]:
            last[:] = [progress]
            return progress.done, progress.total

        follow(synthesize(self.out, config), "synthesize", "frame", place)
        made = last[0].total - last[0].found
        sys.stdout.write(
            f"{self.out}: {last[0].total} frames ({made} made now in {last[0].seconds:.0f} s, "
            f"{made / max(last[0].seconds, 1e-9):.2f} frames/s), {self.cameras} cameras\n"
        )


@dataclass(frozen=True)
class Check:
    """Look at a capture: name every missing file, draw the projected mesh over a photo, print the figures."""

    capture: tyro.conf.Positional[Path]
    """Folder of the capture, in the Multiface layout."""
    out: Path | None = None
    """Folder for the pictures of some photos: the mesh over each, and its render beside it."""

    def run(self) -> None:
        if self.out is not None:
            check_output(self.out)
        report = check_capture(self.capture, self.out)
        sys.stdout.write("\n".join(report.lines()) + "\n")
        if report.problems:
            mend = "see the lines above, and the pictures that --out writes"
            raise InputError(
                f"capture {self.capture}", expected="one that fits together", got=report.problems[0], mend=mend
            )
