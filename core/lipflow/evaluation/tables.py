"""The tables: figures of single frames, gathered over subjects, seeds and expressions into results.json."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from lipflow.evaluation.bootstrap import Sample, interval, paired
from lipflow.evaluation.evaluating import RunEvaluation, label_of
from lipflow.evaluation.frames import EvaluationFrames
from lipflow.evaluation.impoverished import LEVELS, Level
from lipflow.evaluation.judging import Record, Surface, judge_surface, mean_frame, read_records, recorded
from lipflow.evaluation.protocols import TABLES, Row, Table, rows_of
from lipflow.evaluation.results_file import FORMAT, VERSION
from lipflow.evaluation.runs import Run
from lipflow.fitting import FitConfig
from lipflow.rendering import make_renderer
from lipflow.serial import to_json
from lipflow.training_start import provenance

METRICS = ("psnr", "ssim", "geom", "geom_mm")
FIT_FIELDS = (
    "optimiser",
    "learning_rate",
    "iterations",
    "prior_weight",
    "likelihood",
    "space",
    "start",
    "prior",
    "edges",
)
FrameKey = tuple[str, int]  # expression and number


@dataclass(frozen=True, eq=False)
class Measured:
    """One figure of one row for one subject."""

    seeds: tuple[int | None, ...]  # [S]; (None,) for what no seed decides
    frames: tuple[FrameKey, ...]  # [F]
    values: np.ndarray  # [S, F] mean over the views; NaN where there is none

    @staticmethod
    def of(figures: Iterable[tuple[int | None, FrameKey, float]]) -> Measured:
        """Gather (seed, frame, figure); several figures of one frame are its views."""
        views: dict[tuple[int | None, FrameKey], list[float]] = {}
        for seed, frame, value in figures:
            views.setdefault((seed, frame), []).append(value)
        seeds = tuple(sorted({seed for seed, _ in views}, key=lambda seed: -1 if seed is None else seed))
        frames = tuple(sorted({frame for _, frame in views}))
        values = [[_mean(views.get((seed, frame), [])) for frame in frames] for seed in seeds]
        return Measured(seeds, frames, np.array(values))

    def sample(self) -> Sample:
        return Sample(self.values, tuple(expression for expression, _ in self.frames))

    def minus(self, reference: Measured) -> Sample | None:
        """Differences where both have the seed and the frame; None where there are no such."""
        seeds = [s for s in reference.seeds if s in self.seeds or self.seeds == (None,)]
        frames = [frame for frame in self.frames if frame in reference.frames]
        if not seeds or not frames:
            return None
        own = self._at([None] if self.seeds == (None,) else seeds, frames)
        return paired(own, reference._at(seeds, frames))

    def _at(self, seeds: Sequence[int | None], frames: Sequence[FrameKey]) -> Sample:
        rows = [self.seeds.index(seed) for seed in seeds]
        columns = [self.frames.index(frame) for frame in frames]
        return Sample(self.values[np.ix_(rows, columns)], tuple(expression for expression, _ in frames))


def bound_records(frames: EvaluationFrames, tables: Sequence[int]) -> list[Record]:
    """Floor and ceiling, which no model made, judged on the test frames, for each table that lists them."""
    surfaces: dict[str, Surface] = {"mean-frame": mean_frame(frames), "recorded": recorded}
    renderer, test, subject = make_renderer(frames.packed.topology), frames.indices("test"), frames.packed.name
    records: list[Record] = []
    for row in rows_of(None, tuple(tables)).values():
        figures = judge_surface(surfaces[row.method], frames, renderer, test)
        numbers = sorted({table.number for table in TABLES if row in table.rows and table.number in tables})
        of = [(number, figure) for number in numbers for figure in figures]
        records += [Record.of(f, subject, "", None, n, row.name, ms=0.0, config_hash="") for n, f in of]
    return records


def all_records(
    evaluations: Sequence[tuple[Run, RunEvaluation]], frames: Mapping[str, EvaluationFrames], tables: Sequence[int]
) -> list[Record]:
    """Every line of the report's frames.csv."""
    subjects = sorted({run.subject for run, _ in evaluations})
    floors = [record for subject in subjects for record in bound_records(frames[subject], tables)]
    return floors + [record for _, evaluation in evaluations for record in read_records(evaluation.frames)]


def results(
    evaluations: Sequence[tuple[Run, RunEvaluation]],
    records: Sequence[Record],
    tables: Sequence[int],
    *,
    device: str = "cpu",
    seed: int = 0,
) -> dict[str, Any]:
    """results.json: plain values, no NaN. ``seed`` draws the bootstrap."""
    runs = [run for run, _ in evaluations]
    described = [evaluation.body["run"] for _, evaluation in evaluations]
    revisions = {
        "trained": _common(run.revision for run in runs),
        "judged": _common(evaluation.body["made"]["revision"] for _, evaluation in evaluations),
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "made": {**provenance(), **revisions, "device": device, "date": datetime.now(UTC).date().isoformat()},
        "preset": _common(run.preset for run in runs),
        "subjects": sorted({run.subject for run in runs}),
        "seeds": sorted({run.seed for run in runs}),
        "budget": {
            "steps": _common(run.config.steps for run in runs),
            "batch": _common(run.config.batch for run in runs),
            "frames": _common(run["frames"] for run in described),
            "resolution": _common(run.config.sizes.texture for run in runs),
        },
        "runs": described,
        "tables": tabulated(evaluations, records, tables, seed),
        "impoverishment": impoverished(evaluations, seed),
        "search": [search for _, evaluation in evaluations for search in evaluation.body["search"]],
        "calibration": None,
        "clusters": None,
    }


def tabulated(
    evaluations: Sequence[tuple[Run, RunEvaluation]], records: Sequence[Record], tables: Sequence[int], seed: int
) -> list[dict[str, Any]]:
    """All tables that hold a model, each over the subjects that all of its rows have."""
    lines: dict[tuple[int, str], list[Record]] = {}
    for record in records:
        lines.setdefault((record.table, record.row), []).append(record)
    tabulated = []
    for table in TABLES:
        here = [row for row in table.rows if (table.number, row.name) in lines]
        if table.number in tables and any(row.variant is not None for row in here):
            of_rows = _comparable({row.name: lines[table.number, row.name] for row in here})
            rows = [_row(row, table, of_rows, evaluations, seed) for row in here]
            head = {"number": table.number, "title": table.title, "driving": table.driving}
            tabulated.append({**head, "rows": rows})
    return tabulated


def _comparable(lines: dict[str, list[Record]]) -> dict[str, list[Record]]:
    """The lines of the subjects that every row has; all lines if there is no such subject."""
    common = set.intersection(*({record.subject for record in own} for own in lines.values()))
    return {row: [r for r in own if r.subject in common or not common] for row, own in lines.items()}


def _row(
    row: Row,
    table: Table,
    lines: Mapping[str, list[Record]],
    evaluations: Sequence[tuple[Run, RunEvaluation]],
    seed: int,
) -> dict[str, Any]:
    own, reference = lines[row.name], lines.get(table.reference.name)
    body: dict[str, Any] = {
        "name": row.name,
        "title": row.title,
        "variant": row.variant,
        "method": row.method,
        "reference": row.reference,
        "subjects": len({r.subject for r in own}),
        "seeds": len({r.seed for r in own} - {None}),
        "frames": len({(r.subject, r.expression, r.frame) for r in own}),
        "expressions": len({r.expression for r in own}),
    }
    differences: dict[str, Any] = {}
    for metric in METRICS:
        measured = _by_subject(own, metric)
        body[metric] = interval([m.sample() for m in measured.values()], seed=seed).to_json()
        if reference is not None and not row.reference:
            others = _by_subject(reference, metric)
            pairs = [measured[s].minus(others[s]) for s in measured if s in others]
            known = [pair for pair in pairs if pair is not None]
            if known:
                differences[metric] = interval(known, seed=seed).to_json()
    body["ms_per_frame"] = _mean([r.ms for r in own])
    body["paired"] = differences or None
    body["fit"] = _fits(row, evaluations, {r.subject for r in own}) if row.method == "fit" else None
    body["config_hashes"] = sorted({r.config_hash for r in own} - {""})
    return body


def _by_subject(records: Sequence[Record], metric: str) -> dict[str, Measured]:
    """One figure's values, by subject."""
    figures: dict[str, list[tuple[int | None, FrameKey, float]]] = {}
    for record in records:
        frame = (record.expression, record.frame)
        figures.setdefault(record.subject, []).append((record.seed, frame, getattr(record, metric)))
    return {subject: Measured.of(values) for subject, values in figures.items()}


def _fits(row: Row, evaluations: Sequence[tuple[Run, RunEvaluation]], subjects: set[str]) -> dict[str, Any]:
    """How the row was fitted for each of some subjects; all seeds were fitted alike."""
    fits: dict[str, FitConfig] = {}
    label = label_of(row.searched)
    for run, evaluation in evaluations:
        if run.variant.name == row.variant and run.subject in subjects and label in evaluation.body["fits"]:
            fits.setdefault(run.subject, row.fitted(evaluation.fits[label]))
    return {subject: {name: to_json(fit)[name] for name in FIT_FIELDS} for subject, fit in fits.items()}


def impoverished(evaluations: Sequence[tuple[Run, RunEvaluation]], seed: int) -> list[dict[str, Any]]:
    """Each row's figures at each level of impoverishment."""
    titles = {row.name: row.title for table in TABLES if table.number in (2, 3) for row in table.rows}
    found: dict[tuple[Level, str], dict[str, list[tuple[int | None, dict[str, Any]]]]] = {}
    for run, evaluation in evaluations:
        for entry in evaluation.body["impoverishment"]:
            level = Level(entry["driving"], entry["axis"], entry["level"])
            subjects = found.setdefault((level, entry["row"]), {})
            subjects.setdefault(run.subject, []).extend((run.seed, frame) for frame in entry["frames"])
    order = {level: place for place, level in enumerate(LEVELS)}
    gathered = []
    for (level, row), subjects in sorted(found.items(), key=lambda item: order[item[0][0]]):
        figures = {}
        for metric in ("psnr", "geom_mm"):
            measured = [
                Measured.of(
                    (of, (frame["expression"], frame["frame"]), math.nan if frame[metric] is None else frame[metric])
                    for of, frame in frames
                )
                for frames in subjects.values()
            ]
            figures[metric] = interval([m.sample() for m in measured], seed=seed).to_json()
        gathered.append({**asdict(level), "row": row, "title": titles[row], **figures})
    return gathered


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _common(values: Iterable[Any]) -> Any:
    """The value that all have, or the list of those that there are."""
    distinct = list(dict.fromkeys(values))
    return distinct[0] if len(distinct) == 1 else distinct
