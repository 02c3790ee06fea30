"""``lipflow calibrate``: how often the truth lies inside the posteriors' intervals; what is done stays done."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from lipflow.commands.evaluate import SOME, frames_of, run_folders
from lipflow.commands.output import check_output
from lipflow.commands.progress import follow
from lipflow.evaluation.calibration import FILE, FORMAT, VERSION, CalibrationConfig, calibrate_run, entries
from lipflow.evaluation.frames import FrameCounts
from lipflow.evaluation.results_file import RESULTS, read_results
from lipflow.evaluation.runs import Run
from lipflow.files import write_json


@dataclass(frozen=True)
class Calibrate:
    """Judge runs' posteriors on held-out expressions; writes calibration.json, and into results.json beside it."""

    runs: tyro.conf.Positional[Annotated[tuple[Path, ...], SOME]]
    """Folders that `lipflow train` wrote, or folders that hold such."""
    capture: tuple[Path, ...]
    """The captures that the runs were trained on."""
    out: Path
    """Folder to write into: one of `lipflow evaluate`, or a new one."""
    frames: int = 12
    """Test frames, spread over the held-out expressions."""
    seed: int = 0
    """Of the keypoints' noise and the samples."""

    def run(self) -> None:
        check_output(self.out)
        config = CalibrationConfig(frames=self.frames, seed=self.seed)
        runs = [Run.open(folder) for given in self.runs for folder in run_folders(given)]
        there = (self.out / RESULTS).exists()
        results = read_results(self.out / RESULTS) if there else None  # refused before anything is judged
        frames = frames_of(runs, self.capture, FrameCounts(test=max(FrameCounts.test, self.frames)))
        judged = []
        for run in runs:
            steps = calibrate_run(run, frames[run.subject], config)
            title = f"{run.subject} {run.variant.name} seed {run.seed}"
            judged.append((run, follow(steps, title, "frame", lambda state: (state.done, state.total))))
        found = entries(judged)
        write_json(self.out / FILE, {"format": FORMAT, "version": VERSION, "entries": found})
        if results is not None:
            write_json(self.out / RESULTS, {**results, "calibration": found})
        for entry in found:
            shares = "  ".join(f"{p:.0%}: {c['mean']:.1%}" for p, c in zip(entry["nominal"], entry["coverage"]))
            ess = "few" if entry["ess"] is None else f"{entry['ess']:.0f}"
            about = f"sd {entry['std_mm']:.2f} mm, error {entry['error_mm']:.2f} mm, {ess} effective draws"
            sys.stdout.write(f"{entry['title']:<56} {shares}   {about}\n")
        sys.stdout.write(f"{self.out / FILE}\n")
