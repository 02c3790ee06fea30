"""The bound on faces: next to nothing inside, a spring outside, and a derivative that is its own."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from lipflow.avatar import Avatar
from lipflow.observations import KeypointObservation
from lipflow.reach import FLOOR, MARGIN, SOFTNESS, STIFFNESS, Reach, WithinReach
from support.random_avatar import random_avatar, tiny_config


@pytest.fixture(scope="module")
def avatar():
    made = random_avatar(tiny_config("gaussian", "kpt")).double().for_inference()
    codes = torch.randn(9, made.config.latent, generator=torch.Generator().manual_seed(2)).double()
    made.set_samples(codes, codes, ("a",) * 9)
    return made


def faces(avatar: Avatar, z: torch.Tensor) -> torch.Tensor:
    """Codes [B, Z] -> mesh coefficients [B, R], float64."""
    return avatar.decoder.mesh_coefficients(z).detach().double()


def test_it_is_as_far_as_the_training_faces_with_a_margin(avatar) -> None:
    reach, trained = Reach.of(avatar), faces(avatar, avatar.samples_z)
    assert reach.centre == pytest.approx(trained.mean(0).numpy(), abs=1e-6)
    distances = ((trained - trained.mean(0)) @ torch.from_numpy(reach.metric).double().T).norm(dim=1)
    assert reach.radius == pytest.approx(MARGIN * float(distances.max()), rel=1e-5)
    assert (reach.share_beyond(trained) == 0).all()
    assert (reach.residual(trained) < 0.2).all()  # σ: the spring hardly knows of them
    way = trained[distances.argmax()] - trained.mean(0)
    beyond = trained.mean(0) + 1.5 * MARGIN * way[None]
    assert float(reach.residual(beyond)) == pytest.approx(0.5 * STIFFNESS, rel=1e-4)
    avatar_without = random_avatar(tiny_config("gaussian", "kpt"))
    assert Reach.of(avatar_without) is None


def test_it_is_narrow_where_the_meshes_hardly_differ_whatever_the_codes_do(avatar) -> None:
    """Distances are those of meshes in the inverse of their covariance, with the floor's share in every direction."""
    reach, codes = Reach.of(avatar), avatar.samples_z
    weight = avatar.decoder.head.effective_weight().detach()
    to_basis = torch.linalg.qr(weight).R  # [R, R] coefficients -> orthonormal directions of the mesh
    meshes = faces(avatar, codes) @ to_basis.T
    covariance = torch.cov(meshes.T)
    spread = covariance + FLOOR * covariance.diagonal().mean() * torch.eye(len(covariance)).double()
    other = torch.randn(5, avatar.config.latent, generator=torch.Generator().manual_seed(4)).double() * 20.0
    away = faces(avatar, other) @ to_basis.T - meshes.mean(0)
    distance = (away @ torch.linalg.inv(spread) * away).sum(-1).sqrt()
    assert reach.share_beyond(faces(avatar, other)).tolist() == pytest.approx(
        (distance / reach.radius - 1).clamp_min(0).tolist(), rel=1e-4
    )
    assert (distance > reach.radius).any()


def test_it_says_how_many_times_as_far_out_as_the_farthest_training_face(avatar) -> None:
    """Without the margin, which is the bound's: 1 is as far as one of them."""
    reach, trained = Reach.of(avatar), faces(avatar, avatar.samples_z)
    assert reach.times_as_far(trained).max() == pytest.approx(1.0, rel=1e-5)
    way = trained[reach.times_as_far(trained).argmax()] - trained.mean(0)
    assert reach.times_as_far(trained.mean(0) + 1.3 * way[None]).tolist() == pytest.approx([1.3], rel=1e-5)


@pytest.mark.parametrize("what", ["one face", "no number", "a mesh that never moves"])
def test_without_a_spread_there_is_none(avatar, what: str) -> None:
    still = copy.deepcopy(avatar)
    codes = {"one face": torch.ones(5, 16), "no number": torch.full((5, 16), torch.nan)}.get(what, still.samples_z)
    if what == "a mesh that never moves":
        torch.nn.init.zeros_(still.decoder.head.weight)
    still.set_samples(codes.double(), codes.double(), ("a",) * len(codes))
    assert Reach.of(still) is None


def test_codes_may_go_where_the_mesh_does_not_see_them(avatar) -> None:
    """A code far outside all training codes is within reach if its face is one of theirs."""
    silent = copy.deepcopy(avatar)
    with torch.no_grad():
        silent.decoder.code.weight[:, 0] = 0.0
    far = silent.samples_z.clone()
    far[:, 0] += 1e4
    assert (Reach.of(silent).share_beyond(faces(silent, far)) == 0).all()


def code_at(share: float, avatar: Avatar, reach: Reach) -> np.ndarray:
    """The code [Z] on the way out through a training frame's whose face is at that share of the radius."""

    def at(length: float) -> float:
        face = faces(avatar, torch.from_numpy(length * way)[None]).numpy()[0]
        return float(np.linalg.norm(reach.metric @ (face - reach.centre))) / reach.radius - share

    way = avatar.samples_z[0].numpy()
    return brentq(at, 1.0, 100.0, xtol=1e-12) * way


@pytest.mark.parametrize("share", [0.92, 1.0, 3.0], ids=["inside", "at the bound", "outside"])
def test_residuals_and_jacobian(avatar, share: float) -> None:
    reach = Reach.of(avatar)
    points = torch.rand(136, 2, generator=torch.Generator().manual_seed(1)).double()
    observation = KeypointObservation(points, avatar.keypoint_camera, torch.ones(136).double())
    inner = observation.against(avatar)
    against = WithinReach(inner, reach)
    z = code_at(share, avatar, reach)
    difference = against(z)
    assert difference.residual[:-1] == pytest.approx(inner(z).residual)
    softly = STIFFNESS * SOFTNESS * np.log1p(np.exp((share - 1.0) / SOFTNESS))
    assert difference.residual[-1] == pytest.approx(softly, rel=1e-4)
    coefficients = faces(avatar, torch.from_numpy(z)[None])
    assert difference.residual[-1] == pytest.approx(float(reach.residual(coefficients)), rel=1e-6)
    by_feature, features = difference.factors()
    jacobian = by_feature @ features
    step = 1e-6
    numeric = np.stack(
        [(against(z + step * e).residual - against(z - step * e).residual) / (2 * step) for e in np.eye(len(z))], axis=1
    )
    assert np.linalg.norm((jacobian - numeric)[-1]) <= 1e-5 * np.linalg.norm(numeric[-1])
    assert np.linalg.norm(jacobian - numeric) <= 1e-5 * np.linalg.norm(numeric)
    assert set(difference.shown) == set(inner(z).shown)
