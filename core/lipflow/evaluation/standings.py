"""Who leads a table, told with its intervals: a difference that could be none is a tie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Measure:
    """A column of Tables 1–5."""

    key: str  # in results.json
    title: str
    unit: str
    digits: int
    higher_is_better: bool


MEASURES = (
    Measure("psnr", "PSNR", "dB", 2, True),
    Measure("ssim", "SSIM", "", 4, True),
    Measure("geom", "Geom", "normalised²", 4, False),
    Measure("geom_mm", "Geom", "mm", 3, False),
)

# The order in the paper by PSNR, best first, as rows' names: for orientation, its captures are other people's.
PAPER_ORDER: dict[tuple[int, str], tuple[str, ...]] = {
    (1, "hmc"): ("lip-flow-hmc/decode-q", "dam/decode-q", "lip-kl-hmc/decode-q", "dam-enc-hmc/decode-p"),
    (1, "kpt"): ("lip-flow-kpt/decode-q", "dam/decode-q", "lip-kl-kpt/decode-q", "dam-enc-kpt/decode-p"),
    (2, "hmc"): ("lip-flow-hmc/fit", "lip-kl-hmc/fit", "dam-reg-hmc/decode-p", "dam-enc-hmc/decode-p", "dam/fit"),
    (3, "kpt"): ("lip-flow-kpt/fit", "lip-kl-kpt/fit", "dam-reg-kpt/decode-p", "dam-enc-kpt/decode-p", "dam/fit"),
    (4, "hmc"): ("lip-flow-hmc/fit", "dam-reg-hmc/fit-n01", "lip-kl-hmc/fit", "dam-enc-hmc/fit-n01", "dam/fit"),
    (4, "kpt"): ("lip-flow-kpt/fit", "dam-reg-kpt/fit-n01", "lip-kl-kpt/fit", "dam/fit", "dam-enc-kpt/fit-n01"),
    (5, "hmc"): (
        "lip-flow-hmc/fit",
        "lip-flow-hmc-no-cycle/fit",
        "lip-flow-hmc-decode-p/fit",
        "lip-flow-hmc/fit-no-start",
        "dam/fit",
        "lip-flow-hmc/fit-no-likelihood",
        "lip-flow-hmc/fit-no-prior",
    ),
}


@dataclass(frozen=True)
class Standing:
    """Who leads a table in one measure."""

    best: Json  # the row with the best mean
    tied: tuple[Json, ...]  # rows that cannot be told apart from it

    @property
    def alone(self) -> bool:
        return not self.tied


def told(value: Json) -> bool:
    """Whether there is an interval: one expression alone has none."""
    return value.get("low") is not None and value.get("high") is not None


def verdict(paired: Json | None, measure: Measure) -> str:
    """How a row stands against the reference: "better", "worse" or "tied"; "" where no interval tells."""
    if paired is None or not told(paired):
        return ""
    if paired["low"] <= 0 <= paired["high"]:
        return "tied"
    return "better" if (paired["low"] > 0) == measure.higher_is_better else "worse"


def standing(rows: list[Json], measure: Measure) -> Standing | None:
    """The model with the best mean, and who is tied with it; ``None`` for a table without rows.

    Differences are known against the reference row only. Against it, a tie is a paired interval that includes 0; two
    other rows count as tied where their paired intervals overlap, which is on the safe side. A row without an
    interval is tied with any.
    """
    models = [row for row in rows if row["variant"] is not None]  # floor and ceiling are none
    rows = [row for row in models if row[measure.key] and row[measure.key]["mean"] is not None]
    if not rows:
        return None
    sign = 1 if measure.higher_is_better else -1
    best = max(rows, key=lambda row: sign * row[measure.key]["mean"])
    return Standing(best, tuple(row for row in rows if row is not best and _tied(row, best, measure.key)))


def _tied(row: Json, best: Json, key: str) -> bool:
    a, b = _difference(row, key), _difference(best, key)
    if not (told(a) and told(b)):  # never paired: their own intervals must do
        a, b = row[key], best[key]
    if not (told(a) and told(b)):
        return True
    return a["low"] <= b["high"] and b["low"] <= a["high"]


def _difference(row: Json, key: str) -> Json:
    """To the reference; of that itself it is 0."""
    return {"low": 0.0, "high": 0.0} if row["reference"] else (row["paired"] or {}).get(key) or {}


def by_psnr(rows: list[Json]) -> list[Json]:
    """Best first; rows without a PSNR are left out."""
    return sorted((row for row in rows if row["psnr"]["mean"] is not None), key=lambda row: -row["psnr"]["mean"])


def order_in_the_paper(table: Json) -> tuple[list[Json], list[Json]] | None:
    """The rows that the paper has too, in its order and in ours; ``None`` where fewer than two are."""
    known = {row["name"]: row for row in table["rows"]}
    names = PAPER_ORDER.get((table["number"], table["driving"]), ())
    theirs = [known[name] for name in names if name in known]
    return (theirs, by_psnr(theirs)) if len(theirs) > 1 else None
