"""Evaluating one run: all its rows' codes judged on held-out expressions, kept in a folder inside the run."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from lipflow.checks import InputError
from lipflow.evaluation.codes import Codes, Judged
from lipflow.evaluation.frames import EvaluationFrames, FrameCounts, Indices
from lipflow.evaluation.impoverished import LEVELS, Means
from lipflow.evaluation.judging import Figures, Record, judge, mean_psnr, write_records
from lipflow.evaluation.metrics import SMALLEST
from lipflow.evaluation.protocols import TABLES, Row, Table, rows_of
from lipflow.evaluation.runs import Run
from lipflow.evaluation.search import SPACES, Search, chosen_fit, search
from lipflow.files import replacing, write_json
from lipflow.fitting import FitConfig
from lipflow.runs import claimed
from lipflow.serial import to_json
from lipflow.training_start import provenance
from lipflow.validation import spread

FORMAT, VERSION = "lipflow-run-evaluation", 3
FOLDER, FRAMES, RESULT = "evaluation", "frames.csv", "evaluation.json"
Fits = dict[str, FitConfig]  # the chosen fit of each row that is searched, by its label


@dataclass(frozen=True)
class EvaluationConfig:
    """Everything that decides an evaluation's result, but for the runs and their captures."""

    tables: tuple[int, ...] = (1, 2, 3, 4, 5)
    counts: FrameCounts = field(default_factory=FrameCounts)
    rungs: tuple[int, ...] | None = None  # iterations of the search for fits to images; None: as SPACES has them
    impoverish: bool = False  # whether fits are also judged on less and less input
    impoverished_frames: int = 12  # of the test split
    photo: tuple[int, int] | None = None  # height, width at which photographs are compared; None: the preset's

    def __post_init__(self) -> None:
        known = sorted({table.number for table in TABLES})
        if not self.tables or not set(self.tables) <= set(known):
            raise InputError("tables", expected=f"some of {', '.join(map(str, known))}", got=self.tables or "none")
        for name, count in {**vars(self.counts), "impoverished_frames": self.impoverished_frames}.items():
            if count < 1:
                raise InputError(f"{name} frames", expected="1 or more", got=count)
        if self.photo is not None and min(self.photo) < SMALLEST:
            raise InputError("photo size", expected=f"{SMALLEST} pixels a side or more", got=self.photo)
        if self.rungs is not None and (not self.rungs or min(self.rungs) < 1):
            raise InputError("rungs", expected="numbers of iterations", got=self.rungs)


@dataclass(frozen=True)
class RunEvaluation:
    """A run's evaluation as its folder holds it."""

    folder: Path
    body: dict[str, Any]

    @staticmethod
    def read(folder: Path) -> RunEvaluation | None:
        """What ``folder`` holds; None if that is no evaluation of this version."""
        try:
            body = json.loads((folder / RESULT).read_text())
        except (OSError, ValueError):
            return None
        whole = isinstance(body, dict) and (body.get("format"), body.get("version")) == (FORMAT, VERSION)
        return RunEvaluation(folder, body) if whole and (folder / FRAMES).is_file() else None

    @property
    def frames(self) -> Path:
        """The file of its figures."""
        return self.folder / FRAMES

    @property
    def key(self) -> str:
        return str(self.body["key"])

    @property
    def fits(self) -> Fits:
        """The fits that were chosen, or taken over."""
        return {
            label: chosen_fit(fit, what=f"{self.folder / RESULT}, fits") for label, fit in self.body["fits"].items()
        }


def evaluation_key(run: Run, frames: EvaluationFrames, config: EvaluationConfig, fits: Fits | None) -> str:
    """Twelve hex digits that name all that an evaluation's figures depend on."""
    tried = {name: asdict(space) for name, space in SPACES.items()} if fits is None else None
    about = {
        "format": [FORMAT, VERSION],
        "run": [run.config_hash, run.avatar_hash()],
        "frames": [frames.packed.hash, frames.cameras],
        "config": to_json(config),
        "rows": [asdict(row) for row in rows_of(run.variant.name, config.tables).values()],
        "levels": [asdict(level) for level in LEVELS] if config.impoverish else None,
        "fits": tried if fits is None else {label: to_json(fit) for label, fit in fits.items()},
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]


def label_of(row: Row) -> str:
    """How a searched row is named in files: its name and what is fitted to."""
    return f"{row.name} {row.source}"


def evaluate_run(
    run: Run,
    frames: EvaluationFrames,
    config: EvaluationConfig,
    *,
    fits: Fits | None = None,
    device: torch.device | str = "cpu",
) -> RunEvaluation:
    """Evaluate a run into its ``evaluation`` folder, or find it there as it would become.

    Args:
        run: what is judged.
        frames: of its capture, packed at its sizes.
        config: what is judged and on how many frames.
        fits: those that were chosen for the variant's first seed; None: they are searched here.
        device: where the avatar decodes and renders.

    Raises:
        InputError: if run and frames do not go together, another process is at work in the run's folder, or the
            search found nothing that is finite.
    """
    key = evaluation_key(run, frames, config, fits)
    there = RunEvaluation.read(run.folder / FOLDER)
    if there is not None and there.key == key:
        return there
    if frames.packed.name != run.subject:
        raise InputError(f"run {run.folder}", expected=f"frames of {run.subject}", got=frames.packed.name)
    with claimed(run.folder):
        for half in run.folder.glob(f".{FOLDER}.*"):  # a killed evaluation's
            shutil.rmtree(half)
        avatar = run.avatar()
        work = _Work(run, Judged(avatar.to(torch.device(device)), frames), config, dict(fits or {}))
        records = list(work.records())
        impoverished = list(work.impoverished()) if config.impoverish else []
        body = {
            "format": FORMAT,
            "version": VERSION,
            "key": key,
            "made": {**provenance(), "device": str(device)},
            "config": to_json(config),
            "run": run.described(avatar.record),
            "fits": {label: to_json(fit) for label, fit in work.fits.items()},
            "search": work.searches,
            "impoverishment": impoverished,
        }
        with replacing(run.folder / FOLDER) as beside:
            beside.mkdir()
            write_records(beside / FRAMES, records)
            write_json(beside / RESULT, body)
    return RunEvaluation(run.folder / FOLDER, body)


class _Work:
    """One evaluation in the making."""

    def __init__(self, run: Run, judged: Judged, config: EvaluationConfig, fits: Fits) -> None:
        self.run, self.judged, self.config, self.fits = run, judged, config, fits
        self.searches: list[dict[str, Any]] = []

    def records(self) -> Iterator[Record]:
        """All lines of frames.csv, row by row; a row that stands in several tables is computed once."""
        test = self.judged.frames.indices("test")
        for row in self._rows():
            codes = self.judged.codes(row, test, self._fit(row))
            figures = judge(self.judged, codes, test)
            for number in sorted({table.number for table in self._tables() if row in table.rows}):
                yield from self._lines(number, row, codes, figures)

    def impoverished(self) -> Iterator[dict[str, Any]]:
        """For each level and row, PSNR (mean over the views) and vertex distance of some test frames."""
        frames = self.judged.frames
        some = spread(frames.indices("test"), self.config.impoverished_frames)
        means = Means.of(frames)
        for table in self._tables():
            for level in LEVELS:
                if table.number not in (2, 3) or table.driving != level.driving:
                    continue
                for row in self._rows():
                    if row in table.rows:
                        codes = self.judged.codes(row, some, self._fit(row), impoverish=means.impoverish(level))
                        lines = _by_frame(judge(self.judged, codes, some))
                        yield {**asdict(level), "row": row.name, "frames": lines}

    def _tables(self) -> list[Table]:
        return [table for table in TABLES if table.number in self.config.tables]

    def _rows(self) -> list[Row]:
        """What is to be computed: all rows of the variant that the capture has the input for."""
        packed = self.judged.frames.packed
        here = {"hmc": packed.hmc_size is not None, "kpt": packed.landmarks is not None}
        rows = rows_of(self.run.variant.name, self.config.tables).values()
        return [row for row in rows if row.source is None or here.get(row.source, True)]

    def _lines(self, number: int, row: Row, codes: Codes, figures: list[Figures]) -> Iterator[Record]:
        run = self.run
        of_run = (run.subject, run.variant.name, run.seed)
        for figure in figures:
            yield Record.of(figure, *of_run, number, row.name, ms=codes.ms, config_hash=run.config_hash)

    def _fit(self, row: Row) -> FitConfig | None:
        """How a row is fitted: as chosen before, or by a search now."""
        if row.source is None:
            return None
        searched = row.searched
        label = label_of(searched)
        if label not in self.fits:
            self.fits[label] = self._search(searched, label)
        return row.fitted(self.fits[label])

    def _search(self, row: Row, label: str) -> FitConfig:
        validation = self.judged.frames.indices("val")
        assert row.source is not None  # only fits are searched
        space = SPACES[row.source]
        if self.config.rungs is not None and len(space.rungs) > 1:
            space = replace(space, rungs=self.config.rungs)
        starts = {"prior": row.guess}
        tried = (replace(c, prior=row.prior, start=starts.get(c.start, c.start)) for c in space.candidates)
        space = replace(space, candidates=tuple(tried))
        found = search(lambda fit: self._score(row, fit, validation), space)
        self.searches.append(self._described(row, found))
        if not math.isfinite(found.trials[found.chosen].score):
            raise InputError(f"search for {label}", expected="a finite PSNR on validation frames", got="none")
        return found.config

    def _score(self, row: Row, fit: FitConfig, validation: Indices) -> float:
        return mean_psnr(judge(self.judged, self.judged.codes(row, validation, fit), validation))

    def _described(self, row: Row, found: Search) -> dict[str, Any]:
        """A search as results.json lists it."""
        alike = [t.number for t in TABLES for own in t.rows if own.source and own.searched.key == row.key]
        tried = [{**to_json(trial.config), "validation_psnr": _finite(trial.score)} for trial in found.trials]
        own = {"variant": self.run.variant.name, "subject": self.run.subject, "seed": self.run.seed}
        return {**own, "table": min(alike), "row": row.name, "candidates": tried, "chosen": found.chosen}


def _by_frame(figures: list[Figures]) -> list[dict[str, Any]]:
    """The views of each frame, averaged."""
    frames: dict[tuple[str, int], list[Figures]] = {}
    for figure in figures:
        frames.setdefault((figure.expression, figure.frame), []).append(figure)
    return [
        {"expression": expression, "frame": frame, "psnr": _finite(mean_psnr(views)), "geom_mm": views[0].geom_mm}
        for (expression, frame), views in frames.items()
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
