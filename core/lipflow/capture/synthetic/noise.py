"""Deterministic noise on points in space: value noise, fractal sums and cellular noise from one integer hash.

No random state: a value depends on the point, the frequency and the seed only, so that a subject is the same on
every machine, whatever the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

_CHUNK = 1 << 15  # points a task; small enough that two cores share the work evenly


@numba.njit(cache=True, nogil=True, inline="always")
def _hash(i: int, j: int, k: int, seed: int) -> float:
    """A number in [0, 1) for a lattice point: xor-shift-multiply rounds on 32 bits (wrapping 64-bit products)."""
    n = (i * 374761393 + j * 668265263 + k * 2147483647 + seed * 1274126177) & 0xFFFFFFFF
    n = ((n ^ (n >> 13)) * 1274126177) & 0xFFFFFFFF
    n = ((n ^ (n >> 16)) * 2246822519) & 0xFFFFFFFF
    return ((n ^ (n >> 15)) & 0xFFFFFF) / 16777216.0


@numba.njit(cache=True, nogil=True)
def _fbm_kernel(points: Any, frequency: float, seed: int, octaves: int, gain: float, out: Any) -> None:
    for n in range(points.shape[0]):
        total, amplitude, norm, f = 0.0, 1.0, 0.0, frequency
        for octave in range(octaves):
            x, y, z = points[n, 0] * f, points[n, 1] * f, points[n, 2] * f
            i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
            a, b, c = x - i, y - j, z - k
            a, b, c = a * a * (3 - 2 * a), b * b * (3 - 2 * b), c * c * (3 - 2 * c)
            s = seed + 101 * octave
            low = (_hash(i, j, k, s) * (1 - a) + _hash(i + 1, j, k, s) * a) * (1 - b)
            low += (_hash(i, j + 1, k, s) * (1 - a) + _hash(i + 1, j + 1, k, s) * a) * b
            high = (_hash(i, j, k + 1, s) * (1 - a) + _hash(i + 1, j, k + 1, s) * a) * (1 - b)
            high += (_hash(i, j + 1, k + 1, s) * (1 - a) + _hash(i + 1, j + 1, k + 1, s) * a) * b
            total += amplitude * (2 * (low * (1 - c) + high * c) - 1)
            norm += amplitude
            amplitude *= gain
            f *= 2.0
        out[n] = total / norm


@numba.njit(cache=True, nogil=True)
def _worley_kernel(points: Any, frequency: float, seed: int, _a: int, _b: float, out: Any) -> None:
    for n in range(points.shape[0]):
        x, y, z = points[n, 0] * frequency, points[n, 1] * frequency, points[n, 2] * frequency
        i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        best, bu, bv, bw = 1e9, 0, 0, 0
        for u in range(i - 1, i + 2):
            for v in range(j - 1, j + 2):
                for w in range(k - 1, k + 2):
                    dx = u + _hash(u, v, w, seed) - x
                    dy = v + _hash(u, v, w, seed + 1) - y
                    dz = w + _hash(u, v, w, seed + 2) - z
                    d = dx * dx + dy * dy + dz * dz
                    if d < best:
                        best, bu, bv, bw = d, u, v, w
        out[n, 0] = np.sqrt(best)
        out[n, 1] = _hash(bu, bv, bw, seed + 3)


def _in_chunks(
    kernel: Callable[..., None], points: FloatArray, frequency: float, seed: int, octaves: int, gain: float, out: Any
) -> None:
    """Run a kernel over slices of the points, in threads (the kernels hold no lock)."""
    points = np.ascontiguousarray(points, dtype=np.float32)
    starts = range(0, len(points), _CHUNK)

    def run(start: int) -> None:
        part = slice(start, start + _CHUNK)
        kernel(points[part], float(frequency), int(seed), int(octaves), float(gain), out[part])

    if len(starts) <= 1:
        for start in starts:
            run(start)
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(run, starts))


def fbm(points: FloatArray, frequency: float, seed: int, octaves: int = 4, gain: float = 0.55) -> FloatArray:
    """Fractal value noise at ``points`` [N, 3] -> [N] within [-1, 1]; ``frequency`` in cycles a unit of the points.

    Each octave doubles the frequency and scales the amplitude by ``gain``; one octave is plain value noise.
    """
    out = np.empty(len(points), dtype=np.float32)
    _in_chunks(_fbm_kernel, points, frequency, seed, octaves, gain, out)
    return out


def value_noise(points: FloatArray, frequency: float, seed: int) -> FloatArray:
    """Smooth noise at ``points`` [N, 3] -> [N] within [-1, 1]."""
    return fbm(points, frequency, seed, octaves=1)


def worley(points: FloatArray, frequency: float, seed: int) -> tuple[FloatArray, FloatArray]:
    """Cellular noise: distance to the nearest feature point in cells [N], and that point's own number [N] in [0, 1)."""
    out = np.empty((len(points), 2), dtype=np.float32)
    _in_chunks(_worley_kernel, points, frequency, seed, 0, 0.0, out)
    return out[:, 0], out[:, 1]
