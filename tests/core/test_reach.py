"""The bound on codes: nothing inside, a spring outside, and a derivative that is its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lipflow.observations import KeypointObservation
from lipflow.reach import MARGIN, STIFFNESS, Reach, WithinReach
from support.random_avatar import random_avatar, tiny_config


@pytest.fixture(scope="module")
def avatar():
    made = random_avatar(tiny_config("gaussian", "kpt")).double().for_inference()
    codes = torch.randn(9, made.config.latent, generator=torch.Generator().manual_seed(2)).double()
    made.set_samples(codes, codes, ("a",) * 9)
    return made


def test_it_is_as_far_as_the_training_codes_with_a_margin(avatar) -> None:
    reach, codes = Reach.of(avatar), avatar.samples_z
    assert reach.centre == pytest.approx(codes.mean(0).numpy(), abs=1e-6)
    assert reach.radius == pytest.approx(MARGIN * float((codes - codes.mean(0)).norm(dim=1).max()), rel=1e-5)
    assert (reach.residual(codes) == 0).all()
    beyond = torch.from_numpy(reach.centre) + torch.eye(avatar.config.latent)[:1] * 1.5 * reach.radius
    assert float(reach.residual(beyond)) == pytest.approx(0.5 * STIFFNESS, rel=1e-4)
    avatar_without = random_avatar(tiny_config("gaussian", "kpt"))
    assert Reach.of(avatar_without) is None


def test_as_they_spread_it_is_narrow_where_they_hardly_differ(avatar) -> None:
    flat = random_avatar(tiny_config("gaussian", "kpt")).double().for_inference()
    codes = avatar.samples_z * torch.linspace(3.0, 0.0, avatar.config.latent).double()
    flat.set_samples(codes, codes, ("a",) * 9)
    reach, ball = Reach.of(flat, as_they_spread=True), Reach.of(flat)
    away = codes - codes.mean(0)
    spread = torch.cov(away.T) + away.square().sum() / 8 / len(away.T) * torch.eye(len(away.T)).double()
    distance = (away @ torch.linalg.inv(spread) * away).sum(-1).sqrt()
    assert reach.radius == pytest.approx(MARGIN * float(distance.max()), rel=1e-5)
    assert (reach.residual(codes) == 0).all()
    ways = torch.from_numpy(reach.centre) + torch.eye(len(away.T))[[0, -1]] * 0.9 * ball.radius
    assert (ball.residual(ways) == 0).all()
    wide, narrow = reach.share_beyond(ways)
    assert narrow > wide + 0.2


@pytest.mark.parametrize("as_they_spread", [False, True], ids=["ball", "ellipsoid"])
@pytest.mark.parametrize("factor", [0.5, 3.0], ids=["inside", "outside"])
def test_residuals_and_jacobian(avatar, factor: float, as_they_spread: bool) -> None:
    reach = Reach.of(avatar, as_they_spread=as_they_spread)
    points = torch.rand(136, 2, generator=torch.Generator().manual_seed(1)).double()
    observation = KeypointObservation(points, avatar.keypoint_camera, torch.ones(136).double())
    inner = observation.against(avatar)
    against = WithinReach(inner, reach, avatar)
    way = np.random.default_rng(0).normal(size=avatar.config.latent)
    z = reach.centre + factor * reach.radius * way / np.linalg.norm(reach.metric @ way)
    difference = against(z)
    assert difference.residual[:-1] == pytest.approx(inner(z).residual)
    assert difference.residual[-1] == pytest.approx(float(reach.residual(torch.from_numpy(z)[None])), rel=1e-6)
    by_feature, features = difference.factors()
    jacobian = by_feature @ features
    step = 1e-6
    numeric = np.stack(
        [(against(z + step * e).residual - against(z - step * e).residual) / (2 * step) for e in np.eye(len(z))], axis=1
    )
    assert np.linalg.norm(jacobian - numeric) <= 1e-5 * np.linalg.norm(numeric)
    assert set(difference.shown) == set(inner(z).shown)
