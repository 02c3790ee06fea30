"""The avatars that ship keep a whole face, wherever a keypoint of it is pulled; lips go where they can."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

import lipflow.reach
from lipflow.avatar import Avatar
from lipflow.avatar_file import load_avatar
from lipflow.embedded import embedded_avatars
from lipflow.fitting import FitConfig, fit
from lipflow.mesh import unique_pairs
from lipflow_studio.document import HOLD, PULL
from lipflow_studio.dragging import DraggedKeypoints

AVATARS = embedded_avatars()  # as they ship: a fixture puts tiny ones in their place for each test
MARGIN = lipflow.reach.MARGIN  # the same


@pytest.fixture(scope="module", params=AVATARS)
def avatar(request: pytest.FixtureRequest) -> Iterator[Avatar]:
    return load_avatar(AVATARS[request.param]).for_inference()


@torch.no_grad()
def pulled(avatar: Avatar, group: str, by: tuple[float, float]) -> DraggedKeypoints:
    """The keypoint in the middle of a group is pulled by shares of the picture from where the face at z = 0 has it."""
    members = avatar.landmarks.groups[group]
    index = members[len(members) // 2]
    rest = avatar.keypoint_camera.project_normalised(avatar.decode_landmarks(torch.zeros(1, avatar.config.latent)))[0]
    given, pinned = rest.clone(), torch.zeros(len(rest), dtype=torch.bool)
    given[index] += torch.tensor(by)
    pinned[index] = True
    weights = torch.where(pinned, PULL, HOLD)
    return DraggedKeypoints(given, avatar.keypoint_camera, weights, pinned=pinned).following(rest)


@pytest.mark.parametrize(
    ("group", "by", "is_reached"),
    [
        ("nose", (0.0, 0.05), False),
        ("nose", (0.0, 0.1), False),
        ("jaw", (0.0, -0.1), False),
        ("brows", (0.0, -0.1), False),
        ("lips", (0.0, 0.05), True),
        ("lips", (0.03, 0.0), True),
    ],
)
@torch.no_grad()
def test_one_keypoint_is_pulled(
    monkeypatch: pytest.MonkeyPatch, avatar: Avatar, group: str, by: tuple[float, float], is_reached: bool
) -> None:
    """Every edge of the mesh stays about as long as training frames had it."""
    monkeypatch.setattr(lipflow.reach, "MARGIN", MARGIN)
    observation = pulled(avatar, group, by)
    prior = "avatar" if avatar.driving == "kpt" else "standard-normal"
    run = fit(avatar, observation, FitConfig("lm", iterations=40, prior=prior))
    state = next(run)
    for _ in range(15):
        state = run.send(observation.following(torch.from_numpy(state.extras["projected"])))

    longest = edges(avatar, avatar.samples_z).amax(0)
    torn = edges(avatar, torch.from_numpy(state.z)[None])[0] > 1.3 * longest + 0.3
    assert torn.float().mean() < 0.02
    off = np.abs(state.extras["projected"] - observation.keypoints.numpy())[observation.pinned].max()
    assert (off < 0.008) == is_reached


def test_steps_follow_the_bound_to_where_the_energy_is_least(monkeypatch: pytest.MonkeyPatch, avatar: Avatar) -> None:
    """A bound that sets in at once is not seen before a step is beyond it: steps towards it grow short, and one would
    take the first place at the bound for the best. Another optimiser finds hardly anything lower."""
    monkeypatch.setattr(lipflow.reach, "MARGIN", MARGIN)
    observation = pulled(avatar, "nose", (0.0, 0.08))
    prior = "avatar" if avatar.driving == "kpt" else "standard-normal"
    found = {
        name: [*fit(avatar, observation, FitConfig(name, iterations=150, prior=prior))][-1].energy
        for name in ("lm", "lbfgs")
    }
    assert found["lm"] < 1.01 * found["lbfgs"]


def edges(avatar: Avatar, z: Tensor) -> Tensor:
    """Codes [B, Z] -> lengths of the mesh's edges [B, E], mm."""
    sides = avatar.topology.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    first, second = torch.from_numpy(unique_pairs(np.sort(sides))[0]).T
    return torch.cat([(mesh[:, first] - mesh[:, second]).norm(dim=-1) for mesh in map(avatar.decode_mesh, z.split(64))])
