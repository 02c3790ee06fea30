"""The way of a fit: its thread leaves each code here, the latent view reads them."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from lipflow_studio.document import FloatArray

LENGTH = 400  # codes that are kept; older ones are forgotten


@dataclass(frozen=True, eq=False)
class Stretch:
    """The newest codes of one fit."""

    fit: tuple[int, int]  # which fit: of which worker, and how often that began anew
    first: int  # how many codes of this fit came before the first one here
    codes: tuple[FloatArray, ...]  # each [Z], oldest first


class Trail:
    """One worker's. A fit that begins anew, or another one, leaves its own."""

    def __init__(self, worker: int = 0) -> None:
        self.worker = worker
        self._lock = threading.Lock()
        self._again = 0
        self._iteration = -1
        self._first = 0
        self._codes: list[FloatArray] = []

    def add(self, z: FloatArray, iteration: int) -> None:
        """The fit stands at ``z`` after so many iterations."""
        with self._lock:
            if iteration <= self._iteration:
                self._again, self._first, self._codes = self._again + 1, 0, []
            self._iteration = iteration
            self._codes.append(z)
            if len(self._codes) > LENGTH:
                self._codes.pop(0)
                self._first += 1

    def read(self) -> Stretch:
        with self._lock:
            return Stretch((self.worker, self._again), self._first, tuple(self._codes))


def joined(codes: tuple[FloatArray, ...], width: int) -> FloatArray:
    """Codes as one array [n, Z], which ``width`` gives where there is none."""
    return np.stack(codes) if codes else np.zeros((0, width), np.float32)
