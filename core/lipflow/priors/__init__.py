"""The priors, by name. A new prior is one file and one row here."""

from __future__ import annotations

from collections.abc import Callable

from lipflow.priors.base import SIGMAS, LatentPrior, PriorConfig, gaussian_log_prob
from lipflow.priors.flow import Flow
from lipflow.priors.gaussian import Gaussian
from lipflow.priors.standard_normal import StandardNormal

PRIORS: dict[str, Callable[[PriorConfig], LatentPrior]] = {
    "standard-normal": StandardNormal,
    "gaussian": Gaussian,
    "flow": lambda config: Flow(config, Gaussian(config)),
    "flow-standard-normal": lambda config: Flow(config, StandardNormal(config)),  # the paper's ablation
}

__all__ = ["PRIORS", "SIGMAS", "Flow", "Gaussian", "LatentPrior", "PriorConfig", "StandardNormal", "gaussian_log_prob"]
