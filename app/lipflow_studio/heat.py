"""Millimetres on the head: a number a vertex, as colours show it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lipflow_studio.document import FloatArray

MOST = 0.98  # of the vertices are within the scale; the rest have its last colour
STEPS = (1.0, 2.0, 5.0, 10.0)  # of a scale's end, times a power of ten


@dataclass(frozen=True, eq=False)
class Heat:
    """What a heat-map shows, and how it is called."""

    values: FloatArray  # [V] mm
    title: str
    note: str  # what it refers to
    colours: str  # a colour scale of pyqtgraph

    @cached_property
    def top(self) -> float:
        """Where the scale ends, mm: a round number, so that it stands still while a fit goes on."""
        high = max(float(np.quantile(self.values, MOST)) * (1 - 1e-4), 1e-3)  # 5.00001 is 5
        decade = 10.0 ** np.floor(np.log10(high))
        return next(float(step * decade) for step in STEPS if step * decade >= high)
