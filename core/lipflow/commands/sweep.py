"""``lipflow sweep``: train and judge a grid of variants, subjects and seeds; stopped, the same command goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tqdm import tqdm

from lipflow.checks import InputError
from lipflow.commands.evaluate import SOME, Evaluate
from lipflow.commands.output import check_output
from lipflow.commands.train import of_presets, packed_for
from lipflow.runs import is_finished
from lipflow.sweep import Cell, Failure, Sweep, SweepState, Workers, cluster, plan, processes


@dataclass(frozen=True)
class SweepCommand:
    """Train and judge variants × captures × seeds, into OUT/<capture>/<variant>/seed-<n>/ and OUT/report/.

    Finished runs are left as they are, interrupted ones go on, failed ones are tried once more.
    """

    captures: tyro.conf.Positional[Annotated[tuple[Path, ...], SOME]]
    """Folders of captures, one a subject."""
    out: Path
    """Folder of all runs."""
    variants: tuple[str, ...]
    """What to train; the dam that a dam-reg-* freezes comes along by itself."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of each variant on each capture."""
    preset: Literal["studio", "paper", "small", "tiny"] = "studio"
    """Sizes of the model and of what it is trained on."""
    steps: Annotated[int | None, tyro.conf.arg(help=of_presets("steps"))] = None
    cameras_per_frame: int = 3
    """Dome cameras that each frame is packed with, in turn."""
    jobs: int = 2
    """Runs at once on this machine, one thread each."""
    scheduler: str | None = None
    """Instead: a Dask scheduler (tcp://host:8786) whose workers see captures and OUT under the same paths."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""

    evaluate: bool = True
    """Judge the finished runs afterwards, into OUT/report; `lipflow evaluate` has the options of that."""

    def run(self) -> None:
        check_output(self.out)
        if self.jobs < 1:
            raise InputError("--jobs", expected="1 or more", got=self.jobs)
        given = {} if self.steps is None else {"steps": self.steps}
        captures = tuple(dict.fromkeys(capture.resolve() for capture in self.captures))
        cells = plan(captures, self.variants, self.seeds, self.out.resolve(), self.preset, **given)
        failures = self._train(cells)
        finished = [cell for cell in cells if cell not in [failure.cell for failure in failures]]
        sys.stdout.write(f"{self.out}: {len(finished)} of {len(cells)} runs finished\n")
        lines = [_line(failure) for failure in failures]
        if self.evaluate and finished:
            try:
                self._evaluation(finished).run()
            except InputError as error:
                lines.append(str(error))
        if lines:
            sys.stderr.write("".join(f"lipflow: {line}\n" for line in lines))
            raise SystemExit(1)

    def _evaluation(self, finished: list[Cell]) -> Evaluate:
        captures = tuple(dict.fromkeys(cell.capture for cell in finished))
        folders = tuple(cell.folder for cell in finished)
        return Evaluate(folders, captures, self.out / "report", jobs=self.jobs, device=self.device)

    def _train(self, cells: list[Cell]) -> list[Failure]:
        """Train what is not finished behind a bar; what failed for good."""
        todo = [cell for cell in cells if not is_finished(cell.folder, cell.config)]
        with self._workers():  # a scheduler that does not answer is said before a capture is packed
            pass
        packs = {
            capture: packed_for(capture, self.preset, self.cameras_per_frame).folder
            for capture in dict.fromkeys(cell.capture for cell in todo)
        }
        failures = []
        for state in _behind_a_bar(Sweep(cells, packs, self.device), self._workers):
            if state.failure is not None and state.failure.final:
                failures.append(state.failure)
        return failures

    def _workers(self) -> AbstractContextManager[Workers]:
        return processes(self.jobs) if self.scheduler is None else cluster(self.scheduler)


def _behind_a_bar(sweep: Sweep, workers: Callable[[], AbstractContextManager[Workers]]) -> Iterator[SweepState]:
    """The sweep's states; a bar over the steps of all runs, and a line for each that finished or failed."""
    layout = "{percentage:3.0f}%|{bar}| {desc}"
    with tqdm(total=1, bar_format=layout, dynamic_ncols=True) as bar:
        for state in sweep.run(workers):
            bar.total = state.steps
            to_go = "" if state.eta_s is None else f", {timedelta(seconds=round(state.eta_s))} to go"
            bar.set_description_str(
                f"{state.done}/{state.cells} runs, step {state.step}/{state.steps}{to_go}", refresh=False
            )
            bar.update(state.step - bar.n)
            if state.finished is not None:
                bar.write(f"finished {state.finished.name}", file=sys.stderr)
            if state.failure is not None:
                after = "" if state.failure.final else "; it will be tried again"
                bar.write(f"{_line(state.failure)}{after}", file=sys.stderr)
            yield state


def _line(failure: Failure) -> str:
    return f"FAILED {failure.cell.name}: {failure.reason}"
