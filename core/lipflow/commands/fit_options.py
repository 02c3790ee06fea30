"""How the commands that fit are told to: one set of options for all of them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from lipflow.avatar import Avatar
from lipflow.checks import InputError, check_seed
from lipflow.fitting import FitConfig
from lipflow.observations import FrontalObservation, Observation


@dataclass(frozen=True)
class FitOptions:
    """How a code is fitted."""

    optimiser: Literal["lm", "lbfgs", "adam"] | None = None
    """lm: Levenberg–Marquardt, for keypoints. lbfgs: for everything. adam: for everything; under a learned prior it
    needs about three times as many iterations. The default suits what is given: lm for keypoints, lbfgs for images."""
    iterations: int | None = None
    """At most so many; the default is 20 for lm, 150 otherwise."""
    learning_rate: float | None = None
    """Adam's first step, in units of the code (of the whitened code with --space u); the default is 0.1."""
    prior: Literal["avatar", "standard-normal"] | None = None
    """avatar: its own prior. standard-normal: N(0, I). The default is its own where something given here drives it."""
    prior_weight: float | None = None
    """λ, the weight of −log p; 1, the default, is the posterior under the stated noise."""
    likelihood: bool = True
    """Whether the prior's likelihood counts; without it only the start knows of the prior."""
    space: Literal["z", "u"] = FitConfig.space
    """Where the most probable code is sought: z, as the decoder takes it, or u, whitened in the prior's space. They
    differ for a flow."""
    start: Literal["prior", "encoder", "zero", "sample"] = FitConfig.start
    """prior: what the prior thinks most likely. encoder: what the avatar's own thinks, under --prior standard-normal.
    zero: the code 0. sample: a draw from the prior, by --seed."""
    edges: Literal["smooth", "hard"] = FitConfig.edges
    """Of the renders that images are compared with. smooth: the energy's gradient knows of them. hard: each pixel shows
    one surface, which costs less an iteration and needs many more."""
    seed: int = 0
    """Of what is drawn."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to fit."""

    def config(self, observation: Observation, avatar: Avatar) -> FitConfig:
        """What suits the observation, with what was asked for otherwise (None: nothing was).

        Raises:
            InputError: for options that do not go together, or a seed that is none.
        """
        check_seed(self.seed)
        suits = FitConfig.for_observation(observation)
        config = suits if self.optimiser in (None, "lm") else FitConfig()  # with the iterations that images need
        if isinstance(observation, FrontalObservation) and observation.driven_by is None and avatar.driving is not None:
            config = replace(config, prior="standard-normal")  # a photograph drives no headset or keypoint prior
        of_config = {each.name for each in fields(FitConfig)} & {each.name for each in fields(FitOptions)}
        asked = {name: getattr(self, name) for name in of_config}
        config = replace(config, **{name: value for name, value in asked.items() if value is not None})
        if self.learning_rate is not None and config.optimiser != "adam":
            raise InputError("--learning-rate", expected="with --optimiser adam", got=f"with {config.optimiser}")
        return config
