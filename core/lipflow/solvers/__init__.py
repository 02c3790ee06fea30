"""The optimisers behind ``fit``: Levenberg–Marquardt for keypoints, L-BFGS and Adam for images.

All hold one point (a code with its energies and gradient), move it with ``step`` and can be handed another problem
while they run. None leaves a gradient mode switched between calls, so they are safe inside a generator.
"""

from lipflow.solvers.adam import Adam
from lipflow.solvers.base import Solver
from lipflow.solvers.lbfgs import Lbfgs
from lipflow.solvers.levenberg_marquardt import LevenbergMarquardt
from lipflow.solvers.problem import Point, Problem

SOLVERS: dict[str, type[LevenbergMarquardt] | type[Lbfgs] | type[Adam]] = {
    "lm": LevenbergMarquardt,
    "lbfgs": Lbfgs,
    "adam": Adam,
}

__all__ = ["SOLVERS", "Adam", "Lbfgs", "LevenbergMarquardt", "Point", "Problem", "Solver"]
