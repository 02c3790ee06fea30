"""The report's figures. Each function takes what was measured and returns inline SVG; none computes a result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from lipflow.evaluation.calibration import CalibrationConfig
from lipflow.evaluation.drawing import (
    INK,
    MUTED,
    PAPER,
    WIDTH,
    figure,
    look_of,
    marker_face,
    only_horizontal_grid,
    only_vertical_grid,
    svg,
)
from lipflow.evaluation.exhibits import Curve, PlaneCodes
from lipflow.evaluation.protocols import OF_DRIVING
from lipflow.evaluation.standings import told
from lipflow.variants import VARIANTS

Json = dict[str, Any]

_PANELS = (  # of a table: what, its axis' title, whether paired
    ("psnr", "PSNR (dB), higher is better", False),
    ("geom_mm", "Geometry error (mm), lower is better", False),
    ("psnr", "PSNR minus {reference} (dB), paired", True),
)
_AXES = {
    "landmarks": ("Landmarks given (of 136)", "{:g}"),
    "noise": ("Noise of the landmarks (pixels)", "{:g}"),
    "views": ("Headset views given (of 3)", "{:g}"),
}
_MEASURES = {"psnr": "PSNR (dB)", "geom_mm": "Geometry error (mm)"}


def table_figure(table: Json, name: str) -> str:
    """Dots with 95 % intervals beside each other: PSNR, geometry error, paired difference to the reference row."""
    rows = table["rows"]
    reference = next((row["title"] for row in rows if row["reference"]), "the reference")
    with figure(0.75 + 0.27 * len(rows)) as drawn:
        panels = drawn.subplots(1, len(_PANELS), sharey=True)
        for axes, (measure, title, paired) in zip(panels, _PANELS):
            only_vertical_grid(axes)
            values = [(row["paired"] or {}).get(measure) if paired else row[measure] for row in rows]
            if paired:
                axes.axvline(0, color=INK, linewidth=0.9)
            _dots(axes, rows, [_drawable(value) for value in values])
            axes.set_title(title.format(reference=reference))
            axes.margins(x=0.08)
            axes.xaxis.set_major_locator(MaxNLocator(5))
        panels[0].set_yticks(range(len(rows)), [row["title"] for row in rows])
        panels[0].set_ylim(len(rows) - 0.5, -0.5)
        for axes in panels:
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
        return svg(drawn, name, f"Table {table['number']} as dots with 95 % intervals")


def _drawable(value: Json | None) -> Json | None:
    """A mean without an interval is drawn as a dot alone; no mean, not at all."""
    if value is None or value["mean"] is None:
        return None
    return value if told(value) else {"mean": value["mean"], "low": value["mean"], "high": value["mean"]}


def _dots(axes: Axes, rows: Sequence[Json], values: Sequence[Json | None]) -> None:
    """One dot a row; floor and ceiling far from the models are shown at the edge with their value, not at scale."""
    near = [v for row, v in zip(rows, values) if v is not None and row["variant"] is not None]
    low, high = (min(v["low"] for v in near), max(v["high"] for v in near)) if near else (0.0, 1.0)
    reach = max(high - low, 1e-6)
    for y, (row, value) in enumerate(zip(rows, values)):
        if value is None:
            continue
        look = look_of(row["variant"])
        if value["high"] < low - reach or value["low"] > high + reach:
            _beyond(axes, y, value, look.colour, low if value["high"] < low else high)
            continue
        axes.plot([value["low"], value["high"]], [y, y], color=look.colour, linewidth=2.2, solid_capstyle="round")
        face = marker_face(look, row["method"])
        axes.plot(value["mean"], y, marker=look.marker, color=look.colour, markerfacecolor=face, markersize=6.5)


def _beyond(axes: Axes, y: int, value: Json, colour: str, edge: float) -> None:
    """An arrow at the edge, with the mean that lies beyond it."""
    left = value["mean"] < edge
    axes.plot(edge, y, marker="<" if left else ">", color=colour, markersize=6, clip_on=False)
    text, align = f"{value['mean']:.2f}".replace("-", "−"), "left" if left else "right"
    where: Json = {"xytext": (7 if left else -7, 0), "textcoords": "offset points", "ha": align, "va": "center"}
    axes.annotate(text, (edge, y), fontsize=8, color=MUTED, **where)


def impoverishment_figure(entries: Sequence[Json], name: str = "impoverishment") -> str:
    """PSNR and geometry error against how little is given, one line a model with its 95 % interval."""
    groups: dict[tuple[str, str], list[Json]] = {}
    for entry in entries:
        groups.setdefault((entry["driving"], entry["axis"]), []).append(entry)
    with figure(5.0) as drawn:
        grid = drawn.subplots(2, len(groups), squeeze=False, sharex="col")
        shown: dict[str, Any] = {}
        for column, ((_, axis), group) in enumerate(groups.items()):
            levels = sorted({entry["level"] for entry in group}, reverse=axis != "noise")
            title, text = _AXES.get(axis, (axis, "{:g}"))
            models = sorted({(entry["row"], entry["title"]) for entry in group})
            for row, (measure, label) in enumerate(_MEASURES.items()):
                axes = grid[row][column]
                only_horizontal_grid(axes)
                for k, (model, model_title) in enumerate(models):
                    points = {entry["level"]: entry[measure] for entry in group if entry["row"] == model}
                    shift = 0.09 * (k - (len(models) - 1) / 2)  # so that intervals do not hide each other
                    line = _line(axes, model, [_drawable(points.get(level)) for level in levels], shift)
                    shown.setdefault(_undriven(model_title), line)
                if column == 0:
                    axes.set_ylabel(label)
            grid[0][column].set_title(f"{title.split(' (')[0]}, from {OF_DRIVING[group[0]['driving']]}")
            grid[1][column].set_xticks(range(len(levels)), [text.format(level) for level in levels])
            grid[1][column].set_xlabel(title)
        drawn.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=min(len(shown), 6))
        return svg(drawn, name, "Quality of the fit against how impoverished its input is, a line a model")


def _undriven(title: str) -> str:
    """A title without its driving signal: one entry of the legend for both."""
    return title.replace("-HMC", "").replace("-KPT", "")


def _line(axes: Axes, row: str, values: Sequence[Json | None], shift: float) -> Any:
    look = look_of(row.split("/")[0])
    face = marker_face(look, row.split("/")[-1])
    x = [k + shift for k, value in enumerate(values) if value is not None]
    given = [value for value in values if value is not None]
    for at, value in zip(x, given):
        axes.plot([at, at], [value["low"], value["high"]], color=look.colour, linewidth=1.2, alpha=0.7)
    style: Json = {"color": look.colour, "marker": look.marker, "linestyle": look.dashes, "markerfacecolor": face}
    return axes.plot(x, [value["mean"] for value in given], markersize=5.5, **style)[0]


def curves_figure(curves: Sequence[Curve], name: str) -> str:
    """Energies and PSNR against the truth by iteration: thin lines are single frames, thick ones their mean."""
    panels = (
        ("data_energy", "Data energy (½ Σ residual² / σ²)"),
        ("negative_log_prior", "−log p of the code (nats)"),
        ("psnr", "PSNR against the truth (dB)"),
    )
    with figure(3.1) as drawn:
        shown: dict[str, Any] = {}
        for axes, (field, title) in zip(drawn.subplots(1, len(panels)), panels):
            everything = np.concatenate([getattr(curve, field).ravel() for curve in curves])
            decades = 0 < 10 * everything.min() < everything.max()
            axes.set_yscale("log" if decades else "linear")
            for curve in curves:
                look = look_of(curve.variant)
                lines = getattr(curve, field)  # [frames, iterations]
                axes.plot(curve.iterations, lines.T, color=look.colour, linewidth=0.6, alpha=0.45)
                mean = np.exp(np.log(lines).mean(0)) if decades else lines.mean(0)
                style: Json = {"color": look.colour, "linestyle": look.dashes, "marker": look.marker, "markersize": 4}
                line = axes.plot(curve.iterations, mean, linewidth=2, markevery=[0, len(mean) - 1], **style)[0]
                shown.setdefault(curve.title, line)
            axes.set_title(title)
            axes.set_xlabel("Iteration")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        drawn.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=min(len(shown), 6))
        return svg(drawn, name, "Fitting curves: energies and PSNR by iteration, a colour a model")


def latent_figure(codes: PlaneCodes, name: str) -> str:
    """Fig. 7: draws from the prior for several inputs, one colour an input, in P and the same draws in Q.

    Where P and Q are one space, it is drawn once.
    """
    spaces = [("P, the prior's space", codes.p, codes.share_p), ("Q, the decoder's space", codes.q, codes.share_q)]
    if codes.one_space:
        spaces = [("P and Q, one space", codes.q, codes.share_q)]
    with figure(4.6, WIDTH * len(spaces) / 2) as drawn:
        for axes, (title, plane, share) in zip(drawn.subplots(1, len(spaces), squeeze=False)[0], spaces):
            _clusters(axes, plane, codes.labels, len(codes.inputs))
            axes.set_title(title)
            axes.set_xlabel(f"1st principal component ({share[0]:.0%} of the variance)")
            axes.set_ylabel(f"2nd ({share[1]:.0%})")
            axes.set_aspect("equal", adjustable="datalim")
        inputs = len(codes.inputs)
        return svg(drawn, name, f"{codes.title}: codes drawn for {inputs} inputs, in P and in Q, in PCA")


def _clusters(axes: Axes, plane: np.ndarray, labels: np.ndarray, inputs: int) -> None:
    colours = input_colours(inputs)
    axes.scatter(
        plane[:, 0], plane[:, 1], s=7, c=[colours[int(k)] for k in labels], linewidths=0, alpha=0.75, rasterized=True
    )
    for k in range(inputs):
        x, y = np.median(plane[labels == k], axis=0)
        box = {"boxstyle": "circle,pad=0.18", "facecolor": PAPER, "edgecolor": colours[k], "linewidth": 1.1}
        axes.text(x, y, str(k + 1), ha="center", va="center", fontsize=7, bbox=box)


def input_colours(count: int) -> list[str]:
    """One colour an input; the numbers in the figure tell apart what colours alone cannot."""
    table = matplotlib.colormaps["tab20"]
    order = [k for k in (*range(0, 20, 2), *range(1, 20, 2)) if k not in (14, 15)]  # without the greys
    return [matplotlib.colors.to_hex(table(order[k % len(order)])) for k in range(count)]


def calibration_figure(entries: Sequence[Json]) -> str:
    """Share of the true vertices inside the posterior's central intervals, against the intervals' nominal share.

    Each entry has a ``variant``, a ``title``, ``nominal`` shares in rising order, and as many ``coverage`` intervals.
    """
    groups: dict[str, list[Json]] = {}
    for entry in entries:
        # An avatar that nothing drives is fitted to what the config says.
        groups.setdefault(VARIANTS[entry["variant"]].driving or CalibrationConfig.driving, []).append(entry)
    with figure(4.3, WIDTH if len(groups) > 1 else 0.5 * WIDTH) as drawn:
        for axes, (driving, group) in zip(drawn.subplots(1, len(groups), squeeze=False)[0], groups.items()):
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            axes.text(0.03, 0.07, "calibrated", rotation=45, rotation_mode="anchor", color=MUTED, fontsize=8)
            for entry in group:
                _coverage(axes, entry)
            axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="Nominal share", title=f"From {OF_DRIVING[driving]}")
            axes.set_aspect("equal")
            axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.16), borderaxespad=0.0)
        drawn.axes[0].set_ylabel("Share of true vertices inside")
        return svg(drawn, "calibration", "Coverage of the true vertices by posterior intervals against nominal")


def _coverage(axes: Axes, entry: Json) -> None:
    look = look_of(entry["variant"])
    points = [_drawable(point) or {} for point in entry["coverage"]]
    mean, low, high = ([point.get(k, math.nan) for point in points] for k in ("mean", "low", "high"))
    axes.fill_between(entry["nominal"], low, high, color=look.colour, alpha=0.18, linewidth=0)
    style: Json = {"color": look.colour, "marker": look.marker, "linestyle": look.dashes}
    if entry.get("kind") == "codes":  # beside the same model's, with the decoder's error
        style["markerfacecolor"] = PAPER
    axes.plot(entry["nominal"], mean, label=entry["title"], markersize=5, **style)


def search_figure(searches: Sequence[Json], titles: Sequence[str]) -> str:
    """Every candidate's PSNR on validation frames, one row a search, the chosen one ringed."""
    with figure(0.75 + 0.24 * len(searches)) as drawn:
        axes = drawn.subplots()
        only_vertical_grid(axes)
        for y, search in enumerate(searches):
            look = look_of(search["variant"])
            values = [candidate["validation_psnr"] for candidate in search["candidates"]]
            finite = [v for v in values if v is not None and math.isfinite(v)]
            axes.plot(finite, [y] * len(finite), linestyle="", marker="|", markersize=9, color=look.colour, alpha=0.8)
            chosen = values[search["chosen"]]
            axes.plot(chosen, y, marker="o", markersize=9, markerfacecolor="none", color=look.colour)
        axes.set_yticks(range(len(searches)), titles)
        axes.set_ylim(len(searches) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_title("PSNR on validation frames (dB) of every candidate; the ring is the choice")
        return svg(drawn, "search", "PSNR on validation frames of every candidate fit")
