"""What the tables compare: each of their rows says which variant is judged, from what, and how its codes are found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from lipflow.fitting import FitConfig
from lipflow.variants import VARIANTS, Variant

Driving = Literal["hmc", "kpt"]
DRIVINGS: tuple[Driving, ...] = ("hmc", "kpt")
OF_DRIVING = {"hmc": "headset images", "kpt": "keypoints"}


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    name: str  # with what is fitted it says what is computed: equal names and sources give equal codes
    title: str
    variant: str | None  # None: no model made it
    method: Literal["fit", "decode-q", "decode-p", "mean-frame", "recorded"]
    source: Literal["hmc", "kpt", "frontal"] | None = None  # what a fit explains
    prior: Literal["avatar", "standard-normal"] = "avatar"  # of a fit
    start: Literal["prior", "zero"] | None = None  # of a fit; None: the one that was chosen on validation frames
    guess: Literal["prior", "encoder"] = "prior"  # whose guess the search tries as a start, beside 0
    likelihood: bool = True  # of a fit: whether −log p counts
    reference: bool = False  # the row that the table's others are paired with

    @property
    def key(self) -> tuple[str, str | None]:
        """Rows of equal keys share their codes."""
        return self.name, self.source

    @property
    def searched(self) -> Row:
        """The row whose fit is chosen on validation frames: an ablation of the fit changes that one thing of it."""
        return replace(self, name=f"{self.variant}/{_METHODS[self.prior]}", start=None, likelihood=True)

    def fitted(self, chosen: FitConfig) -> FitConfig:
        """The chosen fit, with what this row leaves out of it."""
        return replace(chosen, start=self.start or chosen.start, likelihood=self.likelihood)


@dataclass(frozen=True)
class Table:
    """One table for one driving signal."""

    number: int
    title: str
    driving: Driving
    rows: tuple[Row, ...]

    @property
    def reference(self) -> Row:
        return next(row for row in self.rows if row.reference)


_METHODS = {"avatar": "fit", "standard-normal": "fit-n01"}
_BOUNDS = (  # a floor, and a ceiling: what the tracked mesh at the models' resolution leaves to reach
    Row("mean-frame", "Mean frame", None, "mean-frame"),
    Row("recorded", "Recorded texture", None, "recorded"),
)


def _decoded(variant: Variant) -> Row:
    """Q's mean, or P's where Q is P."""
    has_q = variant.posterior == "capture"
    method: Literal["decode-q", "decode-p"] = "decode-q" if has_q else "decode-p"
    return Row(f"{variant.name}/{method}", variant.title, variant.name, method, reference=_is_reference(variant))


def _fit(variant: Variant, source: Literal["hmc", "kpt", "frontal"], prior: str, title: str = "") -> Row:
    own: Literal["avatar", "standard-normal"] = "avatar" if prior == "own" else "standard-normal"
    guess: Literal["prior", "encoder"] = "encoder" if own == "standard-normal" and variant.driving else "prior"
    name, title = f"{variant.name}/{_METHODS[own]}", title or variant.title
    return Row(name, title, variant.name, "fit", source, own, guess=guess, reference=_is_reference(variant))


def _is_reference(variant: Variant) -> bool:
    return variant.name in {f"lip-flow-{driving}" for driving in DRIVINGS}


def _compared(driving: str) -> Iterator[Variant]:
    """(a) to (e) of the paper."""
    yield VARIANTS["dam"]
    for name in ("dam-enc", "dam-reg", "lip-kl", "lip-flow"):
        yield VARIANTS[f"{name}-{driving}"]


def _codes(driving: Driving) -> Table:
    rows = (_decoded(variant) for variant in _compared(driving))
    return Table(1, "Codes of the training-time encoder, decoded", driving, (*_BOUNDS, *rows))


def _driven(driving: Driving) -> Table:
    number = {"hmc": 2, "kpt": 3}[driving]
    return Table(number, f"From {OF_DRIVING[driving]}", driving, (*_BOUNDS, *_driven_rows(driving)))


def _driven_rows(driving: Driving) -> Iterator[Row]:
    for variant in _compared(driving):
        if variant.decoded_directly:
            yield Row(f"{variant.name}/decode-p", variant.title, variant.name, "decode-p")
        else:
            yield _fit(variant, driving, "own")
        if variant.starts_from == "dam":  # the frozen decoder fitted under the regressor's prior
            yield _fit(variant, driving, "own", f"{variant.title} + fit")


def _frontal(driving: Driving) -> Table:
    rows: list[Row] = []
    for variant in _compared(driving):
        rows.append(_fit(variant, "frontal", variant.fit_prior))
        if variant.starts_from == "dam":
            rows.append(_fit(variant, "frontal", "own", f"{variant.title} + fit under its prior"))
    return Table(4, f"From a frontal view, {OF_DRIVING[driving]} driving the prior", driving, (*_BOUNDS, *rows))


def _ablation(driving: Driving) -> Table:
    full = _fit(VARIANTS[f"lip-flow-{driving}"], driving, "own")

    def without(name: str, title: str, **changes: str | bool) -> Row:
        return replace(full, name=f"{full.name}-{name}", title=f"{full.title} {title}", reference=False, **changes)  # type: ignore[arg-type]

    def trained(suffix: str) -> Row:
        return _fit(VARIANTS[f"lip-flow-{driving}-{suffix}"], driving, "own")

    rows = (
        full,
        trained("no-cycle"),
        trained("decode-p"),
        without("no-start", "− prior initialisation", start="zero"),
        without("no-likelihood", "− likelihood", likelihood=False),
        without("no-prior", "− both", start="zero", likelihood=False),
        _fit(VARIANTS["dam"], driving, "own"),
        trained("standard-normal"),
        trained("jittered"),
        trained("mc-kl"),
        trained("literal"),
    )
    return Table(5, f"Ablation of LiP-Flow, from {OF_DRIVING[driving]}", driving, rows)


TABLES: tuple[Table, ...] = tuple(
    table
    for table in (
        *(_codes(driving) for driving in DRIVINGS),
        *(_driven(driving) for driving in DRIVINGS),
        *(_frontal(driving) for driving in DRIVINGS),
        _ablation("hmc"),  # as in the paper
    )
)


def rows_of(variant: str | None, tables: tuple[int, ...]) -> dict[tuple[str, str | None], Row]:
    """All that is to be computed for a variant (None: without one), by key."""
    return {row.key: row for table in TABLES if table.number in tables for row in table.rows if row.variant == variant}
