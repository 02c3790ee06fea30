"""``lipflow uncertainty``: what an observation leaves open about a face."""

from __future__ import annotations

import sys
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow.commands.fit import FitInput
from lipflow.commands.output import check_output
from lipflow.commands.progress import follow
from lipflow.device import choose_device
from lipflow.embedded import find_avatar
from lipflow.files import filling, write_json
from lipflow.fitting import FitState, fit, make_problem
from lipflow.identifiability import Identifiability, ProbeConfig, probe
from lipflow.modes import Mode, ModesConfig, ModesState, find_modes
from lipflow.posterior import Posterior, PosteriorConfig, PosteriorState, sample_posterior
from lipflow.serial import to_json

FIGURES, MODES = "uncertainty.json", "modes.npz"


@dataclass(frozen=True)
class Uncertainty(FitInput):
    """Fit an avatar, then sample the posterior and probe what the observation cannot see; write arrays and figures.

    Into --out: posterior.npz, probe.npz, with --starts modes.npz, and uncertainty.json.
    """

    samples: int | None = None
    """Codes of the posterior, rounded up to a multiple of its chains: 16 for keypoints, which get 256 codes where
    nothing is said, 8 for images, which get 64."""
    starts: int = 0
    """Also fit from so many starts, and gather what they find into modes."""

    def run(self) -> None:
        check_output(self.out)
        if self.starts < 0:
            raise InputError("--starts", expected="0 or more", got=self.starts)
        avatar = Avatar.load(find_avatar(self.avatar)).for_inference().to(choose_device(self.fitting.device))
        observation = self._observation(avatar)
        config = self.fitting.config(observation, avatar)
        sampling = PosteriorConfig.for_observation(observation)
        sampling = sampling if self.samples is None else replace(sampling, samples=self.samples)
        problem = make_problem(avatar, observation, config)
        seed = self.fitting.seed
        fitted: FitState = follow(
            fit(avatar, observation, config, seed=seed), "fit", "it", lambda s: (s.iteration, config.iterations)
        )
        z = torch.from_numpy(fitted.z).to(problem.mu)
        states: Generator[PosteriorState, None, Posterior] = sample_posterior(problem, z, sampling, seed=seed)
        posterior = follow(states, "posterior", "step", lambda s: (s.done, s.total))
        probing = ProbeConfig(seed=seed)
        seen = follow(probe(problem, z, probing), "probe", "step", lambda s: (s.done, s.total))
        modes: tuple[Mode, ...] = ()
        if self.starts > 0:
            many = ModesConfig(starts=self.starts, fit=config)
            search: Generator[ModesState, None, tuple[Mode, ...]] = find_modes(avatar, observation, many, seed=seed)
            modes = follow(search, "modes", "fit", lambda s: (s.start + 1, s.starts))
        about, known = _posterior(posterior), _probe(seen)
        body = {
            "fit": {"config": to_json(config), "energy": fitted.energy, "converged": fitted.converged},
            "posterior": {"config": to_json(sampling), **about},
            "probe": {"config": to_json(probing), **known},
            "modes": [{"energy": m.energy, "weight": m.weight, "members": list(m.members)} for m in modes],
        }
        with filling(self.out, FIGURES) as staging:
            if modes:
                codes, weights = np.stack([m.state.z for m in modes]), np.array([m.weight for m in modes])
                np.savez_compressed(staging / MODES, codes=codes, weights=weights)
            arrays = {name: value for name, value in vars(posterior).items() if value is not None}
            np.savez_compressed(staging / "posterior.npz", **arrays)
            np.savez_compressed(staging / "probe.npz", **vars(seen))
            write_json(staging / FIGURES, body)
        if not modes:
            (self.out / MODES).unlink(missing_ok=True)  # another posterior's
        effective = "too few to tell" if about["ess"] is None else f"{about['ess']:.0f}"
        sys.stdout.write(
            f"{self.out}: vertices ± {about['mean_std_mm']:.2f} mm in the mean, ± {about['largest_std_mm']:.2f} mm at "
            f"most ({about['samples']} codes, effectively {effective}); {known['seen']} of {known['dimensions']} "
            f"directions seen, the others move vertices by {known['unseen_mm']:.2f} of {known['all_mm']:.2f} mm"
            + (f"; modes: {len(modes)}\n" if modes else "\n")
        )


def _posterior(found: Posterior) -> dict[str, Any]:
    ess = found.ess if np.isfinite(found.ess) else None
    mean, largest = float(found.vertex_std.mean()), float(found.vertex_std.max())
    about = {"samples": len(found.codes), "ess": ess, "acceptance": found.acceptance}
    return {**about, "mean_std_mm": mean, "largest_std_mm": largest}


def _probe(found: Identifiability) -> dict[str, Any]:
    return {
        "dimensions": len(found.singular_values),
        "seen": found.seen,
        "degrees": found.degrees,
        "singular_values": [round(float(value), 6) for value in found.singular_values],
        "unseen_mm": float(np.sqrt((found.unseen_mm**2).mean())),
        "all_mm": float(np.sqrt((found.all_mm**2).mean())),
    }
