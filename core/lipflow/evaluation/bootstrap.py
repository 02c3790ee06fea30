"""How sure a mean is: 95 % intervals by a bootstrap over held-out expressions and over seeds.

Frames of one expression are not independent, so whole expressions are drawn, and the runs of one subject likewise
(both with replacement, crossed: Owen 2007). An expression that several subjects performed is drawn for all of them at
once, since what makes it hard is the same; seeds are drawn for each subject. A mean is that over the drawn frames and
seeds of each subject, then over the subjects.

A percentile interval over a few expressions is too narrow. It is expanded as Hesterberg (2015) has it: the quantiles
are those at which Student's t with (expressions − 1) degrees of freedom, and a variance with that divisor, would be.
With a single expression there is no telling: the ends are None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, t

DRAWS = 2000
LEVEL = 0.95
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sample:
    """One figure of one subject's runs."""

    values: Floats  # [seeds, frames]; NaN where there is none
    expressions: tuple[str, ...]  # [frames]


@dataclass(frozen=True)
class Interval:
    """A mean and where it would lie in 95 % of such evaluations."""

    mean: float | None  # None where there is no figure at all
    low: float | None  # None: one expression alone does not tell
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        return dict(vars(self))


def interval(samples: Sequence[Sample], *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The mean over subjects and its interval; the same seed gives the same interval.

    Subjects with no figure at all are left out.
    """
    parts = [part for part in map(_Sums.of, samples) if part is not None]
    if not parts:
        return Interval(None, None, None)
    mean = float(np.mean([part.mean() for part in parts]))
    names = sorted({name for part in parts for name in part.names})
    if len(names) < 2:
        return Interval(mean, None, None)
    rng = np.random.default_rng(seed)
    shared = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)  # [draws, expressions]
    drawn = np.stack([part.means(shared[:, [names.index(n) for n in part.names]], rng) for part in parts])
    tail = expanded_tail(len(names))
    # A subject that performed none of the drawn expressions (they differ between subjects) is left out of that draw.
    counted = np.isfinite(drawn)
    means = np.where(counted, drawn, 0.0).sum(0)[counted.any(0)] / counted.sum(0)[counted.any(0)]
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(mean, float(low), float(high))


def paired(row: Sample, reference: Sample) -> Sample:
    """``row`` minus ``reference``, frame by frame; a sample of one seed stands beside every seed of the other.

    Raises:
        ValueError: if their frames or seeds differ.
    """
    if row.expressions != reference.expressions:
        raise ValueError("samples of different frames")
    return Sample(row.values - reference.values, row.expressions)


def expanded_tail(clusters: int) -> float:
    """The probability outside each end of the percentile interval that suits so many clusters."""
    reach = np.sqrt(clusters / (clusters - 1)) * t.ppf((1 + LEVEL) / 2, clusters - 1)
    return float(norm.cdf(-reach))


@dataclass(frozen=True, eq=False)
class _Sums:
    """One subject's figures, summed over the frames of each expression."""

    names: tuple[str, ...]  # [E]
    totals: Floats  # [S, E]
    counts: Floats  # [S, E] frames with a figure

    @staticmethod
    def of(sample: Sample) -> _Sums | None:
        """None where no figure is finite."""
        finite = np.isfinite(sample.values)
        if not finite.any():
            return None
        names = tuple(sorted({n for k, n in enumerate(sample.expressions) if finite[:, k].any()}))
        belongs = np.array([[own == name for name in names] for own in sample.expressions], dtype=np.float64)  # [F, E]
        return _Sums(names, np.where(finite, sample.values, 0.0) @ belongs, finite.astype(np.float64) @ belongs)

    def mean(self) -> float:
        return float(self.totals.sum() / self.counts.sum())

    def means(self, expressions: npt.NDArray[np.int64], rng: np.random.Generator) -> Floats:
        """The mean for each drawn multiset of expressions [draws, E] and as many drawn of seeds: [draws]."""
        runs = len(self.totals)
        seeds = rng.multinomial(runs, np.full(runs, 1 / runs), size=len(expressions))  # [draws, S]
        total = np.einsum("ds,se,de->d", seeds, self.totals, expressions, optimize=True)
        count = np.einsum("ds,se,de->d", seeds, self.counts, expressions, optimize=True)
        return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
