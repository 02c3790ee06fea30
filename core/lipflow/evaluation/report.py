"""The evaluation's report: one HTML file that needs nothing else, made from results.json and the exhibits.

Every figure in it is read from the results; the exhibits add pictures, curves and draws, each labelled as what it is.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined

from lipflow.checks import InputError
from lipflow.evaluation.drawing import coloured_error, data_uri
from lipflow.evaluation.exhibits import ERROR_SCALE, FILE, Exhibits, Panel, PlaneCodes, Strip
from lipflow.evaluation.figures import (
    calibration_figure,
    curves_figure,
    impoverishment_figure,
    latent_figure,
    search_figure,
    table_figure,
)
from lipflow.evaluation.frames import EvaluationFrames
from lipflow.evaluation.making_exhibits import ExhibitPlan, ExhibitProgress, fingerprint, make_exhibits
from lipflow.evaluation.protocols import OF_DRIVING
from lipflow.evaluation.report_tables import (
    amount,
    lead,
    markdown_table,
    name_of,
    revision,
    sentences,
    table_row,
)
from lipflow.evaluation.results_file import RESULTS, check_results
from lipflow.evaluation.runs import Run
from lipflow.evaluation.standings import MEASURES, Json, standing, told
from lipflow.files import replacing, write_json
from lipflow.priors.base import SIGMA_CAP
from lipflow.variants import VARIANTS

__all__ = ["markdown_table", "render_report", "save_report", "write_report"]

REPORT = "report.html"
_SIGMAS = {"one": "fixed at 1", "below-one": "learned, below 1", "multiface": "learned, damped"}
_NEAR_CAP = 0.6  # of the cap: a mean over dimensions so high has most of them at it
_SCALARS = (("sigma_q", 3), ("sigma_p", 3), ("log_abs_det", 1), ("nll", 1))
_VALIDATION = (("reconstruction_psnr", 2), ("start_psnr", 2))


def write_report(
    results: Json,
    runs: Sequence[Run],
    frames: Mapping[str, EvaluationFrames],
    out: Path,
    plan: ExhibitPlan | None = None,
) -> Generator[ExhibitProgress, None, Path]:
    """Write ``report.html`` into the folder that holds results.json; returns its path.

    Exhibits that the folder holds are taken as they are if they are of the same runs and settings, else they are made
    and saved. The figures behind Fig. 7 are put into results.json.

    Args:
        results: what an evaluation measured.
        runs: the runs that it measured.
        frames: of each subject, those that they were judged on.
        out: a folder.
        plan: how much is shown beside the tables.

    Raises:
        InputError: if the results are of another format or an avatar's file is damaged.
    """
    check_results(results)
    plan = plan or ExhibitPlan()
    exhibits = _kept(out / FILE, fingerprint(results, plan))
    if exhibits is None:
        exhibits = yield from make_exhibits(results, runs, frames, plan)
        exhibits.save(out / FILE)
    results = {**results, "clusters": exhibits.clusters()}
    write_json(out / RESULTS, results)
    return save_report(results, exhibits, out)


def _kept(path: Path, source: str) -> Exhibits | None:
    """The exhibits in a file, if they are there, whole and of this source."""
    try:
        exhibits = Exhibits.load(path)
    except InputError:
        return None
    return exhibits if exhibits.source == source else None


def render_report(results: Json, exhibits: Exhibits) -> str:
    """The report as HTML.

    Raises:
        InputError: if the results are of another format.
    """
    check_results(results)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    template = environment.from_string((files("lipflow.evaluation") / "report.html").read_text(encoding="utf-8"))
    tables = [_table(table, exhibits) for table in results["tables"]]
    spreads, clusters = list(_spreads(results["runs"])), results["clusters"] or exhibits.clusters()
    codes = [_codes(one, f"latent-{k}") for k, one in enumerate(exhibits.codes)]
    contents = [(table["id"], table["short"]) for table in tables]
    optional = (
        ("impoverishment", "Impoverished inputs", results["impoverishment"]),
        ("latent", "P and Q", exhibits.codes),
        ("sigma", "Spread of Q", spreads),
        ("calibration", "Calibration", results["calibration"]),
        ("search", "Fit settings", results["search"]),
        ("runs", "Runs", results["runs"]),
    )
    contents += [(anchor, title) for anchor, title, there in optional if there]
    searches = [_search(search, _search_title(search, results)) for search in results["search"]]
    return template.render(
        results=results,
        lead=lead(results),
        facts=list(_facts(results)),
        contents=contents,
        measures=MEASURES,
        tables=tables,
        scale=data_uri(coloured_error(np.arange(256, dtype=np.uint8)[None])),
        error_scale=ERROR_SCALE,
        impoverishment=results["impoverishment"] and impoverishment_figure(results["impoverishment"]),
        codes=codes,
        inputs=list(dict.fromkeys(one["inputs"] for one in codes)),
        clusters=clusters,
        clusters_sentence=_clusters_sentence(clusters),
        spreads=spreads,
        runaways=list(_runaways(results["runs"])),
        calibration=results["calibration"] and calibration_figure(results["calibration"]),
        calibrated=list(_calibration(results["calibration"] or [])),
        searches=searches,
        search=searches and search_figure(results["search"], [search["title"] for search in searches]),
    )


def save_report(results: Json, exhibits: Exhibits, out: Path) -> Path:
    """Write ``out/report.html``, in one step; returns its path. Raises InputError as ``render_report`` does."""
    html = render_report(results, exhibits)
    with replacing(out / REPORT) as beside:
        beside.write_text(html, encoding="utf-8")
    return out / REPORT


# ---- the head


def _facts(results: Json) -> Iterator[tuple[str, str]]:
    made, budget = results["made"], results["budget"]
    yield "Subjects", ", ".join(results["subjects"])
    yield "Seeds", ", ".join(str(seed) for seed in results["seeds"])
    yield "Training budget", f"{amount(budget['steps'])} steps × batch {amount(budget['batch'])}"
    yield "Training frames, textures", f"{amount(budget['frames'])}, {amount(budget['resolution'])}²"
    yield "Trained avatars", str(len(results["runs"]))
    for name in ("device", "date"):
        if name in made:
            yield name.capitalize(), str(made[name])
    for name, title in (("trained", "Trained at revision"), ("judged", "Judged at"), ("revision", "Tables made at")):
        yield title, revision(made[name])
    yield "Versions", ", ".join(f"{name} {version}" for name, version in made.get("versions", {}).items())


def _table(table: Json, exhibits: Exhibits) -> Json:
    key = f"table-{table['number']}-{table['driving']}"
    standings = {m.key: standing(table["rows"], m) for m in MEASURES}
    here = (table["number"], table["driving"])
    curves = [curve for curve in exhibits.curves if (curve.table, curve.driving) == here]
    return {
        "id": key,
        "number": table["number"],
        "title": table["title"],
        "short": name_of(table),
        "prior_input": OF_DRIVING.get(table["driving"], ""),
        "sentences": list(sentences(table)),
        "rows": [table_row(row, standings) for row in table["rows"]],
        "figure": table_figure(table, key),
        "strips": [_strip(strip) for strip in exhibits.strips if (strip.table, strip.driving) == here],
        "curves": curves_figure(curves, f"curves-{key}") if curves else "",
    }


# ---- exhibits


def _strip(strip: Strip) -> Json:
    return {
        "title": f"{strip.expression}, frame {strip.frame}, {strip.subject}, seen by {strip.camera}",
        "panels": [_panel(panel) for panel in strip.panels],
    }


def _panel(panel: Panel) -> Json:
    figures = [f"{panel.psnr:.1f} dB"] if panel.psnr is not None else []
    figures += [f"{panel.geom_mm:.2f} mm"] if panel.geom_mm is not None else []
    return {
        "title": panel.title,
        "picture": data_uri(panel.picture),
        "error": None if panel.error is None else data_uri(coloured_error(panel.error)),
        "caption": ", ".join(figures),
    }


def _codes(codes: PlaneCodes, name: str) -> Json:
    return {
        "title": f"{codes.title}, {codes.subject}, seed {codes.seed}",
        "figure": latent_figure(codes, name),
        "half": codes.one_space,
        "inputs": f"{codes.subject}: " + ", ".join(f"{k + 1} {label}" for k, label in enumerate(codes.inputs)),
    }


def _clusters_sentence(clusters: Sequence[Json]) -> str:
    said = []
    for one in clusters:
        whole, plane = one["silhouette"], one["plane_silhouette"]
        if whole["p"] == whole["q"]:
            figures = (
                f"{whole['q']:.2f} from all dimensions ({_structure(whole['q'])}), {plane['q']:.2f} in the plane drawn"
            )
            said.append(f"{one['title']}, where P and Q are one space: {figures}.")
        else:
            p, q = (f"{whole[space]:.2f} in {space.upper()} ({_structure(whole[space])})" for space in ("p", "q"))
            planes = f"{plane['p']:.2f} and {plane['q']:.2f} in the planes drawn"
            said.append(f"{one['title']}: {p} and {q} from all dimensions, {planes}.")
    return " ".join(said).replace(" -", " −")


def _structure(silhouette: float) -> str:
    """What a silhouette says about clusters, by Kaufman and Rousseeuw (1990)."""
    bounds = ((0.25, "no substantial structure"), (0.5, "weak structure"), (0.7, "reasonable structure"))
    return next((says for bound, says in bounds if silhouette <= bound), "strong structure")


def _calibration(entries: Sequence[Json]) -> Iterator[Json]:
    """Each posterior: which share of the true vertices its intervals hold, and whether that is what they say."""
    for entry in entries:
        cells = []
        for nominal, coverage in zip(entry["nominal"], entry["coverage"]):
            fair = told(coverage) and coverage["low"] <= nominal <= coverage["high"]
            word = "as meant" if fair else "too few" if coverage["mean"] < nominal else "too many"
            cells.append({"nominal": f"{nominal:.0%}", "held": f"{coverage['mean']:.0%}", "word": word})
        yield {
            "title": entry["title"],
            "cells": cells,
            "std": f"{entry['std_mm']:.2f}",
            "error": f"{entry['error_mm']:.2f}",
            "frames": entry["n"],
            "effective": f"{entry['ess']:.0f}",
        }


# ---- runs


def _spreads(runs: Sequence[Json]) -> Iterator[Json]:
    """σq ≡ 1, a learned σq with Q's entropy, and the literal objective, of the same model: means over the runs."""
    for driving in ("hmc", "kpt"):
        for suffix in ("", "-mc-kl", "-literal"):
            variant = VARIANTS[f"lip-flow-{driving}{suffix}"]
            own = [run for run in runs if run["variant"] == variant.name]
            if not own:
                continue
            figures = [_over_runs([run["scalars"].get(name) for run in own], digits) for name, digits in _SCALARS]
            read = [run["validation"] or {} for run in own]
            figures += [_over_runs([one.get(name) for one in read], digits) for name, digits in _VALIDATION]
            yield {
                "title": variant.title,
                "sigma_q": _SIGMAS[variant.sigma_q],
                "latent_loss": {"nll": "−log p (Eq. 9)", "mc-kl": "log q − log p"}[variant.latent_loss],
                "runs": len(own),
                "figures": figures,
            }


def _runaways(runs: Sequence[Json]) -> Iterator[str]:
    """Variants whose P spread until its cap held it, in words: that is what their rows tell of."""
    cap = math.exp(SIGMA_CAP)
    for variant in dict.fromkeys(run["variant"] for run in runs):
        own = [run for run in runs if run["variant"] == variant]
        sigmas = [run["scalars"].get("sigma_p") for run in own]
        if all(sigma is not None and sigma > _NEAR_CAP * cap for sigma in sigmas):
            low, high = min(sigmas), max(sigmas)
            yield f"{own[0]['title']}: σp {low:.0f} to {high:.0f}, and the cap is {cap:.0f}"


def _over_runs(values: Sequence[float | None], digits: int) -> dict[str, str]:
    given = [value for value in values if value is not None]
    if not given:
        return {"mean": "–", "range": ""}
    mean, low, high = (f"{x:.{digits}f}".replace("-", "−") for x in (sum(given) / len(given), min(given), max(given)))
    return {"mean": mean, "range": f"{low} … {high}" if len(given) > 1 else ""}


def _search_title(search: Json, results: Json) -> str:
    """The title of the row that was searched, its table and its subject."""
    rows = [row for t in results["tables"] if t["number"] == search["table"] for row in t["rows"]]
    title = next((row["title"] for row in rows if row["name"] == search["row"]), search["row"])
    return f"{title}, Table {search['table']}, {search['subject']}"


def _search(search: Json, title: str) -> Json:
    """One search as a table: the settings that differ between its candidates, and what they scored."""
    candidates = search["candidates"]
    names = [name for name in candidates[0] if name != "validation_psnr"]
    varied = [name for name in names if len({str(candidate.get(name)) for candidate in candidates}) > 1]
    order = sorted(range(len(candidates)), key=lambda k: -(candidates[k]["validation_psnr"] or float("-inf")))
    lines = []
    for k in order:
        score = candidates[k]["validation_psnr"]
        cells = [str(candidates[k].get(name)) for name in varied]
        lines.append({"chosen": k == search["chosen"], "cells": [*cells, "–" if score is None else f"{score:.2f}"]})
    columns = [*(name.replace("_", " ") for name in varied), "PSNR (dB)"]
    return {"title": title, "columns": columns, "lines": lines}
