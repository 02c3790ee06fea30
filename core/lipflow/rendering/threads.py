"""How the CPU kernels are compiled and spread over threads.

numba's ``workqueue`` layer aborts the process when two threads enter parallel kernels at once, so only ``omp`` and
``tbb`` are taken; where neither exists the kernels are compiled serial: slower, with the same results.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numba

SAFE_LAYERS = {"omp": "numba.np.ufunc.omppool", "tbb": "numba.np.ufunc.tbbpool"}


def _choose_layer() -> str:
    """The thread-safe layer to use, "serial" if there is none; tells numba before its first parallel call."""
    config: Any = numba.config  # its fields are set at run time
    try:
        running = str(numba.threading_layer())
    except ValueError:  # no parallel kernel has run in this process yet
        running = ""
    if running:
        return running if running in SAFE_LAYERS else "serial"
    wished = str(config.THREADING_LAYER)
    for name in sorted(SAFE_LAYERS, key=lambda layer: layer != wished):
        try:
            importlib.import_module(SAFE_LAYERS[name])
        except ImportError:
            continue
        config.THREADING_LAYER = name
        return name
    return "serial"


LAYER = _choose_layer()


def worker_count() -> int:
    """How many threads a parallel kernel started from this thread may use."""
    return int(numba.get_num_threads()) if LAYER != "serial" else 1


def helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that kernels call."""
    return _inlined(fastmath=False)(function)


def fused_helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same where a·b + c may be rounded once instead of twice: faster where the processor has such instructions.

    Not for edge functions, which the two triangles at an edge must compute alike.
    """
    return _inlined(fastmath={"contract"})(function)


def _inlined(fastmath: bool | set[str]) -> Callable[..., Any]:
    return numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True, fastmath=fastmath)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile an entry point: releases the GIL, runs ``prange`` in parallel, is kept on disk between runs.

    numba's disk cache does not tell serial from parallel builds, so the rare serial build is not kept.
    """
    parallel = LAYER != "serial"
    compiled = numba.njit(cache=parallel, nogil=True, error_model="numpy", parallel=parallel)(function)
    return compiled
