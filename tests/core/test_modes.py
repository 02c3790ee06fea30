"""Many starts, few faces: a problem with two known answers, and a problem with one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow.fitting import FitConfig
from lipflow.modes import Mode, ModesConfig, ModesState, cluster, find_modes
from lipflow.observations import KeypointObservation
from support.linear import LATENT, LinearObservation, SolvedObservation, straight_avatar
from support.random_avatar import random_avatar, tiny_config

ADAM = FitConfig(optimiser="adam", prior="standard-normal", iterations=60, learning_rate=0.2, tolerance=0)


@dataclass(frozen=True, eq=False)
class FoldedObservation(LinearObservation):
    """|a·z| is seen, its sign is not: two faces explain it, and lean to one side by ``shift`` if asked."""

    shift: float = 0.0

    def residuals(self, avatar: Avatar, z: Tensor, *, silhouette: bool = False) -> Tensor:
        first = z @ self.matrix.T  # [B, 1]
        folded = (first.abs() - self.given) / self.noise
        return torch.cat([folded, (first - self.shift) if self.shift else 0 * first], -1)


def folded(**options: float) -> FoldedObservation:
    return FoldedObservation(torch.eye(LATENT)[:1], torch.tensor([2.0]), noise=0.2, **options)


def found(avatar: Avatar, observation: LinearObservation, config: ModesConfig, seed: int = 0) -> tuple[Mode, ...]:
    return list(find_modes(avatar, observation, config, seed=seed))[-1].modes


def test_two_faces_that_explain_an_observation_are_both_found_with_equal_weights():
    config = ModesConfig(starts=7, fit=replace(ADAM, start="sample"), apart_mm=1.0)
    modes = found(straight_avatar(), folded(), config)
    assert len(modes) == 2
    expected = 2 / (1 + 0.2**2)  # the prior pulls a little
    assert sorted(mode.state.z[0] for mode in modes) == pytest.approx([-expected, expected], abs=0.05)
    assert [mode.weight for mode in modes] == pytest.approx([0.5, 0.5], abs=0.05)
    assert sorted(k for mode in modes for k in mode.members) == list(range(7))


def test_weights_are_the_masses_under_the_peaks():
    """Another equation leans to one side by a known factor."""
    modes = found(straight_avatar(), folded(shift=0.25), ModesConfig(starts=6, fit=ADAM))
    precision, masses = 1 / 0.2**2 + 1 + 1, {}
    for side in (-1, 1):  # ½ (|x| − 2)² / 0.04 + ½ (x − 0.25)² + ½ x², by hand
        peak = (side * 2 / 0.04 + 0.25) / precision
        masses[side] = np.exp(-0.5 * ((abs(peak) - 2) ** 2 / 0.04 + (peak - 0.25) ** 2 + peak**2))
    weights = {int(np.sign(mode.state.z[0])): mode.weight for mode in modes}
    assert weights[1] == pytest.approx(masses[1] / sum(masses.values()), abs=0.03)
    assert modes[0].energy < modes[1].energy
    assert modes[0].state.z[0] > 0


def test_one_answer_is_one_mode():
    avatar = random_avatar(tiny_config("flow", "kpt"))
    keypoints = avatar.keypoint_camera.project_normalised(avatar.decode_landmarks(torch.zeros(LATENT)))
    observation = KeypointObservation.for_avatar(avatar, keypoints)
    config = ModesConfig(starts=3, fit=FitConfig(optimiser="lm", iterations=25), apart_mm=1.0)
    modes = found(avatar, observation, config)
    assert len(modes) == 1
    assert modes[0].weight == pytest.approx(1)
    assert len(modes[0].members) == 3


def test_clusters_are_cut_at_a_distance_in_millimetres():
    face = np.random.default_rng(0).normal(size=(50, 3))
    faces = np.stack([face + np.array([x, 0.0, 0.0]) for x in (0.0, 0.4, 3.0, 3.2)])
    assert len(set(cluster(faces, 1.0))) == 2
    assert len(set(cluster(faces, 0.1))) == 4
    assert len(set(cluster(faces, 10.0))) == 1
    assert list(cluster(faces[:1], 1.0)) == [0]


def test_the_search_shows_every_fit_and_can_be_stopped():
    avatar, observation = straight_avatar(), SolvedObservation(torch.eye(LATENT)[:2], torch.ones(2))
    config = ModesConfig(starts=3, fit=replace(ADAM, optimiser="lm", iterations=5), weigh="members")
    states = list(find_modes(avatar, observation, config, seed=1))
    assert all(isinstance(state, ModesState) for state in states)
    assert sorted({state.start for state in states}) == [0, 1, 2]
    assert states[0].modes == ()
    assert sum(mode.weight for mode in states[-1].modes) == pytest.approx(1)
    np.testing.assert_allclose(states[0].fit.z, np.zeros(LATENT), atol=1e-6)  # the first start is the prior's mean
    again = list(find_modes(avatar, observation, config, seed=1))
    np.testing.assert_array_equal(again[-1].fit.z, states[-1].fit.z)
    steps = find_modes(avatar, observation, config)
    next(steps)
    steps.close()


def test_mistakes_are_one_line():
    for bad in ({"starts": 0}, {"apart_mm": 0.0}, {"weigh": "votes"}):
        with pytest.raises(InputError, match=f"^{next(iter(bad))}: .*{next(iter(bad.values()))}"):
            ModesConfig(**bad)
