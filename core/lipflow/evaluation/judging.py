"""Figures of full renders from the left, the front and the right beside what the dome's cameras saw there.

Renders are drawn as a sensor sees them (``render_smoothly``): against a photograph, the stairs of a render with one
sample a pixel would cost more than most of what the models differ by.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from lipflow.checks import InputError
from lipflow.evaluation.codes import Codes, Judged, chunks
from lipflow.evaluation.frames import EvaluationFrames, Indices, Truth
from lipflow.evaluation.metrics import psnr, ssim, vertex_error_mm, vertex_error_normalised
from lipflow.files import replacing
from lipflow.rendering import Renderer, render_smoothly

Surface = Callable[[slice, Truth], tuple[Tensor, Tensor]]
"""Some of the frames to judge and their truth from one view -> vertices [B, V, 3] mm and textures [B, 3, T, T]."""


@dataclass(frozen=True)
class Figures:
    """One frame from one camera; a figure that cannot be told (an empty mask) is NaN."""

    expression: str
    frame: int  # its number in the capture
    camera: str  # view: front, left or right
    psnr: float  # dB, display gamma, inside the mask
    ssim: float
    geom: float  # mean squared vertex distance, in units of the capture's vertex standard deviation
    geom_mm: float  # mean vertex distance


@dataclass(frozen=True)
class Record:
    """One line of frames.csv: figures and what they are of."""

    subject: str
    variant: str  # "" for what no model made
    seed: int | None  # None for what no model made
    table: int
    row: str
    split: str
    expression: str
    frame: int
    camera: str
    psnr: float
    ssim: float
    geom: float
    geom_mm: float
    ms: float
    config_hash: str

    @staticmethod
    def of(
        figures: Figures,
        subject: str,
        variant: str,
        seed: int | None,
        table: int,
        row: str,
        *,
        ms: float,
        config_hash: str,
    ) -> Record:
        return Record(subject, variant, seed, table, row, split="test", ms=ms, config_hash=config_hash, **vars(figures))


COLUMNS = tuple(f.name for f in fields(Record))


def judge(judged: Judged, codes: Codes, indices: Indices) -> list[Figures]:
    """Figures of the codes for some frames [N], from every view."""

    def surface(part: slice, truth: Truth) -> tuple[Tensor, Tensor]:
        decoded = judged.avatar.decode(codes.z[part], truth.camera.view)
        return decoded.vertices, decoded.texture

    return judge_surface(surface, judged.frames, judged.renderer, indices, judged.device)


@torch.no_grad()
def judge_surface(
    surface: Surface,
    frames: EvaluationFrames,
    renderer: Renderer,
    indices: Indices,
    device: torch.device | str = "cpu",
) -> list[Figures]:
    """Figures of whatever draws the frames [N], from every view; a few frames are in memory at a time."""
    packed, figures, first = frames.packed, [], 0
    for chunk in chunks(indices):
        part = slice(first, first + len(chunk))
        first += len(chunk)
        for view, _ in frames.cameras:
            truth = frames.truth(chunk, view, device)
            vertices, texture = surface(part, truth)
            drawn = render_smoothly(renderer, vertices, texture, truth.camera)
            columns = (
                psnr(drawn, truth.photo, truth.mask).tolist(),
                ssim(drawn, truth.photo, truth.mask).tolist(),
                vertex_error_normalised(vertices, truth.vertices, packed.statistics.vertex_std).tolist(),
                vertex_error_mm(vertices, truth.vertices).tolist(),
            )
            for index, values in zip(chunk, zip(*columns)):
                id = packed.frames[int(index)]
                figures.append(Figures(id.segment, id.number, view, *values))
    return figures


def mean_psnr(figures: Sequence[Figures]) -> float:
    """The mean over all frames and views that have one; NaN where none has."""
    values = [figure.psnr for figure in figures if math.isfinite(figure.psnr)]
    return sum(values) / len(values) if values else math.nan


def mean_frame(frames: EvaluationFrames, device: torch.device | str = "cpu") -> Surface:
    """The training frames' mean mesh, with their mean texture over the frames in which a texel was seen."""
    packed, train = frames.packed, frames.indices("train")
    if len(train) == 0:
        raise InputError(f"capture {packed.name}", expected="frames in the train split", got="none")
    sums: list[Tensor] = []
    for chunk in chunks(train):
        batch = packed.batch(chunk, 0, device)
        textures = batch.average_texture
        parts = [part.sum(0) for part in (batch.vertices, textures, (textures > 0).float())]
        sums = parts if not sums else [before + part for before, part in zip(sums, parts)]
    vertices, texture, seen = sums
    mesh, mean = vertices / len(train), texture / seen.clamp_min(1.0)

    def surface(part: slice, truth: Truth) -> tuple[Tensor, Tensor]:
        count = len(truth.camera)
        return mesh.expand(count, -1, -1), mean.expand(count, -1, -1, -1)

    return surface


def recorded(part: slice, truth: Truth) -> tuple[Tensor, Tensor]:
    """What was recorded itself: the tracked mesh with the texture that the camera saw."""
    return truth.vertices, truth.texture


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write frames.csv, atomically."""
    with replacing(path) as beside, beside.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(_rounded(asdict(record)) for record in records)


def read_records(path: Path) -> list[Record]:
    """Read a frames.csv.

    Raises:
        InputError: if it is another kind of file.
    """
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise InputError(f"{path}", expected=f"columns {', '.join(COLUMNS)}", got=reader.fieldnames)
        try:
            return [_record(line) for line in reader]
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}", expected="numbers where there should be", got=error) from error


def _rounded(line: dict[str, object]) -> dict[str, object]:
    return {k: f"{v:.7g}" if isinstance(v, float) else "" if v is None else v for k, v in line.items()}


def _record(line: dict[str, str]) -> Record:
    """One line of text with its numbers read."""
    numbers = {name: float(line[name]) for name in ("psnr", "ssim", "geom", "geom_mm", "ms")}
    counts = {name: int(line[name]) for name in ("table", "frame")}
    seed = int(line["seed"]) if line["seed"] else None
    texts = {name: line[name] for name in COLUMNS if name not in numbers | counts | {"seed": 0}}
    return Record(**texts, **counts, **numbers, seed=seed)  # type: ignore[arg-type]
