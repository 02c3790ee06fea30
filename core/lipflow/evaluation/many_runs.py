"""Evaluating many runs, several at once: stopped at any moment, it goes on with the runs that are not done."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass
from itertools import groupby

import numba
import torch

from lipflow.checks import InputError
from lipflow.evaluation.evaluating import EvaluationConfig, Fits, RunEvaluation, evaluate_run
from lipflow.evaluation.frames import EvaluationFrames
from lipflow.evaluation.runs import Run
from lipflow.sweep import KILLED, processes

Task = tuple[int, Run, EvaluationFrames, EvaluationConfig, Fits | None, str]  # what ``_outcome`` takes
Outcome = tuple[int, RunEvaluation | str]  # of the task of that number: an evaluation, or why there is none


@dataclass(frozen=True)
class RunsProgress:
    """How far the evaluation of many runs is."""

    done: int  # runs, the failed ones included
    total: int
    failed: tuple[str, ...]  # one line for each run that could not be evaluated


@dataclass(frozen=True, eq=False)
class EvaluatedRuns:
    """What came out."""

    evaluations: tuple[tuple[Run, RunEvaluation], ...]  # by subject, variant and seed
    failed: tuple[str, ...]  # one line for each run that could not be evaluated


def check_runs(runs: Sequence[Run]) -> None:
    """Raise InputError unless the runs can stand in one report: some, each once, all of the same sizes."""
    if not runs:
        raise InputError("runs", expected="at least one", got="none")
    seen: dict[tuple[str, str, int], Run] = {}
    for run in runs:
        cell = (run.subject, run.variant.name, run.seed)
        if cell in seen:
            got = f"{seen[cell].folder} and {run.folder}"
            raise InputError(f"runs of {' '.join(map(str, cell))}", expected="one", got=got, mend="leave one out")
        seen[cell] = run
    sizes = {(run.config.sizes.texture, run.config.sizes.driver.size) for run in runs}
    if len(sizes) != 1:
        mend = "evaluate the runs of each preset by themselves"
        raise InputError("runs", expected="models of one size", got=sorted(sizes), mend=mend)


def evaluate_runs(
    runs: Sequence[Run],
    frames: Mapping[str, EvaluationFrames],
    config: EvaluationConfig,
    *,
    jobs: int = 1,
    device: str = "cpu",
) -> Generator[RunsProgress, None, EvaluatedRuns]:
    """Evaluate each run into its own folder; a run that fails is told, and the others go on.

    The first seed of each variant and subject goes first: fits are chosen there, and taken over for its other seeds.

    Args:
        runs: each variant, subject and seed once.
        frames: of each subject, by name.
        config: for all of them.
        jobs: processes; 1: no further one. Each works on one thread, so that the times of fits can be compared.
        device: where the avatars decode and render.

    Raises:
        InputError: if the runs do not go together, or one's subject has no frames.
    """
    check_runs(runs)
    without = [run for run in runs if run.subject not in frames]
    if without:
        got, mend = ", ".join(frames) or "none", "give its folder with --capture"
        raise InputError(f"capture of {without[0].folder}", expected=without[0].subject, got=got, mend=mend)
    order = sorted(runs, key=lambda run: (run.subject, run.variant.name, run.seed))
    families = [list(family) for _, family in groupby(order, key=lambda run: (run.subject, run.variant.name))]
    first, chosen = [family[0] for family in families], dict[tuple[str, str], Fits]()
    done: dict[int, RunEvaluation] = {}
    failed: list[str] = []
    total = len(order)

    def tasks(of: list[Run]) -> Iterator[Task]:
        for run in of:
            yield order.index(run), run, frames[run.subject], config, chosen.get(_family(run)), device

    yield RunsProgress(0, total, ())
    for part in (first, [run for run in order if run not in first]):
        ready = [run for run in part if run in first or _family(run) in chosen]
        lost = [run for run in part if run not in ready]
        if lost:
            failed += [f"{run.folder}: the fits of its first seed could not be chosen" for run in lost]
            yield RunsProgress(len(done) + len(failed), total, tuple(failed))
        for index, outcome in _outcomes(list(tasks(ready)), jobs):
            if isinstance(outcome, str):
                failed.append(f"{order[index].folder}: {outcome}")
            else:
                done[index] = outcome
                chosen.setdefault(_family(order[index]), outcome.fits)
            yield RunsProgress(len(done) + len(failed), total, tuple(failed))
    return EvaluatedRuns(tuple((order[k], done[k]) for k in sorted(done)), tuple(failed))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let networks and kernels that are called from this thread run on it alone."""
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])


def _family(run: Run) -> tuple[str, str]:
    return run.subject, run.variant.name


def _outcomes(tasks: list[Task], jobs: int) -> Iterator[Outcome]:
    """Work through tasks, as each ends; in this process or in others, on one thread each.

    A process that is killed takes along all that run: each of those is tried once more by itself, which shows whose
    fault it was, and the others go on.
    """
    if jobs == 1:
        yield from (_outcome(*task) for task in tasks)
        return
    waiting = list(tasks)
    while waiting:
        for task in (yield from _until_killed(waiting, jobs)):
            if (yield from _until_killed([task], 1)):
                yield task[0], KILLED


def _until_killed(waiting: list[Task], jobs: int) -> Generator[Outcome, None, list[Task]]:
    """Take from ``waiting`` and work, ``jobs`` at once, until nothing is left or a process is killed: returns what ran
    then and has not ended."""
    running: dict[Future[Outcome], Task] = {}
    with processes(min(jobs, len(waiting))) as pool:
        while waiting or running:
            try:
                while waiting and len(running) < jobs:
                    running[pool.executor.submit(_outcome, *waiting[0])] = waiting[0]
                    del waiting[0]
            except BrokenExecutor:
                break
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                if not isinstance(future.exception(), BrokenExecutor):
                    del running[future]
                    yield future.result()
            if any(future in running for future in ended):
                break
    return list(running.values())


def _outcome(
    index: int, run: Run, frames: EvaluationFrames, config: EvaluationConfig, fits: Fits | None, device: str
) -> Outcome:
    """A run's evaluation, or in one line why there is none."""
    try:
        with one_thread():
            return index, evaluate_run(run, frames, config, fits=fits, device=device)
    except InputError as error:
        return index, str(error)
    except Exception as error:  # noqa: BLE001 (whatever it is, the other runs' hours are not lost; it is told)
        return index, f"{type(error).__name__}: {' '.join(str(error).split())}"
