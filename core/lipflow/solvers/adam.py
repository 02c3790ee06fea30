"""Adam, for observations that are compared as images."""

from __future__ import annotations

import math
from collections import deque

import torch
from torch import Tensor

from lipflow.solvers.base import SolverConfig
from lipflow.solvers.problem import Point, Problem


class Adam:
    """Adam (Kingma and Ba 2015) on the code, or on its whitened form when the space is u; the step size falls."""

    BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
    LAST_RATE = 0.05  # of the learning rate, at the end of the cosine
    WINDOW = 10  # iterations; the mean energy of so many is compared with that of so many before
    SLOWEST = 1 / 8  # of the learning rate; no lower energy at that means convergence

    def __init__(self, problem: Problem, z: Tensor, config: SolverConfig) -> None:
        self._mean, self._square, self._steps = torch.zeros_like(z), torch.zeros_like(z), 0
        self._start_at(problem, z, config)

    def replace(self, problem: Problem, config: SolverConfig) -> None:
        """Go on with another problem in the same space: the code and both moments stay."""
        self._start_at(problem, self.point.z, config)

    def _start_at(self, problem: Problem, z: Tensor, config: SolverConfig) -> None:
        self.problem, self._config = problem, config
        self.converged, self._done, self._brake = False, 0, 1.0
        self._energies: deque[float] = deque(maxlen=2 * self.WINDOW)
        with torch.no_grad():
            self._unknown = z.detach() if problem.space == "z" else problem.whiten(z[None])[0][0]
        self.point, self._gradient = self._evaluate(self._unknown)
        self._best = self._unknown, self.point

    def gradient(self) -> Tensor:
        return self._gradient

    def settle(self) -> None:
        """Take the best point: where edges hide or show pixels a gradient that does not know of them misleads."""
        self._unknown, self.point = self._best

    def step(self) -> None:
        gradient = self._gradient
        self._steps += 1
        self._mean = self.BETA1 * self._mean + (1 - self.BETA1) * gradient
        self._square = self.BETA2 * self._square + (1 - self.BETA2) * gradient.square()
        mean = self._mean / (1 - self.BETA1**self._steps)
        square = self._square / (1 - self.BETA2**self._steps)
        phase = min(self._done / self._config.iterations, 1.0)
        rate = self.LAST_RATE + (1 - self.LAST_RATE) * 0.5 * (1 + math.cos(math.pi * phase))
        step = self._brake * rate * self._config.learning_rate * mean / (square.sqrt() + self.EPSILON)
        trial, gradient = self._evaluate(self._unknown - step)
        self._done += 1
        if not (math.isfinite(trial.energy) and bool(torch.isfinite(gradient).all())):
            self._brake *= 0.5  # stay, and go more carefully
            return
        self._unknown, self.point, self._gradient = self._unknown - step, trial, gradient
        if trial.energy < self._best[1].energy:
            self._best = self._unknown, trial
        self._energies.append(trial.energy)
        if len(self._energies) == 2 * self.WINDOW:
            self._judge()

    def _judge(self) -> None:
        """Where the energy no longer falls, smaller steps from the best point may still lower it; where those do not,
        it has converged. Along a gradient that knows nothing of edges it may rise for long, and here jumps back."""
        energies = list(self._energies)
        before, now = sum(energies[: self.WINDOW]) / self.WINDOW, sum(energies[self.WINDOW :]) / self.WINDOW
        if before - now < self._config.tolerance * max(abs(now), 1.0):
            self.converged = self._brake <= self.SLOWEST
            self._brake *= 0.5
            self._energies.clear()
            self._unknown = self._best[0]
            self.point, self._gradient = self._evaluate(self._unknown)
            self._mean = torch.zeros_like(self._mean)

    def _evaluate(self, unknown: Tensor) -> tuple[Point, Tensor]:
        problem = self.problem
        return problem.evaluate(unknown) if problem.space == "z" else problem.evaluate_whitened(unknown)
