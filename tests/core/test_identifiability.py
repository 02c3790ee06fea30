"""What an observation sees of the code: known null spaces, known motions, and images against closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lipflow.checks import InputError
from lipflow.fitting import FitConfig, make_problem
from lipflow.identifiability import Identifiability, ProbeConfig, effect, probe, right_singular, whitened_jacobian
from lipflow.observations import HmcObservation, KeypointObservation, linearise
from lipflow.solvers import Problem
from support.linear import LATENT, LinearObservation, SolvedObservation, straight_avatar
from support.random_avatar import TINY_HMC, random_avatar, tiny_config

FREE = FitConfig(prior="standard-normal")


def probed(problem: Problem, z: torch.Tensor, **options: object) -> Identifiability:
    steps = probe(problem, z, ProbeConfig(**options))
    with pytest.raises(StopIteration) as ended:
        while True:
            next(steps)
    return ended.value.value


def finished(steps):
    with pytest.raises(StopIteration) as ended:
        while True:
            next(steps)
    return ended.value.value


@pytest.mark.parametrize("kind", [SolvedObservation, LinearObservation])
def test_a_linear_observations_null_space_is_found(kind):
    generator = torch.Generator().manual_seed(0)
    left = torch.linalg.qr(torch.randn(9, 5, generator=generator))[0]
    right = torch.linalg.qr(torch.randn(LATENT, 5, generator=generator))[0]
    values = torch.tensor([20.0, 8.0, 4.0, 2.0, 0.5])
    observation = kind(left @ torch.diag(values) @ right.T, torch.zeros(9), noise=1.0)
    problem = make_problem(straight_avatar(), observation, FREE)
    found = probed(problem, torch.zeros(LATENT), probes=20)
    assert (found.singular_values[5:] < 1e-5).all()
    tolerance = 1e-4 if kind is SolvedObservation else 0.25  # sums with random signs scatter by √(5 / 320)
    np.testing.assert_allclose(found.singular_values[:5], values, rtol=tolerance)
    assert found.seen == 4
    assert found.degrees == pytest.approx(float((values**2 / (1 + values**2)).sum()), abs=0.1)
    np.testing.assert_allclose(found.directions @ found.directions.T, np.eye(LATENT), atol=1e-5)
    null = torch.from_numpy(found.directions[5:])
    assert (null @ right).abs().max() < 1e-5  # exact in both, though not one residual was looked at alone
    assert found.unseen.shape == (LATENT - 4, LATENT)


def test_singular_values_of_keypoints_are_those_of_their_jacobian():
    avatar = random_avatar(tiny_config("flow", "kpt"))
    z = torch.randn(LATENT, generator=torch.Generator().manual_seed(2))
    keypoints = avatar.keypoint_camera.project_normalised(avatar.decode_landmarks(z))
    problem = make_problem(avatar, KeypointObservation.for_avatar(avatar, keypoints), FitConfig(optimiser="lm"))
    _, by_z = linearise(problem.observation, avatar, z)
    in_z = probed(problem, z, space="z")
    np.testing.assert_allclose(in_z.singular_values, torch.linalg.svdvals(by_z), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(in_z.codes, in_z.directions)
    in_u = probed(problem, z)
    w = problem.whiten(z[None])[0][0]
    camera, noise = avatar.keypoint_camera, problem.observation.noise
    by_w = torch.autograd.functional.jacobian(
        lambda w: camera.project(avatar.decode_landmarks(problem.unwhiten(w[None])[0]))[:, :2].flatten() / noise, w
    )
    np.testing.assert_allclose(in_u.singular_values, torch.linalg.svdvals(by_w), rtol=2e-3, atol=2e-3)
    by_z = torch.autograd.functional.jacobian(lambda z: problem.whiten(z[None])[0][0], z)
    # directions of u, carried to z
    np.testing.assert_allclose(by_z.numpy() @ in_u.codes.T, in_u.directions.T, atol=1e-3)


def test_what_directions_move_is_what_the_decoder_moves():
    avatar = straight_avatar()
    observation = SolvedObservation(torch.eye(LATENT)[:3] * torch.tensor([[30.0], [20.0], [10.0]]), torch.zeros(3))
    problem = make_problem(avatar, observation, FREE)
    found = probed(problem, torch.zeros(LATENT), batch=5)
    assert found.seen == 3
    jacobian = torch.autograd.functional.jacobian(avatar.decode_mesh, torch.zeros(LATENT))  # [V, 3, Z]
    np.testing.assert_allclose(np.abs(found.directions[:3, :3]), np.eye(3), atol=1e-5)
    np.testing.assert_allclose(found.motion_mm[0], jacobian[..., 0].norm(dim=-1).square().mean().sqrt(), rtol=1e-2)
    np.testing.assert_allclose(found.unseen_mm, jacobian[..., 3:].square().sum((1, 2)).sqrt(), rtol=1e-2)
    np.testing.assert_allclose(found.all_mm, jacobian.square().sum((1, 2)).sqrt(), rtol=1e-2)
    assert found.unseen_texture.shape == (32, 32)
    vertices, texture = effect(
        problem, torch.zeros(LATENT), torch.from_numpy(found.codes[:2]), torch.tensor([0, 0, 1.0])
    )
    assert vertices.shape == (2, len(jacobian), 3)
    rms = texture[1][:, avatar.texture_valid].square().mean().sqrt()
    np.testing.assert_allclose(found.texture[1], rms, rtol=1e-3)


def test_a_headset_does_not_see_what_its_mask_hides():
    """Sketched Jacobians of images: of all pixels, of one view alone, of none."""
    avatar = random_avatar(tiny_config("gaussian", "hmc"))
    z = torch.randn(LATENT, generator=torch.Generator().manual_seed(2))
    blank = HmcObservation.for_avatar(avatar, torch.zeros(3, *TINY_HMC))
    images, masks = blank.render(avatar, z[None])
    whole = replace(blank, images=images[0].clamp(0, 1), masks=masks[0])
    only_mouth = replace(whole, masks=masks[0] * torch.tensor([1.0, 0, 0])[:, None, None])
    nothing = replace(whole, masks=torch.zeros(3, *TINY_HMC))
    values = [
        probed(make_problem(avatar, seen, FitConfig()), z, probes=2).degrees for seen in (whole, only_mouth, nothing)
    ]
    assert values[0] > values[1] > 0
    assert values[2] == 0


def test_the_sketch_of_images_is_the_jacobian_of_their_smoothed_residuals():
    """Its largest singular value is how fast they change along its direction."""
    avatar = random_avatar(tiny_config("gaussian", "hmc"))
    z = torch.randn(LATENT, generator=torch.Generator().manual_seed(2))
    blank = HmcObservation.for_avatar(avatar, torch.zeros(3, *TINY_HMC))
    images, masks = blank.render(avatar, (z + 0.1)[None])
    observation = replace(blank, images=images[0].clamp(0, 1), masks=masks[0])
    problem = make_problem(avatar, observation, FitConfig())
    hard = observation.residuals(avatar, z[None])
    torch.testing.assert_close(0.5 * hard.square().sum(-1), observation.energy(avatar, z[None]), rtol=1e-4, atol=1e-4)
    w = problem.whiten(z[None])[0]
    sketch = finished(whitened_jacobian(problem, z, 16, 0))
    most, direction = right_singular(sketch)
    ahead = observation.residuals(avatar, problem.unwhiten(w + 1e-2 * direction[:1].float()), silhouette=True)
    behind = observation.residuals(avatar, problem.unwhiten(w - 1e-2 * direction[:1].float()), silhouette=True)
    slope = (ahead - behind).norm() / 2e-2
    assert slope.item() == pytest.approx(most[0].item(), rel=0.15)


def test_mistakes_are_one_line():
    problem = make_problem(straight_avatar(), SolvedObservation(torch.eye(LATENT), torch.zeros(LATENT)), FREE)
    with pytest.raises(InputError, match="z: expected"):
        next(probe(problem, torch.zeros(3)))
    with pytest.raises(InputError, match="finite"):
        next(probe(problem, torch.full((LATENT,), float("inf"))))
    for bad in ({"space": "w"}, {"threshold": 0.0}, {"probes": 0}):
        with pytest.raises(InputError):
            ProbeConfig(**bad)
