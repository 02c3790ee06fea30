"""Compare the ways to fit images: each row of the table on validation frames of runs that `lipflow sweep` made.

    python scripts/optimisers.py RUN… --capture DIR

For each run that headset images or nothing drives: the energy that was minimised, iterations, PSNR over three views,
mesh error and processor time, means over the frames. It prints the table as Markdown, a run at a time.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lipflow.capture import open_capture
from lipflow.checks import InputError
from lipflow.commands.progress import follow
from lipflow.evaluation.batch_fit import HeadsetImages, fit_batch
from lipflow.evaluation.codes import Codes, Judged
from lipflow.evaluation.frames import EvaluationFrames, FrameCounts, pack_frames
from lipflow.evaluation.judging import judge, mean_psnr
from lipflow.evaluation.many_runs import one_thread
from lipflow.evaluation.runs import Run
from lipflow.fitting import FitConfig

WAYS = {
    "Adam, 20": FitConfig(optimiser="adam", iterations=20),
    "Adam, 60": FitConfig(optimiser="adam", iterations=60),
    "Adam, 60, hard edges": FitConfig(optimiser="adam", iterations=60, edges="hard"),
    "L-BFGS, 20": FitConfig(optimiser="lbfgs", iterations=20),
    "L-BFGS, 60": FitConfig(optimiser="lbfgs", iterations=60),
    "L-BFGS, 150": FitConfig(optimiser="lbfgs", iterations=150),
}
TOLERANCE = 1e-3  # of all: so much of the energy is no gain


def compare(run: Run, frames: EvaluationFrames, count: int) -> Iterator[str]:
    """The rows of one run's table.

    Raises:
        InputError: if headset images cannot be compared with what the run's avatar draws.
    """
    avatar = run.avatar()
    chosen = frames.indices("val")[:count]
    seen = frames.seen(chosen)
    if avatar.hmc_cameras is None or seen.hmc is None or seen.hmc_mask is None or avatar.driving == "kpt":
        got = f"{run.variant.name} of {run.subject}"
        raise InputError(f"run {run.folder}", expected="a variant for headset images", got=got)
    images, judged = HeadsetImages(seen.hmc, seen.hmc_mask, avatar.hmc_cameras), Judged(avatar, frames)
    for name, way in WAYS.items():
        began = time.process_time()
        fitted = fit_batch(avatar, images, seen.driving(avatar.driving), len(chosen), replace(way, tolerance=TOLERANCE))
        spent = time.process_time() - began
        figures = judge(judged, Codes(fitted.z, 0.0), chosen)
        mesh = np.mean([figure.geom_mm for figure in figures])
        yield (
            f"| {name} | {float(fitted.energy.mean()):.0f} | {float(fitted.iterations.float().mean()):.0f} "
            f"| {mean_psnr(figures):.2f} | {mesh:.2f} | {spent / len(chosen):.2f} |"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders that `lipflow train` wrote")
    parser.add_argument("--capture", type=Path, required=True, help="the capture that they were trained on")
    parser.add_argument("--frames", type=int, default=8, help="validation frames (default: 8)")
    arguments = parser.parse_args()
    try:
        with one_thread():
            for folder in arguments.runs:
                run = Run.open(folder)
                packing = pack_frames(open_capture(arguments.capture), run.sizes(), FrameCounts())
                frames = follow(packing, "pack", "frame", lambda state: (state.done, state.total))
                tqdm.write(f"\n{run.variant.name}, {run.subject}, seed {run.seed}\n")
                tqdm.write("| way | energy | iterations | PSNR (dB) | mesh (mm) | processor time a frame (s) |")
                tqdm.write("|---|---|---|---|---|---|")
                for row in tqdm(compare(run, frames, arguments.frames), total=len(WAYS)):
                    tqdm.write(row)
    except InputError as error:
        tqdm.write(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
