"""Posterior samples: a linear Gaussian model has a known answer; every sampler must give it, or say that it cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lipflow.checks import InputError
from lipflow.fitting import FitConfig, fit, make_problem
from lipflow.laplace import laplace, log_mass
from lipflow.observations import KeypointObservation
from lipflow.posterior import (
    Posterior,
    PosteriorConfig,
    PosteriorState,
    effective_samples,
    evaluations,
    sample_posterior,
)
from lipflow.solvers import Problem
from support.linear import LATENT, LinearObservation, SolvedObservation, linear_posterior, straight_avatar
from support.random_avatar import random_avatar, tiny_config

PLAIN = PosteriorConfig(samples=1500, warmup=30, thin=2, chains=50, batch=500, textures=False)
EVERY = {
    "prior, weights": replace(PLAIN, reference="prior", sampler="weights", samples=8000),
    "prior, chain": replace(PLAIN, reference="prior", sampler="chain", thin=8),
    "laplace, weights": replace(PLAIN, sampler="weights"),
    "laplace, chain": PLAIN,
}


def sampled(problem: Problem, z: torch.Tensor, config: PosteriorConfig, seed: int = 0) -> Posterior:
    return list(sample_posterior(problem, z, config, seed=seed))[-1].posterior


def linear_problem(kind: type[LinearObservation], noise: float = 1.2) -> tuple[Problem, torch.Tensor, torch.Tensor]:
    """A problem under a Gaussian prior with its own μ and σ, and the posterior's mean and covariance."""
    avatar = straight_avatar("gaussian", "kpt")
    generator = torch.Generator().manual_seed(3)
    matrix = torch.randn(5, LATENT, generator=generator) * torch.tensor([3.0, 2.0, 1.0, 0.6, 0.3])[:, None]
    observation = kind(matrix, matrix @ torch.randn(LATENT, generator=generator), noise)
    keypoints = avatar.keypoint_camera.project_normalised(avatar.decode_landmarks(torch.zeros(LATENT)))
    problem = Problem(avatar, observation, avatar.prior, avatar.context(keypoints[None]), 1.0, "z")
    return problem, *linear_posterior(observation, problem.mu, problem.log_sigma)


@pytest.mark.parametrize("kind", [SolvedObservation, LinearObservation])
@pytest.mark.parametrize("name", EVERY)
def test_every_sampler_finds_the_mean_and_the_covariance_of_a_linear_gaussian_model(name, kind):
    problem, mean, covariance = linear_problem(kind)
    found = sampled(problem, mean.float(), EVERY[name])
    assert found.weights.sum() == pytest.approx(1)
    codes, deviation = torch.from_numpy(found.codes).double(), covariance.diagonal().sqrt()
    weights = torch.from_numpy(found.weights)
    error = (weights @ codes - mean) / deviation
    assert error.abs().max() < 4 * found.ess**-0.5  # sixteen coordinates, four standard errors
    centred = (codes - weights @ codes) / deviation
    correlation = centred.T @ (weights[:, None] * centred)
    expected = covariance / deviation / deviation[:, None]
    assert (correlation - expected).abs().max() < 6 * found.ess**-0.5
    assert found.ess > 15


def test_the_vertices_deviate_as_the_covariance_says():
    problem, mean, covariance = linear_problem(SolvedObservation)
    found = sampled(problem, mean.float(), replace(PLAIN, sampler="weights"))
    jacobian = torch.autograd.functional.jacobian(problem.avatar.decode_mesh, mean.float()).double()  # [V, 3, Z]
    expected = torch.einsum("vck,kl,vcl->v", jacobian, covariance, jacobian).sqrt()
    np.testing.assert_allclose(found.vertex_std, expected, rtol=0.12)
    np.testing.assert_allclose(found.vertex_mean, problem.avatar.decode_mesh(mean.float()), atol=0.8)


def test_laplaces_gaussian_is_exact_where_the_model_is_linear():
    problem, mean, _ = linear_problem(SolvedObservation)
    found = sampled(problem, mean.float() + 0.3, replace(PLAIN, sampler="weights"))
    assert found.ess == pytest.approx(PLAIN.samples, rel=1e-3)
    chained = sampled(problem, mean.float() + 0.3, PLAIN)
    assert chained.acceptance > 0.999


def test_a_peaks_mass_is_the_evidence_of_a_linear_model():
    """∫ exp(−½ |w|² − energy) dw against the Gaussian evidence of the data, both without their constants."""
    problem, mean, _ = linear_problem(SolvedObservation)
    observation = problem.observation
    by_w = observation.matrix * torch.exp(problem.log_sigma)
    spread = by_w @ by_w.T + observation.noise**2 * torch.eye(5)
    apart = observation.given - observation.matrix @ problem.mu
    normal = torch.distributions.MultivariateNormal(torch.zeros(5), spread)
    expected = normal.log_prob(apart) + 5 * (np.log(observation.noise) + 0.5 * np.log(2 * np.pi))
    steps = laplace(problem, mean.float() + 0.3)
    with pytest.raises(StopIteration) as ended:
        while True:
            next(steps)
    assert log_mass(problem, ended.value.value) == pytest.approx(float(expected), abs=1e-3)


def test_under_a_flow_chains_agree_with_weighted_draws_of_the_prior():
    """No closed form: but weighting 20,000 draws of the prior is right by definition, and has the draws here."""
    avatar = random_avatar(tiny_config("flow", "kpt"))
    z = torch.randn(LATENT, generator=torch.Generator().manual_seed(1))
    keypoints = avatar.keypoint_camera.project_normalised(avatar.decode_landmarks(z))
    weights = torch.zeros(136)
    weights[::20] = 1
    observation = replace(KeypointObservation.for_avatar(avatar, keypoints, weights), noise=6.0)
    config = FitConfig(optimiser="lm", iterations=20)
    fitted = torch.from_numpy(list(fit(avatar, observation, config))[-1].z)
    problem = make_problem(avatar, observation, config)
    brute = sampled(problem, fitted, replace(EVERY["prior, weights"], samples=12000))
    assert brute.ess > 150
    deviation = np.sqrt(np.cov(brute.codes.T, aweights=brute.weights).diagonal())
    for name in ("laplace, chain", "laplace, weights"):
        found = sampled(problem, fitted, EVERY[name])
        apart = (found.weights @ found.codes - brute.weights @ brute.codes) / deviation
        assert np.abs(apart).max() < 4.5 * (1 / found.ess + 1 / brute.ess) ** 0.5
        np.testing.assert_allclose(found.vertex_std.mean(), brute.vertex_std.mean(), rtol=0.12)


def test_lambda_is_a_wider_noise():
    problem, mean, _ = linear_problem(SolvedObservation)
    twice = Problem(problem.avatar, problem.observation, problem.prior, problem.context, 4.0, "z")
    _, *expected = linear_problem(SolvedObservation, noise=2.4)
    found = sampled(twice, mean.float(), replace(PLAIN, sampler="weights"))
    assert found.ess == pytest.approx(PLAIN.samples, rel=1e-3)
    assert np.cov(found.codes.T).trace() == pytest.approx(float(expected[1].trace()), rel=0.1)


def test_weighting_the_prior_collapses_in_many_dimensions_and_says_so():
    problem, mean, _ = linear_problem(SolvedObservation, noise=0.02)
    found = sampled(problem, mean.float(), replace(EVERY["prior, weights"], samples=1000))
    assert found.ess < 5


# ---- running statistics


def test_statistics_on_the_way_are_those_of_the_codes_so_far():
    avatar = straight_avatar()
    observation = SolvedObservation(torch.eye(LATENT)[:3] * 2, torch.ones(3))
    problem = make_problem(avatar, observation, FitConfig(prior="standard-normal"))
    config = PosteriorConfig(samples=20, chains=5, thin=2, warmup=4, batch=3, sampler="weights", reference="prior")
    for state in sample_posterior(problem, torch.zeros(LATENT), config):
        found = state.posterior
        codes, weights = torch.from_numpy(found.codes), torch.from_numpy(found.weights)
        assert len(codes) == state.done
        vertices = avatar.decode_mesh(codes).double()
        mean = torch.einsum("n,nvc->vc", weights, vertices)
        free = 1 - weights.square().sum()
        variance = torch.einsum("n,nvc->v", weights, (vertices - mean).square()) / free
        np.testing.assert_allclose(found.vertex_mean, mean, atol=1e-3)
        np.testing.assert_allclose(found.vertex_std, variance.sqrt(), rtol=1e-3, atol=1e-4)
        textures = avatar.decode_texture(codes, torch.tensor([[0.0, 0.0, 1.0]]).expand(len(codes), 3)).double()
        apart = (textures - torch.einsum("n,nctu->ctu", weights, textures)).square()
        spread = (torch.einsum("n,nctu->ctu", weights, apart) / free).mean(0).sqrt()
        np.testing.assert_allclose(found.texture_std, spread, rtol=1e-2, atol=1e-5)


def test_the_effective_number_of_draws():
    generator = torch.Generator().manual_seed(0)
    independent = torch.randn(8, 200, 2, generator=generator)
    assert effective_samples(independent) == pytest.approx(1600, rel=0.3)
    slow = torch.zeros(8, 1000, 1)
    for t in range(1, 1000):
        slow[:, t] = 0.9 * slow[:, t - 1] + 0.19**0.5 * torch.randn(8, 1, generator=generator)
    assert effective_samples(slow) == pytest.approx(8000 * 0.1 / 1.9, rel=0.35)
    apart = independent + 5 * torch.arange(8.0)[:, None, None]  # chains that never met
    assert effective_samples(apart) < 20
    assert np.isnan(effective_samples(independent[:, :3]))


# ---- the generator


def test_stages_come_in_order_and_the_same_seed_gives_the_same_codes():
    problem, mean, _ = linear_problem(LinearObservation)
    config = PosteriorConfig(samples=12, chains=4, warmup=3, thin=2, batch=4)
    states = list(sample_posterior(problem, mean.float(), config, seed=5))
    assert all(isinstance(state, PosteriorState) for state in states)
    stages = [state.stage for state in states]
    assert stages == ["reference"] * LATENT + ["warm-up"] * 3 + ["sampling"] * 3
    assert [state.done for state in states[-3:]] == [4, 8, 12]
    again = sampled(problem, mean.float(), config, seed=5)
    np.testing.assert_array_equal(again.codes, states[-1].posterior.codes)
    assert not np.array_equal(sampled(problem, mean.float(), config, seed=6).codes, again.codes)


@pytest.mark.parametrize("name", EVERY)
def test_evaluations_are_told_before_they_are_made(name, monkeypatch):
    problem, mean, _ = linear_problem(LinearObservation)
    config = replace(EVERY[name], samples=12, chains=4, warmup=3, thin=2, batch=4)
    made, whole = [0], LinearObservation.residuals

    def counted(self, avatar, z):
        made[0] += len(z)
        return whole(self, avatar, z)

    monkeypatch.setattr(LinearObservation, "residuals", counted)
    after = {state.stage: made[0] for state in sample_posterior(problem, mean.float(), config)}
    told = evaluations(problem, config)
    before = 1 + (config.chains if config.sampler == "chain" else 0)  # of the start
    assert after["sampling"] == pytest.approx(before + sum(told.values()), abs=2)
    assert after.get("reference", 1) == 1 + told["reference"]


def test_gradients_are_on_again_between_states():
    problem, mean, _ = linear_problem(LinearObservation)
    for _ in sample_posterior(problem, mean.float(), PosteriorConfig(samples=4, chains=2, warmup=2, thin=1)):
        assert torch.is_grad_enabled()


# ---- bad input


def test_mistakes_are_one_line():
    problem, mean, _ = linear_problem(SolvedObservation)
    with pytest.raises(InputError, match="z: expected"):
        next(sample_posterior(problem, torch.zeros(5)))
    with pytest.raises(InputError, match="finite energy"):
        next(sample_posterior(problem, torch.full((LATENT,), float("nan"))))
    free = Problem(problem.avatar, problem.observation, problem.prior, problem.context, 0.0, "z")
    with pytest.raises(InputError, match="λ above 0"):
        next(sample_posterior(free, mean.float()))
    for bad in ({"samples": 0}, {"acceptance": 1.0}, {"difference": 0.0}, {"sampler": "gibbs"}, {"reference": "data"}):
        with pytest.raises(InputError, match=f"^{next(iter(bad))}: .*{next(iter(bad.values()))}"):
            PosteriorConfig(**bad)
