"""A grid of trainings, variants × subjects × seeds, on several processes or a cluster; stop and go on at any moment.

What is done is read off the runs' own folders, ``<out>/<capture's name>/<variant>/seed-<n>/``: there is no other state.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import torch
from joblib.externals.loky import ProcessPoolExecutor

from lipflow.avatar import Avatar
from lipflow.capture.packed import PackedCapture
from lipflow.checks import InputError
from lipflow.device import choose_device
from lipflow.files import replacing
from lipflow.runs import AVATAR, advance, claimed, is_finished, opened, steps_done
from lipflow.steering import Steering, steered
from lipflow.training_config import TrainConfig
from lipflow.variants import VARIANTS

KILLED = "its process was killed or crashed (out of memory?)"
TRACEBACK = "failure.txt"  # in the folder of a run that failed in a way that should not be
_ATTEMPTS = 2  # a failed cell is tried once more
_LOOK_SECONDS = 2.0  # between two looks at how far the running cells are
_CLAIM_SECONDS = 60.0  # a killed sweep's workers leave their folders within a step or so
_GRACE_SECONDS = 10.0  # for running cells to save when the sweep is stopped

_CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 30.0  # after which a process without work ends


@dataclass(frozen=True)
class Cell:
    """One training of the grid."""

    capture: Path
    config: TrainConfig
    folder: Path  # of its run
    base: Path | None  # the run whose avatar it freezes: it has to be finished first

    @property
    def name(self) -> str:
        return _name(self.folder)


def _name(folder: Path) -> str:
    return "/".join(folder.parts[-3:])


@dataclass(frozen=True)
class Failure:
    """A cell that did not finish."""

    cell: Cell
    reason: str  # one line
    final: bool  # whether it will not be tried again


@dataclass(frozen=True)
class SweepState:
    """Where a sweep stands."""

    done: int  # cells that are finished, earlier ones included
    cells: int
    running: tuple[str, ...]  # names of cells
    step: int  # steps done in all cells
    steps: int
    eta_s: float | None  # seconds to go; None before there is a pace
    finished: Cell | None  # by this state
    failure: Failure | None  # of this state


def plan(
    captures: Sequence[Path], variants: Sequence[str], seeds: Sequence[int], out: Path, preset: str, **changes: Any
) -> list[Cell]:
    """The grid's cells, seeds outermost, so that a sweep that is cut short has whole comparisons.

    A variant that freezes another's avatar brings that one's cell along.

    Raises:
        InputError: for an unknown variant, a negative seed, or two captures of one name.
    """
    unknown = [name for name in variants if name not in VARIANTS]
    if unknown or not variants:
        got = ", ".join(unknown) or "none"
        raise InputError("variants", expected=f"some of {', '.join(VARIANTS)}", got=got)
    if not seeds or min(seeds) < 0:
        raise InputError("seeds", expected="some numbers from 0", got=list(seeds) or "none")
    names = [capture.resolve().name for capture in captures]
    if not names or len(set(names)) < len(names):
        got = ", ".join(names) or "none"
        raise InputError("captures", expected="some folders of different names", got=got)
    cells: dict[Path, Cell] = {}
    for seed in dict.fromkeys(seeds):
        for variant in variants:
            for capture, name in zip(captures, names):
                first = VARIANTS[variant].starts_from
                base = None if first is None else out / name / first / f"seed-{seed}"
                if first is not None and base is not None:
                    config = TrainConfig.of(first, preset, seed=seed, **changes)
                    cells.setdefault(base, Cell(capture, config, base, None))
                folder = out / name / variant / f"seed-{seed}"
                config = TrainConfig.of(variant, preset, seed=seed, **changes)
                cells.setdefault(folder, Cell(capture, config, folder, base))
    return list(cells.values())


def train_cell(cell: Cell, pack: Path, device: str, parent: int | None = None) -> str | None:
    """Train one cell in this process, on one thread, from where it stopped; the mistake's line if it cannot be.

    With ``parent``, the process ends when that one is gone: nobody would know of its work.
    """
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    try:
        with claimed(cell.folder, _CLAIM_SECONDS):
            if is_finished(cell.folder, cell.config):
                return None
            base = None if cell.base is None else Avatar.load(cell.base / AVATAR)
            training = opened(cell.folder, cell.config, PackedCapture(pack), choose_device(device), base)
            with _steered() as steering, contextlib.closing(advance(training, cell.folder)) as states:
                orphaned = False
                for _ in states:
                    steering.obey(lambda: None)  # Ctrl-C reaches all processes of a terminal: none stops within a step
                    if orphaned := parent not in (None, os.getppid()):
                        break
    except InputError as error:
        return str(error)
    if orphaned:
        os._exit(1)  # the pool's own way out waits for its dead owner
    return None


def _steered() -> AbstractContextManager[Steering]:
    """Signals reach the main thread alone; a cluster's worker may use others."""
    on_main = threading.current_thread() is threading.main_thread()
    return steered() if on_main else contextlib.nullcontext(Steering())


@dataclass(frozen=True)
class Workers:
    """Where cells are trained."""

    executor: Executor
    count: int  # cells at once
    parent: int | None = None  # the process without which they are to end


@contextlib.contextmanager
def processes(jobs: int) -> Iterator[Workers]:
    """``jobs`` processes of one thread each on this machine."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    executor = ProcessPoolExecutor(jobs, env=threads, timeout=_IDLE_SECONDS)
    try:
        yield Workers(executor, jobs, os.getpid())
    finally:
        executor.shutdown(wait=True, kill_workers=True)


@contextlib.contextmanager
def cluster(address: str) -> Iterator[Workers]:
    """The workers of a Dask cluster, a cell for each of their threads; all see captures and runs under the same paths.

    Raises:
        InputError: if Dask is not installed, or no scheduler with workers answers at ``address``.
    """
    try:
        from distributed import Client  # an extra: most machines do without
    except ImportError as error:
        mend = "pip install 'lipflow-studio[cluster]'"
        raise InputError("scheduler", expected="Dask (distributed)", got="none installed", mend=mend) from error
    try:
        client = Client(address, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        got = " ".join(str(error).split())
        raise InputError(f"scheduler {address}", expected="a Dask scheduler that answers", got=got) from error
    with client:
        count = sum(client.nthreads().values())
        if count == 0:
            raise InputError(f"scheduler {address}", expected="some workers", got="none")
        yield Workers(client.get_executor(pure=False, retries=0), count)


class Sweep:
    """The cells of a grid on their way."""

    def __init__(self, cells: Sequence[Cell], packs: Mapping[Path, Path], device: str = "auto") -> None:
        """Plan the work.

        Args:
            cells: the grid.
            packs: the pack of each capture that has unfinished cells.
            device: "auto", "cpu" or "cuda", where the cells are trained.

        Raises:
            InputError: if a cell's folder holds a run with another config.
        """
        self._packs, self._device = packs, device
        self._cells = list(cells)
        self._finished = {cell.folder for cell in cells if is_finished(cell.folder, cell.config)}
        self._waiting = [cell for cell in cells if cell.folder not in self._finished]
        self._running: dict[Future[str | None], Cell] = {}
        self._steps = {cell.folder: steps_done(cell.folder, cell.config) for cell in cells}
        self._attempts = dict.fromkeys(self._steps, 0)
        self._alone: set[Path] = set()  # cells that run by themselves, to see which one takes the processes down

    def run(self, workers: Callable[[], AbstractContextManager[Workers]]) -> Generator[SweepState, None, None]:
        """Train what is not finished; ``workers`` is called again when a process has died and taken its pool along.

        Failed cells are tried once more, at the end; those that freeze an avatar wait for it.
        """
        self._began, self._steps_before = time.monotonic(), sum(self._steps.values())
        yield self._state()
        while self._waiting:
            with workers() as pool:
                yield from self._run_on(pool)

    def _run_on(self, pool: Workers) -> Generator[SweepState, None, None]:
        """Until nothing is left to do, or the pool is broken."""
        try:
            while self._waiting or self._running:
                yield from self._unreachable()
                whole = self._submit(pool)
                done, _ = wait(self._running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
                if not whole or any(isinstance(future.exception(), BrokenExecutor) for future in done):
                    yield from self._lost()
                    return
                for future in done:
                    yield self._outcome(self._running.pop(future), future)
                if not done:
                    yield self._state()
        finally:
            wait(self._running, timeout=_GRACE_SECONDS)  # stopped: what runs saves first
            self._running.clear()

    def _submit(self, pool: Workers) -> bool:
        """Start what can be started; False if the pool is broken."""
        for cell in list(self._waiting):
            by_itself = cell.folder in self._alone or any(c.folder in self._alone for c in self._running.values())
            if len(self._running) >= (1 if by_itself else pool.count):
                continue
            if cell.base is not None and not (cell.base / AVATAR).is_file():
                continue
            try:
                pack = self._packs[cell.capture]
                future = pool.executor.submit(train_cell, cell, pack, self._device, pool.parent)
            except BrokenExecutor:
                return False
            self._waiting.remove(cell)
            self._running[future] = cell
        return True

    def _outcome(self, cell: Cell, future: Future[str | None]) -> SweepState:
        error = future.exception()
        if error is None:
            reason = future.result()
        else:
            first = (str(error).splitlines() or [""])[0]
            reason = f"{type(error).__name__}: {first} (see {cell.folder / TRACEBACK})"
            with replacing(cell.folder / TRACEBACK) as beside:
                beside.write_text("".join(traceback.format_exception(error)))
        if reason is not None:
            return self._failed(cell, reason)
        (cell.folder / TRACEBACK).unlink(missing_ok=True)
        self._steps[cell.folder] = cell.config.steps
        self._finished.add(cell.folder)
        return self._state(finished=cell)

    def _lost(self) -> Generator[SweepState, None, None]:
        """A process was killed or crashed, and with it all cells that ran: whose fault it was shows when one runs."""
        lost = list(self._running.values())
        self._running.clear()
        if len(lost) == 1:
            yield self._failed(lost[0], KILLED)
        else:
            self._alone |= {cell.folder for cell in lost}
            self._waiting += lost

    def _failed(self, cell: Cell, reason: str) -> SweepState:
        self._attempts[cell.folder] += 1
        final = self._attempts[cell.folder] >= _ATTEMPTS
        if not final:
            self._waiting.append(cell)
        return self._state(failure=Failure(cell, reason, final))

    def _unreachable(self) -> Generator[SweepState, None, None]:
        """Give up the cells that freeze an avatar which there will not be."""
        coming = {cell.folder for cell in (*self._waiting, *self._running.values())}
        for cell in list(self._waiting):
            if cell.base is not None and cell.base not in coming and not (cell.base / AVATAR).is_file():
                self._waiting.remove(cell)
                reason = f"{_name(cell.base)}, which it starts from, did not finish"
                yield self._state(failure=Failure(cell, reason, True))

    def _state(self, *, finished: Cell | None = None, failure: Failure | None = None) -> SweepState:
        for cell in self._running.values():
            self._steps[cell.folder] = steps_done(cell.folder, cell.config)
        step, steps = sum(self._steps.values()), sum(cell.config.steps for cell in self._cells)
        gained = step - self._steps_before
        eta = (time.monotonic() - self._began) / gained * (steps - step) if gained > 0 else None
        return SweepState(
            done=len(self._finished),
            cells=len(self._cells),
            running=tuple(cell.name for cell in self._running.values()),
            step=step,
            steps=steps,
            eta_s=eta,
            finished=finished,
            failure=failure,
        )
