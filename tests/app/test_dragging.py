"""Dragged keypoints: the prior is shown the others where the face has them."""

from __future__ import annotations

import pytest
import torch

from lipflow.avatar import Avatar
from lipflow_studio.dragging import DraggedKeypoints


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


def test_following_changes_the_prior_and_not_the_energy(kpt_avatar: Avatar) -> None:
    z = torch.zeros(1, kpt_avatar.config.latent)
    before = dragged(kpt_avatar, 0)
    after = before.following(torch.full((136, 2), 0.5))
    assert torch.equal(before.compare(kpt_avatar, z).energy, after.compare(kpt_avatar, z).energy)


@pytest.mark.parametrize("pinned", [(), tuple(range(136))], ids=["none", "all"])
def test_where_nothing_follows_the_prior_sees_what_was_given(kpt_avatar: Avatar, pinned: tuple[int, ...]) -> None:
    before = dragged(kpt_avatar, *pinned)
    after = before.following(torch.full((136, 2), 0.5))
    assert after is before
    assert before.is_at_rest(torch.full((136, 2), 0.5))


def test_projections_outside_the_image_are_shown_at_its_edge(kpt_avatar: Avatar) -> None:
    shown = dragged(kpt_avatar, 0).following(torch.full((136, 2), 1.5)).driving("kpt")[0]
    assert shown.max() == 1.0
