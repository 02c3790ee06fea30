"""What the report shows beside its tables: faces of a few test frames, fitting curves, draws in P and in Q.

Exhibits are made from trained avatars and captures once (``making_exhibits``), kept in one file beside the report,
and read back by it: a report is laid out anew without fitting anything again.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lipflow.checks import InputError
from lipflow.files import replacing

FILE = "exhibits.npz"
FORMAT = "lipflow-exhibits"
VERSION = 1
ERROR_SCALE = 0.25  # absolute error, in display gamma, at the upper end of the error maps

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture of a strip."""

    title: str
    variant: str | None  # None: recorded, not made by a model
    picture: Picture  # [H, W, 3] display gamma
    error: Picture | None  # [H, W] mean absolute error in display gamma, 255 = ERROR_SCALE; None: of inputs
    psnr: float | None  # dB of this picture alone, inside the mask
    geom_mm: float | None  # of this face alone


@dataclass(frozen=True, eq=False)
class Strip:
    """One test frame through the models, as in Fig. 2: target, input, models, ground truth."""

    subject: str
    expression: str
    frame: int
    camera: str  # of the pictures
    table: int  # whose protocol and fit settings were followed
    driving: str  # of that table
    panels: tuple[Panel, ...]


@dataclass(frozen=True, eq=False)
class Curve:
    """One model's fits to the strips' frames of one table, by iteration."""

    table: int
    driving: str  # of that table
    variant: str
    title: str
    iterations: npt.NDArray[np.int64]  # [n]
    data_energy: Floats  # [frames, n]
    negative_log_prior: Floats  # [frames, n] nats
    psnr: Floats  # [frames, n] dB, mean over the evaluation's views


@dataclass(frozen=True, eq=False)
class PlaneCodes:
    """Draws from one avatar's prior for several inputs, in the principal planes of P and of Q (Fig. 7)."""

    subject: str
    seed: int
    variant: str
    title: str
    inputs: tuple[str, ...]  # the expression of each input
    labels: npt.NDArray[np.int64]  # [N] index of the input
    p: Floats  # [N, 2]
    q: Floats  # [N, 2]
    share_p: Floats  # [2] of the variance
    share_q: Floats  # [2]
    silhouette_p: float  # of the inputs' clusters, from all dimensions of the codes; in [-1, 1]
    silhouette_q: float
    plane_silhouette_p: float  # the same, from the two that are drawn
    plane_silhouette_q: float

    @property
    def one_space(self) -> bool:
        """Whether P and Q are the same, as for every prior but a flow."""
        return np.array_equal(self.p, self.q)


@dataclass(frozen=True, eq=False)
class Exhibits:
    """All of them."""

    source: str  # fingerprint of the runs and settings that they were made from
    strips: tuple[Strip, ...]
    curves: tuple[Curve, ...]
    codes: tuple[PlaneCodes, ...]

    def clusters(self) -> list[dict[str, Any]]:
        """The figures behind Fig. 7, as results.json holds them."""
        return [
            {
                "subject": codes.subject,
                "seed": codes.seed,
                "variant": codes.variant,
                "title": codes.title,
                "inputs": len(codes.inputs),
                "codes": len(codes.labels) // max(len(codes.inputs), 1),
                "silhouette": {"p": codes.silhouette_p, "q": codes.silhouette_q},
                "plane_silhouette": {"p": codes.plane_silhouette_p, "q": codes.plane_silhouette_q},
                "share": {"p": [float(x) for x in codes.share_p], "q": [float(x) for x in codes.share_q]},
            }
            for codes in self.codes
        ]

    def save(self, path: Path) -> None:
        """One ``.npz`` file: arrays, and a JSON text that says which is which."""
        arrays: dict[str, np.ndarray] = {}
        body = {"format": FORMAT, "version": VERSION, **_packed(vars(self), "", arrays)}
        with replacing(path) as beside:
            np.savez_compressed(beside, about=np.array(json.dumps(body)), **arrays)  # type: ignore[arg-type]

    @staticmethod
    def load(path: Path) -> Exhibits:
        """Read what ``save`` wrote.

        Raises:
            InputError: if the file is missing, damaged or another's.
        """
        if not path.exists():
            mend = "`lipflow evaluate` makes it from the runs and captures; `lipflow report --no-exhibits` needs none"
            raise InputError(f"exhibits {path}", expected="a file", got="none there", mend=mend)
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            body = _unpacked(json.loads(str(arrays.pop("about"))), arrays)
            if (body["format"], body["version"]) != (FORMAT, VERSION):
                raise ValueError(f"{body['format']} {body['version']}")
            strips = ({**strip, "panels": tuple(Panel(**p) for p in strip["panels"])} for strip in body["strips"])
            codes = ({**codes, "inputs": tuple(codes["inputs"])} for codes in body["codes"])
            return Exhibits(
                str(body["source"]),
                tuple(Strip(**strip) for strip in strips),
                tuple(Curve(**curve) for curve in body["curves"]),
                tuple(PlaneCodes(**one) for one in codes),
            )
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            got = " ".join(f"{type(error).__name__} {error}".split())
            mend = "delete it: it is made again from the runs and captures"
            raise InputError(f"exhibits {path}", expected="a whole file", got=got, mend=mend) from error


def _packed(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """JSON values; arrays are put aside and stand as {"array": name}."""
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, tuple | list):
        return [_packed(one, f"{name}.{k}", arrays) for k, one in enumerate(value)]
    if isinstance(value, dict):
        return {key: _packed(one, f"{name}.{key}".lstrip("."), arrays) for key, one in value.items()}
    return value if value is None or isinstance(value, str | int | float) else _packed(vars(value), name, arrays)


def _unpacked(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_unpacked(one, arrays) for one in value]
    if isinstance(value, dict):
        if set(value) == {"array"}:
            return arrays[value["array"]]
        return {name: _unpacked(one, arrays) for name, one in value.items()}
    return value
