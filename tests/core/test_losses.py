"""The terms of the objective against independent references, and the two traps that sit in them."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal
from torch.distributions import kl_divergence as reference_kl

from lipflow import losses
from lipflow.priors import PRIORS, LatentPrior, PriorConfig

Z, C = 6, 5


def gaussians(seed: int, n: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mu_q, ls_q, mu_p, ls_p = torch.randn(4, n, Z, generator=generator, dtype=torch.float64)
    return mu_q, 0.5 * ls_q, mu_p, 0.5 * ls_p


def normal(mu: Tensor, log_sigma: Tensor) -> Independent:
    return Independent(Normal(mu, log_sigma.exp()), 1)


def stirred(name: str) -> LatentPrior:
    torch.manual_seed(0)
    prior = PRIORS[name](PriorConfig(latent=Z, context=C, couplings=3, hidden=8)).double().eval()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return prior


class TestReconstruction:
    def test_image_loss_ignores_what_is_outside_the_mask(self) -> None:
        photo, mask = torch.rand(2, 3, 6, 5), torch.zeros(2, 6, 5)
        mask[:, 2:4, 1:3] = 1
        rendered = photo + 10 * (1 - mask[:, None]) + 0.2
        assert losses.image_loss(rendered, photo, mask, 0.1).item() == pytest.approx(4.0, rel=1e-4)
        assert losses.image_loss(rendered, photo, 0 * mask, 0.1).item() == 0.0

    def test_texture_loss_ignores_unseen_channels_and_texels_beyond_the_surface(self) -> None:
        recorded = torch.rand(2, 3, 4, 4) + 0.1
        decoded = recorded + 0.3
        recorded[0, 1, 2, 3] = 0.0
        decoded[0, 1, 2, 3] = 99.0
        valid = torch.ones(4, 4, dtype=torch.bool)
        valid[0, 0] = False
        decoded[:, :, 0, 0] = 99.0
        assert losses.texture_loss(decoded, recorded, valid, 0.1).item() == pytest.approx(9.0, rel=1e-4)

    @pytest.mark.parametrize("soft", [False, True])
    def test_gradients_are_those_of_the_plain_formula(self, soft: bool) -> None:
        generator = torch.Generator().manual_seed(0)
        decoded, recorded = torch.rand(2, 2, 3, 5, 5, generator=generator, dtype=torch.float64)
        mask = torch.rand(2, 5, 5, generator=generator, dtype=torch.float64)
        mask = mask if soft else (mask > 0.4).double()
        recorded[0, :, 1, 1] = 0.0
        valid = torch.rand(5, 5, generator=generator) > 0.2
        decoded.requires_grad_()
        seen = (recorded > 0) & valid
        plain = (((decoded - recorded) * mask[:, None]) / 0.3).square().sum() / (3 * mask.sum())
        plain = plain + (((decoded - recorded) / 0.2).square() * seen).sum() / seen.sum()
        loss = losses.image_loss(decoded, recorded, mask, 0.3)
        loss = loss + losses.texture_loss(decoded, recorded, valid, 0.2)
        torch.testing.assert_close(loss, plain)
        torch.testing.assert_close(torch.autograd.grad(loss, decoded), torch.autograd.grad(plain, decoded))

    def test_mesh_loss_is_a_mean_in_standard_deviations(self) -> None:
        tracked = torch.randn(2, 7, 3)
        assert losses.mesh_loss(tracked + 3.0, tracked, 1.5).item() == pytest.approx(4.0, rel=1e-4)


class TestLatent:
    def test_kl_is_torchs(self) -> None:
        q_p = gaussians(0)
        torch.testing.assert_close(losses.kl_divergence(*q_p), reference_kl(normal(*q_p[:2]), normal(*q_p[2:])))
        zero = torch.zeros_like(q_p[0])
        torch.testing.assert_close(
            losses.kl_to_standard_normal(*q_p[:2]), reference_kl(normal(*q_p[:2]), normal(zero, zero))
        )

    def test_nll_is_torchs_without_a_flow(self) -> None:
        mu_q, _, mu_p, ls_p = gaussians(1)
        nll = losses.negative_log_likelihood(mu_q, mu_p, ls_p, torch.zeros(3, dtype=torch.float64))
        torch.testing.assert_close(nll, -normal(mu_p, ls_p).log_prob(mu_q))

    @pytest.mark.parametrize("name", sorted(PRIORS))
    def test_trap_1_the_loss_has_a_minus_on_both_terms(self, name: str) -> None:
        """Change of variables, with the Jacobian from autograd and its determinant from linear algebra."""
        prior = stirred(name)
        z, h = gaussians(2)[0], torch.randn(3, C, dtype=torch.float64)
        u, log_abs_det = prior.to_prior(z, h)
        mu_p, ls_p = prior.base(h)
        loss = losses.negative_log_likelihood(u, mu_p, ls_p, log_abs_det)
        for k in range(3):
            J = torch.autograd.functional.jacobian(lambda x, k=k: prior.to_prior(x[None], h[k : k + 1])[0][0], z[k])
            expected = normal(mu_p[k], ls_p[k]).log_prob(u[k]) + torch.linalg.slogdet(J).logabsdet
            torch.testing.assert_close(loss[k], -expected)
            if "flow" in name:
                assert abs(float(log_abs_det[k].detach())) > 1e-2  # so that the sign matters here
        torch.testing.assert_close(prior.log_prob(z, h), -loss)

    def test_monte_carlo_kl_estimates_the_closed_form(self) -> None:
        mu_q, ls_q, mu_p, ls_p = (x[:1] for x in gaussians(3))
        noise = torch.randn(20000, Z, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        z = mu_q + ls_q.exp() * noise
        nll = losses.negative_log_likelihood(z, mu_p, ls_p, torch.zeros(len(z), dtype=torch.float64))
        estimate = losses.monte_carlo_kl(z, mu_q, ls_q, nll)
        error = 4 * float(estimate.std()) / len(z) ** 0.5
        assert estimate.mean().item() == pytest.approx(losses.kl_divergence(mu_q, ls_q, mu_p, ls_p).item(), abs=error)


class TestTrap2TheLiteralLossHasNoEntropyOfQ:
    """−log p_P(z_q) falls without bound as Q contracts and the prior follows it."""

    noise = torch.randn(4000, Z, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def losses_at(self, sigma: float) -> tuple[float, float]:
        """The literal loss and the Monte-Carlo KL, where the prior has followed Q to N(0, σ)."""
        zero = torch.zeros(1, Z, dtype=torch.float64)
        log_sigma = zero + math.log(sigma)
        z = sigma * self.noise
        nll = losses.negative_log_likelihood(z, zero, log_sigma, torch.zeros(len(z), dtype=torch.float64))
        return nll.mean().item(), losses.monte_carlo_kl(z, zero, log_sigma, nll).mean().item()

    def test_it_falls_with_every_contraction_and_the_monte_carlo_kl_does_not(self) -> None:
        literal, monte_carlo = zip(*(self.losses_at(sigma) for sigma in (1.0, 0.1, 0.01, 1e-3)))
        for before, after in itertools.pairwise(literal):
            assert after == pytest.approx(before - Z * math.log(10), abs=1e-6)
        assert monte_carlo == pytest.approx((0.0,) * 4, abs=1e-6)

    @pytest.mark.parametrize("sigma_p", [0.05, 1.0, 4.0])
    def test_its_gradient_always_contracts_a_free_sigma(self, sigma_p: float) -> None:
        log_sigma_q = torch.zeros(1, Z, dtype=torch.float64, requires_grad=True)
        zero = torch.zeros(1, Z, dtype=torch.float64)
        nll = losses.negative_log_likelihood(
            log_sigma_q.exp() * self.noise, zero, zero + math.log(sigma_p), torch.zeros(1, dtype=torch.float64)
        )
        (gradient,) = torch.autograd.grad(nll.mean(), log_sigma_q)
        assert (gradient > 0).all()

    @pytest.mark.parametrize("name", sorted(PRIORS))
    def test_with_sigma_one_it_is_bounded_by_the_noises_entropy(self, name: str) -> None:
        entropy = 0.5 * Z * math.log(2 * math.pi * math.e)
        for scale in (0.0, 0.3, 1.0, 3.0):
            prior = stirred(name)
            with torch.no_grad():
                for parameter in prior.parameters():
                    parameter.mul_(scale)
                mean = -prior.log_prob(self.noise, torch.zeros(len(self.noise), C, dtype=torch.float64))
            assert mean.mean().item() > entropy - 4 * float(mean.std()) / len(mean) ** 0.5
