"""Tables 1–5 in words and cells, for the report and for a README: every figure is read from results.json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lipflow.checks import InputError
from lipflow.evaluation.drawing import look_of
from lipflow.evaluation.results_file import check_results
from lipflow.evaluation.standings import MEASURES, Json, Measure, order_in_the_paper, standing, told, verdict

METHODS = {
    "fit": "fitted",
    "fit-n01": "fitted under N(0, I)",
    "decode-q": "Q's mean, decoded",
    "decode-p": "prior's mean, decoded",
    "mean-frame": "mean of the training frames",
    "recorded": "on the tracked mesh: the ceiling",
}


def markdown_table(results: Json, tables: Sequence[int] | None = None) -> str:
    """Tables 1–5 (or some of them) as Markdown, for a README: means with 95 % intervals, differences, what is tied.

    Raises:
        InputError: if the results are of another format, or without one of the tables.
    """
    check_results(results)
    there = sorted({table["number"] for table in results["tables"]})
    absent = [number for number in tables or () if number not in there]
    if absent or (tables is not None and not tables):
        got = f"{absent[0]}, which was not evaluated" if absent else "none"
        raise InputError("tables", expected=f"some of {', '.join(map(str, there))}", got=got)
    lines = [f"{lead(results)} {revisions(results)}", ""]
    psnr, _, _, geom_mm = MEASURES
    for table in results["tables"]:
        if tables is not None and table["number"] not in tables:
            continue
        reference = next((row["title"] for row in table["rows"] if row["reference"]), "the reference")
        lines += [f"**{name_of(table)}. {table['title']}**", ""]
        lines += [
            f"| | PSNR (dB) ↑ | SSIM ↑ | Geom (mm) ↓ | PSNR minus {reference} (dB) | |",
            "|---|---|---|---|---|---|",
        ]
        for row in table["rows"]:
            cells = [_with_interval(row[m.key], m) for m in (MEASURES[0], MEASURES[1], geom_mm)]
            paired = (row["paired"] or {}).get("psnr")
            nothing = "reference" if row["reference"] else "–"
            cells += [_with_interval(paired, psnr, signed=True) if paired else nothing, verdict(paired, psnr)]
            lines.append("| " + " | ".join([f"{row['title']} ({method_of(row)})", *cells]) + " |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def name_of(table: Json) -> str:
    """A table's number, and what drives its priors: some are made with headset images and again with keypoints."""
    return f"Table {table['number']}" + (f" ({table['driving'].upper()})" if table["driving"] else "")


def method_of(row: Json) -> str:
    """How a row's codes are found, in words."""
    usual = METHODS.get(row["method"], str(row["method"]))
    return METHODS.get(row["name"].split("/")[-1], usual)


def lead(results: Json) -> str:
    """Preset, budget, subjects and seeds in one sentence."""
    budget = {name: amount(value) for name, value in results["budget"].items()}
    subjects, seeds = counted(results["subjects"], "subject"), counted(results["seeds"], "seed")
    sizes = f"Preset “{amount(results['preset'])}”: " if results["preset"] else ""
    return (
        f"{sizes}{budget['steps']} training steps of batch {budget['batch']} on {budget['frames']} frames, textures of "
        f"{budget['resolution']}²; {subjects}, {seeds} each."
    )


def revisions(results: Json) -> str:
    """Which code trained, judged and tabulated, in one sentence."""
    trained, judged = (revision(results["made"][name]) for name in ("trained", "judged"))
    return f"Trained at revision {trained}, judged at {judged}."


def revision(value: str | list[str]) -> str:
    """One revision, or several, as git abbreviates them."""
    return amount([one[:12] for one in value] if isinstance(value, list) else value[:12])


def amount(value: Any) -> str:
    """A value that all runs share, or those that they have."""
    return " or ".join(map(str, value)) if isinstance(value, list) else str(value)


def sentences(table: Json) -> Iterator[str]:
    """What the table shows, and the paper's order beside it."""
    for measure in (MEASURES[0], MEASURES[3]):
        found = standing(table["rows"], measure)
        if found is None:
            continue
        best = found.best[measure.key]
        unit = f" {measure.unit}" if measure.unit else ""
        tied = (
            f"tied with it: {', '.join(row['title'] for row in found.tied)}" if found.tied else "no row is tied with it"
        )
        yield f"Best mean {measure.title}: {found.best['title']}, {_number(best['mean'], measure)}{unit}; {tied}."
    order = order_in_the_paper(table)
    if order is not None:
        theirs, ours = (" > ".join(row["title"] for row in rows) for rows in order)
        same = "the same order" if theirs == ours else "a different order"
        yield (
            f"By mean PSNR the order is {ours}; in the paper (real captures of four people: for orientation only) "
            f"it is {theirs}: {same}."
        )


def table_row(row: Json, standings: dict[str, Any]) -> Json:
    look = look_of(row["variant"])
    return {
        "title": row["title"],
        "reference": row["reference"],
        "colour": look.colour,
        "fill": look.colour if row["method"] == "fit" else "transparent",
        "method": method_of(row),
        "cells": [_cell(row, measure, standings[measure.key]) for measure in MEASURES],
        "ms": _significant(row["ms_per_frame"]),
        "fit": list(_fit_lines(row["fit"])),
        "judged": ", ".join(
            counted(range(row[f"{noun}s"]), noun) for noun in ("subject", "seed", "expression", "frame")
        ),
        "hashes": row["config_hashes"],
    }


def _cell(row: Json, measure: Measure, leads: Any) -> Json:
    value = row[measure.key]
    if value is None or value["mean"] is None:
        return {"mean": "–", "interval": "", "bold": False, "paired": "", "verdict": ""}
    paired = (row["paired"] or {}).get(measure.key)
    says = verdict(paired, measure)
    reference = "reference" if row["reference"] else ""
    return {
        "mean": _number(value["mean"], measure),
        "interval": f"{_number(value['low'], measure)} … {_number(value['high'], measure)}" if told(value) else "",
        "bold": leads is not None and leads.best is row and leads.alone,
        "paired": f"{_SIGNS[says]} {_with_interval(paired, measure, signed=True)}" if paired else reference,
        "verdict": says,
    }


def _fit_lines(fit: Json | None) -> Iterator[str]:
    """The settings of each subject, once where they agree."""
    if not fit:
        return
    described = {subject: _settings(config) for subject, config in fit.items()}
    if len(set(described.values())) == 1:
        yield next(iter(described.values()))
    else:
        yield from (f"{subject}: {text}" for subject, text in described.items())


def _settings(config: Json) -> str:
    parts = [f"{config.get('optimiser', '')}, at most {config.get('iterations', '?')} iterations"]
    if config.get("optimiser") == "adam":
        parts.append(f"first step {config['learning_rate']:g}")
    parts += [f"λ {config['prior_weight']:g}", f"in {config['space']}", f"from {_START[config['start']]}"]
    if config.get("optimiser") != "lm":  # which is for keypoints: nothing is rendered
        parts.append(f"{config.get('edges', 'hard')} edges")  # hard before there was a choice
    if config.get("prior") == "standard-normal":
        parts.append("under N(0, I)")
    if not config.get("likelihood", True):
        parts.append("without −log p")
    return ", ".join(parts)


_SIGNS = {"better": "▲", "worse": "▼", "tied": "≈", "": ""}
_START = {"prior": "the prior's mean", "encoder": "the mean of the avatar's own prior", "zero": "0", "sample": "a draw"}


def _number(value: float, measure: Measure, signed: bool = False) -> str:
    text = f"{value:{'+' if signed else ''}.{measure.digits}f}"
    return (text if float(text) else text.lstrip("+-")).replace("-", "−")  # no sign on what is rounded to 0


def _with_interval(value: Json, measure: Measure, signed: bool = False) -> str:
    if value["mean"] is None:
        return "–"
    if not told(value):
        return _number(value["mean"], measure, signed)
    mean, low, high = (_number(value[k], measure, signed) for k in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _significant(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def counted(items: Sequence[Any], noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"
