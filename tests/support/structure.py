"""What a picture of the window is made of: compared in place of its pixels, which fonts and drivers make others.

A structure says where docks and views are (as fractions of the window), whether each shows anything (its distinct
colours), where the head stands on its canvas (box and area of its silhouette), and how much is drawn in each cell of a
grid (the mean step of brightness between neighbouring pixels). ``check`` compares a window with what is kept in
``tests/app/structure``, a file a journey; ``deviations`` says in a line each what is another.

After a change that was meant, look at the pictures (the failure names them), then write the files anew:

    LIPFLOW_WRITE_STRUCTURE=1 pytest tests/app/test_journeys.py tests/app/test_training.py
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QPoint, QRect
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QWidget
from scipy import ndimage

from lipflow_studio.demo import settle
from lipflow_studio.main_window import MainWindow

WRITE = "LIPFLOW_WRITE_STRUCTURE"
KEPT = Path(__file__).parents[1] / "app" / "structure"

PLACE = 0.04  # of the window that an edge of an area may be elsewhere; another font is a few pixels
COLOURS = 0.3  # of the expected number of colours that an area has at least: smoothing of text and faces differs
LEAST_COLOURS = 3  # a field with a frame has two
STANDS = 0.07  # of its canvas that an edge of the head may be elsewhere
AREA = 1.3  # times that the head may be larger or smaller
EDGES = 3.0  # times that a cell may hold more or less
NOTHING = 1.5  # grey levels of 255 a pixel that are no difference where next to nothing is drawn
GRID = 8  # cells along each side
LEAST_VIEW = 0.01  # of the window that a view within a panel fills, to be looked at by itself
STEP = 5  # grey levels of 255 between two pixels that are an outline: the background's are one or two
LEAST_HEAD = 0.01  # of its canvas

Box = tuple[float, float, float, float]  # left, top, width, height
Image = np.ndarray  # [H, W, 3] uint8


@dataclass(frozen=True)
class Area:
    """A dock, a row of the middle, or a view within them."""

    box: Box  # fractions of the window
    colours: int  # distinct ones, of 16 levels a channel


@dataclass(frozen=True)
class Head:
    """A face on its canvas."""

    box: Box  # of its silhouette, fractions of the canvas
    area: float  # of its silhouette, a fraction of the canvas; 0: there is none


@dataclass(frozen=True)
class Structure:
    """A picture of the window."""

    size: tuple[int, int]  # width, height in the screen's pixels
    areas: Mapping[str, Area]  # docks in front of others, rows of the middle: these and no others
    views: Mapping[str, Area]  # the larger views and panels within them: these at least
    heads: Mapping[str, Head]
    edges: tuple[tuple[float, ...], ...]  # GRID rows of GRID cells, grey levels of 255 a pixel


def check(window: MainWindow, name: str, out: Path) -> None:
    """Compare a window with the structure that is kept under ``journey/moment``; its picture goes to ``out``.

    Raises:
        AssertionError: with a line for each deviation.
    """
    settle(0.15)
    check_picture(window, window.picture().toImage(), name, out)


def check_picture(window: MainWindow, picture: QImage, name: str, out: Path) -> None:
    """``check``, for a picture that was taken just now."""
    file = out / f"{name.replace('/', '-')}.png"
    assert picture.save(str(file))
    found = measure(layout_of(window), pixels(picture))
    if os.environ.get(WRITE):
        keep(name, found)
        return
    lines = deviations(kept(name), found)
    assert not lines, "\n".join([f"{name} is not as it was (picture: {file}; if that is meant: {WRITE}=1)", *lines])


# What is there


@dataclass(frozen=True)
class Layout:
    """Where things are in a window, in the screen's pixels."""

    size: tuple[int, int]
    areas: Mapping[str, QRect]
    views: Mapping[str, QRect]
    canvases: Mapping[str, QRect]  # of each head


def layout_of(window: MainWindow) -> Layout:
    rows = {name: _rect(window, part) for name, part in _rows(window).items() if _is_seen(part)}
    docks = {name: _rect(window, dock) for name, dock in window.docks.items() if _is_seen(dock)}
    return Layout((window.width(), window.height()), rows | docks, dict(_views(window)), _canvases(window))


def measure(layout: Layout, picture: Image) -> Structure:
    """The structure of a window that is laid out so, and of its picture [H, W, 3]."""

    def areas(places: Mapping[str, QRect]) -> dict[str, Area]:
        return {
            name: Area(_fractions(where, *layout.size), colours_of(_cut(picture, where)))
            for name, where in places.items()
        }

    heads = {name: head_on(_cut(picture, where)) for name, where in layout.canvases.items()}
    return Structure(layout.size, areas(layout.areas), areas(layout.views), heads, edges_of(picture))


def pixels(picture: QImage) -> Image:
    """A picture in the screen's pixels, whatever its scale."""
    ratio = picture.devicePixelRatio()
    if ratio != 1:
        picture = picture.scaled(picture.size() / ratio)
    picture = picture.convertToFormat(QImage.Format.Format_RGB888)
    height, width = picture.height(), picture.width()
    flat = np.frombuffer(picture.constBits(), np.uint8).reshape(height, picture.bytesPerLine())
    return flat[:, : 3 * width].reshape(height, width, 3).copy()


def colours_of(picture: Image) -> int:
    """How many colours there are, of 16 levels a channel."""
    levels = (picture >> 4).astype(np.int64).reshape(-1, 3)
    return len(np.unique(levels @ [256, 16, 1]))


def head_on(canvas: Image) -> Head:
    """The largest thing on the canvas: what cannot be reached from its rim without a step of brightness or colour.

    The background has none: it is a soft light, whatever the theme. Thin lines over it (a divider) are nothing large.
    """
    height, width = canvas.shape[:2]
    levels = canvas.astype(np.int16)
    steps = np.zeros((height, width), np.int16)
    for axis in (0, 1):
        step = np.abs(np.diff(levels, axis=axis)).max(-1)
        ahead = [(0, 1), (0, 0)] if axis == 0 else [(0, 0), (0, 1)]
        behind = [(1, 0), (0, 0)] if axis == 0 else [(0, 0), (1, 0)]
        steps = np.maximum(steps, np.maximum(np.pad(step, ahead), np.pad(step, behind)))
    smooth = np.pad(ndimage.binary_erosion(steps < STEP, border_value=1), 1, constant_values=True)
    ground, _ = ndimage.label(smooth)
    apart = ground[1:-1, 1:-1] != ground[0, 0]
    solid = ndimage.binary_opening(apart, np.ones((7, 7)))
    labels, count = ndimage.label(solid)
    if not count:
        return Head((0.0, 0.0, 0.0, 0.0), 0.0)
    largest = 1 + int(np.argmax(ndimage.sum_labels(solid, labels, range(1, count + 1))))
    mask = labels == largest
    area = float(mask.mean())
    if area < LEAST_HEAD:
        return Head((0.0, 0.0, 0.0, 0.0), 0.0)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = QRect(QPoint(columns[0], rows[0]), QPoint(columns[-1], rows[-1]))
    return Head(_fractions(box, width, height), round(area, 3))


def edges_of(picture: Image) -> tuple[tuple[float, ...], ...]:
    """The mean step of brightness to the pixels right and below, of cells that overlap by half."""
    grey = picture.astype(np.float32).mean(-1)
    steps = np.zeros_like(grey)
    steps[:, :-1] += np.abs(np.diff(grey, axis=1))
    steps[:-1] += np.abs(np.diff(grey, axis=0))
    height, width = steps.shape
    down, across = (np.linspace(0, n, GRID + 1) for n in (height, width))

    def cell(row: int, column: int) -> float:
        top, bottom = _around(down[row], down[row + 1], height)
        left, right = _around(across[column], across[column + 1], width)
        return round(float(steps[top:bottom, left:right].mean()), 1)

    return tuple(tuple(cell(row, column) for column in range(GRID)) for row in range(GRID))


def _around(low: float, high: float, most: int) -> tuple[int, int]:
    more = (high - low) / 4
    return max(round(low - more), 0), min(round(high + more), most)


def _rows(window: MainWindow) -> dict[str, QWidget]:
    """What else stands in the window."""
    column = window.centralWidget()
    rows = [widget for widget in column.findChildren(QWidget) if widget.parent() is column]
    named = {type(row).__name__: row for row in rows if row is not window.middle}
    return {
        "menus": window.menuBar(),
        "notices": window.notices,
        "status": window.statusBar(),
        "middle, head": window.head,
        "middle, comparison": window.compare,
        **{f"middle, {name}": row for name, row in named.items()},
    }


def _views(window: MainWindow) -> Iterator[tuple[str, QRect]]:
    """The larger views and panels, named by their class."""
    least, seen = LEAST_VIEW * window.width() * window.height(), Counter[str]()
    for widget in window.findChildren(QWidget):
        own = type(widget).__module__.startswith(("lipflow_studio.views", "lipflow_studio.panels"))
        if own and widget.window() is window and _is_seen(widget) and widget.width() * widget.height() >= least:
            name = type(widget).__name__
            seen[name] += 1
            yield (name if seen[name] == 1 else f"{name} {seen[name]}"), _rect(window, widget)


def _canvases(window: MainWindow) -> dict[str, QRect]:
    """Where each head should be, in the window."""
    if _is_seen(window.head.canvas):
        return {"head": _rect(window, window.head.canvas)}
    canvas = window.compare.canvas
    if not _is_seen(canvas):
        return {}
    corner = _rect(window, canvas).topLeft()
    if canvas.is_split:
        return {"both heads": _rect(window, canvas)}
    return {f"head {place + 1}": where.translated(corner) for place, where in canvas.places()}


def _is_seen(widget: QWidget) -> bool:
    """Whether any of it is on the screen: the tabs behind another are "visible", too."""
    return widget.isVisible() and not widget.visibleRegion().isEmpty()


def _rect(window: MainWindow, widget: QWidget) -> QRect:
    return QRect(widget.mapTo(window, QPoint(0, 0)), widget.size())


def _cut(picture: Image, where: QRect) -> Image:
    top, left = max(where.top(), 0), max(where.left(), 0)
    return picture[top : where.bottom() + 1, left : where.right() + 1]


def _fractions(box: QRect, width: int, height: int) -> Box:
    left, right = box.left() / width, box.width() / width
    return round(left, 3), round(box.top() / height, 3), round(right, 3), round(box.height() / height, 3)


# What is another


def deviations(expected: Structure, found: Structure) -> list[str]:
    """A line for each."""
    return [
        *_sizes(expected, found),
        *_areas("area", expected.areas, found.areas),
        *(f"area {name}: expected none, got one" for name in found.areas if name not in expected.areas),
        *_areas("view", expected.views, found.views),
        *_heads(expected.heads, found.heads),
        *_cells(expected.edges, found.edges),
    ]


def _sizes(expected: Structure, found: Structure) -> Iterator[str]:
    if expected.size != found.size:
        yield "window: expected {}×{}, got {}×{}".format(*expected.size, *found.size)


def _areas(kind: str, expected: Mapping[str, Area], found: Mapping[str, Area]) -> Iterator[str]:
    for name, wanted in expected.items():
        got = found.get(name)
        if got is None:
            yield f"{kind} {name}: expected it to be seen, got nothing"
            continue
        if _moved(wanted.box, got.box) > PLACE:
            yield f"{kind} {name}: expected at {_words(wanted.box)} of the window, got {_words(got.box)}"
        least = max(LEAST_COLOURS, round(COLOURS * wanted.colours)) if wanted.colours >= LEAST_COLOURS else 1
        if got.colours < least:
            yield f"{kind} {name}: expected at least {least} colours, got {got.colours}: it is blank, or nearly"


def _heads(expected: Mapping[str, Head], found: Mapping[str, Head]) -> Iterator[str]:
    for name, wanted in expected.items():
        got = found.get(name, Head((0.0, 0.0, 0.0, 0.0), 0.0))
        if not got.area and wanted.area:
            yield f"{name}: expected a head on {100 * wanted.area:.0f} % of its canvas, got none"
            continue
        if _moved(wanted.box, got.box) > STANDS:
            yield f"{name}: expected it at {_words(wanted.box)} of its canvas, got {_words(got.box)}"
        if not wanted.area / AREA <= got.area <= wanted.area * AREA:
            yield f"{name}: expected it on {100 * wanted.area:.0f} % of its canvas, got {100 * got.area:.0f} %"


def _cells(expected: tuple[tuple[float, ...], ...], found: tuple[tuple[float, ...], ...]) -> Iterator[str]:
    for row, (wanted_row, got_row) in enumerate(zip(expected, found, strict=True)):
        for column, (wanted, got) in enumerate(zip(wanted_row, got_row, strict=True)):
            more = (got + NOTHING) / (wanted + NOTHING)
            if not 1 / EDGES <= more <= EDGES:
                at = f"row {row + 1} and column {column + 1} of {GRID}"
                yield f"edges in {at}: expected about {wanted:.1f} grey levels a pixel, got {got:.1f}"


def _moved(expected: Box, found: Box) -> float:
    """How far the edge of a box that went farthest did."""
    a, b = np.array(expected), np.array(found)
    return float(np.abs(np.concatenate([a[:2] - b[:2], a[:2] + a[2:] - b[:2] - b[2:]])).max())


def _words(box: Box) -> str:
    left, top, width, height = box
    return f"({left:.2f}, {top:.2f}), {width:.2f}×{height:.2f}"


# What is kept


def kept(name: str) -> Structure:
    """The structure of a moment of a journey.

    Raises:
        AssertionError: if there is none yet.
    """
    journey, moment = name.split("/")
    known = _load(journey)
    assert moment in known, f"{name}: no structure is kept; write it: {WRITE}=1"
    return from_json(known[moment])


def keep(name: str, structure: Structure) -> None:
    """Write it into its journey's file."""
    journey, moment = name.split("/")
    known = _load(journey) | {moment: to_json(structure)}
    KEPT.mkdir(exist_ok=True)
    lines = ",\n".join(f"{json.dumps(key)}: {_lines(known[key])}" for key in sorted(known))
    (KEPT / f"{journey}.json").write_text(f"{{\n{lines}\n}}\n")


def to_json(structure: Structure) -> dict[str, Any]:
    return json.loads(json.dumps(dataclasses.asdict(structure)))


def from_json(fields: Mapping[str, Any]) -> Structure:
    areas, views = ({name: _area_of(row) for name, row in fields[key].items()} for key in ("areas", "views"))
    heads = {name: Head(tuple(row["box"]), row["area"]) for name, row in fields["heads"].items()}
    return Structure(tuple(fields["size"]), areas, views, heads, tuple(tuple(row) for row in fields["edges"]))


def _area_of(row: Mapping[str, Any]) -> Area:
    return Area(tuple(row["box"]), row["colours"])


def _load(journey: str) -> dict[str, Any]:
    file = KEPT / f"{journey}.json"
    return json.loads(file.read_text()) if file.is_file() else {}


def _lines(fields: Mapping[str, Any]) -> str:
    """A line for each area and each row of cells: what is another is seen in a diff."""
    parts = []
    for key, value in fields.items():
        rows = [json.dumps(row) for row in value] if key == "edges" else None
        if isinstance(value, dict):
            rows = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in value.items()]
        inside = json.dumps(value) if rows is None else ",\n   ".join(rows)
        opening, closing = ("", "") if rows is None else ("{\n   ", "}") if isinstance(value, dict) else ("[\n   ", "]")
        parts.append(f"{json.dumps(key)}: {opening}{inside}{closing}")
    return "{\n  " + ",\n  ".join(parts) + "}"
