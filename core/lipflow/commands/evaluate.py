"""``lipflow evaluate``: judge trained runs as Tables 1–5 do; stop whenever, the runs that are done stay done."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from lipflow.capture import Capture, open_capture
from lipflow.checks import InputError
from lipflow.commands.output import check_output
from lipflow.commands.progress import follow, tell_skipped
from lipflow.device import choose_device
from lipflow.evaluation.calibration import kept_entries
from lipflow.evaluation.evaluating import FRAMES, EvaluationConfig
from lipflow.evaluation.frames import EvaluationFrames, FrameCounts, pack_frames
from lipflow.evaluation.judging import write_records
from lipflow.evaluation.many_runs import check_runs, evaluate_runs
from lipflow.evaluation.results_file import RESULTS
from lipflow.evaluation.runs import Run
from lipflow.evaluation.tables import all_records, results
from lipflow.files import write_json
from lipflow.runs import AVATAR, RECORD

SOME = tyro.conf.arg(help_behavior_hint="(one or more)")


@dataclass(frozen=True)
class Evaluate:
    """Judge runs on held-out expressions as Tables 1–5 do; writes frames.csv, results.json and report.html."""

    runs: tyro.conf.Positional[Annotated[tuple[Path, ...], SOME]]
    """Folders that `lipflow train` wrote, or folders that hold such."""
    capture: tuple[Path, ...]
    """The captures that the runs were trained on."""
    out: Path
    """Folder to write."""
    tables: str = "1,2,3,4,5"
    """Which of them, with commas between."""
    frames: int = 24
    """Test frames, spread over the held-out expressions."""
    validation_frames: int = 8
    """Frames that the fits are chosen on."""
    impoverish: bool = False
    """Also judge the fits on fewer and noisier landmarks and fewer headset views."""
    impoverished_frames: int = 12
    """Test frames for that."""
    rungs: str | None = None
    """Iterations at the rungs of the search for image fits, the last the longest fit's; the default is 15,30,60."""
    photo: tuple[int, int] | None = None
    """Height and width at which photographs are compared; the default is the preset's."""
    jobs: int = 1
    """Runs at once, each in a process with one thread."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Where the avatars decode and render."""

    def run(self) -> None:
        check_output(self.out)
        if self.jobs < 1:
            raise InputError("--jobs", expected="1 or more", got=self.jobs)
        config = self._config()
        runs = [Run.open(folder) for given in self.runs for folder in run_folders(given)]
        check_runs(runs)
        frames = frames_of(runs, self.capture, config.counts, config.photo)
        device = str(choose_device(self.device))
        states = evaluate_runs(runs, frames, config, jobs=self.jobs, device=device)
        outcome = follow(states, "evaluate", "run", lambda progress: (progress.done, progress.total))
        for line in outcome.failed:
            sys.stderr.write(f"not evaluated: {line}\n")
        if outcome.evaluations:
            records = all_records(outcome.evaluations, frames, config.tables)
            body = results(outcome.evaluations, records, config.tables, device=device)
            body["calibration"] = kept_entries(self.out / RESULTS, body)
            write_records(self.out / FRAMES, records)
            write_json(self.out / RESULTS, body)
            report = self._report(body, [run for run, _ in outcome.evaluations], frames)
            sys.stdout.write("\n".join([*lines_of(body), f"{self.out / RESULTS}", f"{report}", ""]))
        if outcome.failed:
            mend = "see above; what is done stays done"
            got = f"{len(outcome.failed)} of {len(runs)} that failed"
            raise InputError("evaluation", expected="every run evaluated", got=got, mend=mend)

    def _report(self, body: dict[str, Any], runs: Sequence[Run], frames: Mapping[str, EvaluationFrames]) -> Path:
        from lipflow.evaluation.report import write_report  # matplotlib is loaded only where something is drawn

        states = write_report(body, runs, frames, self.out)
        return follow(states, "report", "exhibit", lambda progress: (progress.done, progress.total))

    def _config(self) -> EvaluationConfig:
        return EvaluationConfig(
            tables=_numbers("--tables", self.tables),
            counts=FrameCounts(test=self.frames, val=self.validation_frames),
            rungs=None if self.rungs is None else _numbers("--rungs", self.rungs),
            impoverish=self.impoverish,
            impoverished_frames=self.impoverished_frames,
            photo=self.photo,
        )


def run_folders(given: Path) -> list[Path]:
    """The runs that ``given`` is or holds, those whose training has ended.

    Raises:
        InputError: if there are none.
    """
    if (given / RECORD).is_file():
        return [given]
    found = sorted(record.parent for record in given.rglob(RECORD) if (record.parent / AVATAR).is_file())
    if not found:
        mend = "give folders that `lipflow train --out` wrote"
        raise InputError(f"run {given}", expected="a finished run, or a folder of such", got="none", mend=mend)
    return found


def frames_of(
    runs: Sequence[Run], folders: Sequence[Path], counts: FrameCounts, photo: tuple[int, int] | None = None
) -> dict[str, EvaluationFrames]:
    """The frames to judge each run's subject on, packed from the captures in ``folders`` where they are not yet.

    Raises:
        InputError: if a subject's capture is not among them or two have one name, or as ``pack_frames`` does.
    """
    captures: dict[str, Capture] = {}
    for capture in map(open_capture, folders):
        other = captures.setdefault(capture.name, capture)
        if not other.root.samefile(capture.root):
            got = f"{other.root} and {capture.root}"
            raise InputError("--capture", expected="captures of different names", got=got, mend="leave one out")
    frames: dict[str, EvaluationFrames] = {}
    for subject in sorted({run.subject for run in runs}):
        if subject not in captures:
            got, mend = ", ".join(captures), "give the folder of each run's capture"
            raise InputError("--capture", expected=subject, got=got, mend=mend)
        first = next(run for run in runs if run.subject == subject)
        states = pack_frames(captures[subject], first.sizes(photo), counts)
        made = follow(states, f"pack {subject}", "frame", lambda progress: (progress.done, progress.total))
        tell_skipped(made.packed)
        frames[subject] = made
    return frames


def lines_of(body: dict[str, Any]) -> Iterator[str]:
    """The tables' PSNR, a line a row."""
    for table in body["tables"]:
        yield f"Table {table['number']}: {table['title']}"
        for row in table["rows"]:
            psnr, paired = row["psnr"], (row["paired"] or {}).get("psnr")
            against = "" if paired is None else f"   against LiP-Flow {_interval(paired, '+')}"
            yield f"  {row['title']:<44} {_interval(psnr)} dB, {row['geom_mm']['mean']:.2f} mm{against}"


def _interval(interval: dict[str, float | None], sign: str = "") -> str:
    mean, low, high = interval["mean"], interval["low"], interval["high"]
    if mean is None:
        return "–"
    ends = "[one expression: no interval]" if low is None or high is None else f"[{low:{sign}.2f}, {high:{sign}.2f}]"
    return f"{mean:{sign}.2f} {ends}"


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(option, expected="numbers with commas between", got=repr(text)) from error
