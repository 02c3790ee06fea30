"""What ``fit`` asks of an optimiser, and what an optimiser reads of a fit's configuration."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from lipflow.solvers.problem import Point, Problem


class Solver(Protocol):
    """An optimiser that is driven from outside, one iteration at a time."""

    problem: Problem
    converged: bool

    @property
    def point(self) -> Point:
        """Where it is."""
        ...

    def gradient(self) -> Tensor:
        """[Z], of the energy at the point, by the solver's unknown."""
        ...

    def step(self) -> None:
        """One iteration."""
        ...

    def replace(self, problem: Problem, config: SolverConfig) -> None:
        """Go on from the present code with another problem and the optimiser's memory."""
        ...

    def settle(self) -> None:
        """The last iteration is over: take the best point that was seen."""
        ...


class SolverConfig(Protocol):
    """What the solvers read of a fit's configuration."""

    @property
    def iterations(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def tolerance(self) -> float: ...
