"""Dragged keypoints: the prior is shown the others where the face has them, and a face remains one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lipflow.reach
from lipflow.avatar import Avatar
from lipflow.fitting import FitConfig, fit
from lipflow.observations import FrontalObservation, KeypointObservation
from lipflow.reach import Reach
from lipflow_studio.dragging import DraggedKeypoints, following, is_at_rest


def dragged(avatar: Avatar, *pinned: int) -> DraggedKeypoints:
    points = torch.rand(136, 2, generator=torch.Generator().manual_seed(3))
    mask = torch.zeros(136, dtype=torch.bool)
    mask[list(pinned)] = True
    return DraggedKeypoints(points, avatar.keypoint_camera, pinned=mask)


def test_the_prior_sees_pinned_points_as_given_and_the_others_on_the_face(kpt_avatar: Avatar) -> None:
    projected = torch.full((136, 2), 0.25)
    before = dragged(kpt_avatar, 4, 9)
    assert torch.equal(before.driving("kpt")[0], before.keypoints)
    after = before.following(projected)
    shown = after.driving("kpt")[0]
    assert torch.equal(shown[[4, 9]], before.keypoints[[4, 9]])
    assert (shown[~after.pinned] == 0.25).all()
    assert after.driving("hmc") is None
    assert not before.is_at_rest(projected)
    assert after.is_at_rest(projected)


def test_beside_a_photograph_they_are_shown_to_the_prior_the_same_way(kpt_avatar: Avatar) -> None:
    camera, projected = kpt_avatar.keypoint_camera, torch.full((136, 2), 0.25)
    given = dragged(kpt_avatar, 4, 9)
    before = FrontalObservation(torch.zeros(3, *camera.size), camera, driven_by=given)
    after = following(before, projected)
    torch.testing.assert_close(after.driving("kpt"), given.following(projected).driving("kpt"))
    assert after.image is before.image
    assert not is_at_rest(before, projected)
    assert is_at_rest(after, projected)
    alone = FrontalObservation(before.image, camera)
    assert following(alone, projected) is alone
    assert is_at_rest(alone, projected)


def test_following_changes_the_prior_and_not_the_energy(kpt_avatar: Avatar) -> None:
    z = torch.zeros(1, kpt_avatar.config.latent)
    before = dragged(kpt_avatar, 0)
    after = before.following(torch.full((136, 2), 0.5))
    assert torch.equal(before.compare(kpt_avatar, z).energy, after.compare(kpt_avatar, z).energy)


def test_whatever_is_asked_for_the_face_stays_within_reach(kpt_avatar: Avatar, monkeypatch: pytest.MonkeyPatch) -> None:
    """A keypoint that is torn across the image; without the bound the face goes far from all that was trained on."""
    monkeypatch.setattr(lipflow.reach, "MARGIN", 400.0)
    reach = Reach.of(kpt_avatar)
    with torch.no_grad():
        points = kpt_avatar.keypoint_camera.project_normalised(kpt_avatar.decode_landmarks(torch.zeros(1, 16)))[0]
    torn = points.clone()
    torn[3] = torch.tensor([0.95, 0.05])
    pinned = torch.zeros(136, dtype=torch.bool)
    pinned[3] = True
    bound = DraggedKeypoints(torn, kpt_avatar.keypoint_camera, torch.where(pinned, 10.0, 0.02), pinned=pinned)
    *_, free = fit(kpt_avatar, KeypointObservation(torn, bound.camera, bound.weights), FitConfig("lm", iterations=60))
    run = fit(kpt_avatar, bound.following(points), FitConfig("lm", iterations=60))
    state = next(run)
    for _ in range(30):
        state = run.send(bound.following(torch.from_numpy(state.extras["projected"])))
    coefficients = kpt_avatar.decoder.mesh_coefficients(torch.from_numpy(np.stack([free.z, state.z])))
    far, near = reach.share_beyond(coefficients)
    assert far > 5.0
    assert near < 0.3


@pytest.mark.parametrize("driving", ["kpt", "hmc"])
def test_a_face_out_of_reach_costs_energy_whatever_drives_the_prior(
    kpt_avatar: Avatar, hmc_avatar: Avatar, driving: str
) -> None:
    avatar = {"kpt": kpt_avatar, "hmc": hmc_avatar}[driving]
    far = 1e6 * torch.ones(1, avatar.config.latent)
    bound = dragged(avatar, 0)
    added = (
        bound.compare(avatar, far).energy
        - KeypointObservation(bound.keypoints, bound.camera).compare(avatar, far).energy
    )
    expected = 0.5 * Reach.of(avatar).residual(avatar.decoder.mesh_coefficients(far)).square()
    assert expected > 0
    assert added.tolist() == pytest.approx(expected.tolist(), rel=1e-3)


@pytest.mark.parametrize("pinned", [(), tuple(range(136))], ids=["none", "all"])
def test_where_nothing_follows_the_prior_sees_what_was_given(kpt_avatar: Avatar, pinned: tuple[int, ...]) -> None:
    before = dragged(kpt_avatar, *pinned)
    after = before.following(torch.full((136, 2), 0.5))
    assert after is before
    assert before.is_at_rest(torch.full((136, 2), 0.5))


def test_projections_outside_the_image_are_shown_at_its_edge(kpt_avatar: Avatar) -> None:
    shown = dragged(kpt_avatar, 0).following(torch.full((136, 2), 1.5)).driving("kpt")[0]
    assert shown.max() == 1.0
