"""Every prior, through one body of tests: what a bijection and a density must be, whatever they are made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lipflow.priors import PRIORS, SIGMAS, LatentPrior, PriorConfig, gaussian_log_prob
from lipflow.priors.flow import Flow

Z, C, B = 10, 7, 4
CONFIG = PriorConfig(latent=Z, context=C, couplings=3, hidden=12)


@pytest.fixture(params=sorted(PRIORS))
def prior(request: pytest.FixtureRequest) -> LatentPrior:
    torch.manual_seed(1)
    made = PRIORS[request.param](CONFIG).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made.eval()


@pytest.fixture
def z() -> Tensor:
    return torch.randn(B, Z, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def h() -> Tensor:
    return torch.randn(B, C, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("training", [False, True])
def test_the_way_there_and_back_is_the_identity(prior: LatentPrior, z: Tensor, h: Tensor, training: bool) -> None:
    prior.train(training)
    u, _ = prior.to_prior(z, h)
    torch.testing.assert_close(prior.to_decoder(u, h), z)
    back, log_abs_det = prior.inverse(z, h)
    u, expected = prior.to_prior(back, h)
    torch.testing.assert_close(u, z)
    torch.testing.assert_close(log_abs_det, expected)


@pytest.mark.parametrize("training", [False, True])
def test_log_abs_det_is_that_of_the_jacobian(prior: LatentPrior, z: Tensor, h: Tensor, training: bool) -> None:
    prior.train(training)
    _, log_abs_det = prior.to_prior(z, h)
    assert log_abs_det.shape == (B,)
    for k in range(B):
        J = torch.autograd.functional.jacobian(lambda x, k=k: prior.to_prior(x[None], h[k : k + 1])[0][0], z[k])
        torch.testing.assert_close(torch.linalg.slogdet(J).logabsdet, log_abs_det[k])
        torch.testing.assert_close(prior.jacobian(z[k], h[k : k + 1]), J)


def test_one_code_is_carried_on_the_host_as_in_a_batch(prior: LatentPrior, z: Tensor, h: Tensor) -> None:
    """Also its gradients, and both Jacobians."""
    by_u, by_log_abs_det = torch.randn(Z, dtype=torch.float64, generator=torch.Generator().manual_seed(4)), -0.7
    for k in range(B):
        context, code = h[k : k + 1], z[k].clone().requires_grad_()
        u, log_abs_det = prior.to_prior(code[None], context)
        (expected,) = torch.autograd.grad(by_u @ u[0] + by_log_abs_det * log_abs_det[0], code)
        passage = prior.under(context)(z[k].numpy())
        torch.testing.assert_close(torch.from_numpy(passage.u), u[0].detach())
        assert passage.log_abs_det == pytest.approx(log_abs_det.item())
        torch.testing.assert_close(torch.from_numpy(passage.pull_back(by_u.numpy(), by_log_abs_det)), expected)
        jacobian, inverse = passage.jacobian().numpy(), passage.inverse_jacobian()
        np.testing.assert_allclose(inverse.pull_back(jacobian), np.eye(Z), atol=1e-9)
        np.testing.assert_allclose(inverse.apply(jacobian @ by_u.numpy()), by_u.numpy(), atol=1e-9)
        again = prior.under(context, prior.under(h[k - 1 : k] if k else h[-1:]))(z[k].numpy())
        np.testing.assert_array_equal(again.u, passage.u)


def test_one_code_is_carried_back_on_the_host_as_in_a_batch(prior: LatentPrior, z: Tensor, h: Tensor) -> None:
    by_z, by_log_abs_det = torch.randn(Z, dtype=torch.float64, generator=torch.Generator().manual_seed(4)), -0.7
    for k in range(B):
        context, u = h[k : k + 1], z[k].clone().requires_grad_()
        code, log_abs_det = prior.inverse(u[None], context)
        (expected,) = torch.autograd.grad(by_z @ code[0] + by_log_abs_det * log_abs_det[0], u)
        back = prior.under(context).back(z[k].numpy())
        torch.testing.assert_close(torch.from_numpy(back.z), code[0].detach())
        assert back.log_abs_det == pytest.approx(log_abs_det.item())
        torch.testing.assert_close(torch.from_numpy(back.pull_back(by_z.numpy(), by_log_abs_det)), expected)


def test_the_density_integrates_to_one() -> None:
    """Two dimensions, a fine grid: a wrong sign of log |det| cannot pass this."""
    torch.manual_seed(0)
    config = PriorConfig(latent=2, context=C, couplings=3, hidden=12)
    axis = torch.linspace(-40, 40, 1201, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    for name, make in PRIORS.items():
        prior = make(config).double().eval()
        with torch.no_grad():
            for parameter in prior.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            mass = prior.log_prob(grid, torch.randn(1, C, dtype=torch.float64)).exp().sum() * (axis[1] - axis[0]) ** 2
        assert abs(float(mass) - 1) < 1e-2, (name, float(mass))


def test_every_parameter_gets_a_gradient(prior: LatentPrior, z: Tensor, h: Tensor) -> None:
    z = z.requires_grad_()
    prior.log_prob(z, h).sum().backward()
    for name, parameter in prior.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_a_batch_of_one_is_a_row_of_a_larger_batch(prior: LatentPrior, z: Tensor, h: Tensor) -> None:
    for training in (False, True):
        prior.train(training)
        torch.testing.assert_close(prior.log_prob(z[:1], h[:1]), prior.log_prob(z, h)[:1])
        torch.testing.assert_close(prior.start(h[:1]), prior.start(h)[:1])


def test_samples_follow_the_density(prior: LatentPrior, h: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = prior.sample(h, 5, generator=generator)
    assert drawn.shape == (B, 5, Z)
    torch.testing.assert_close(drawn, prior.sample(h, 5, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(prior.sample(h, 2, temperature=0.0)[:, 1], prior.start(h))
    many = prior.sample(h[:1], 4000, generator=generator)[0]
    u, _ = prior.to_prior(many, h[:1].expand(4000, -1))
    mu, log_sigma = prior.base(h[:1])
    whitened = (u - mu) * torch.exp(-log_sigma)
    assert whitened.mean(0).abs().max() < 0.1
    assert (whitened.std(0) - 1).abs().max() < 0.1


def test_an_unconditional_prior_needs_no_context(z: Tensor) -> None:
    prior = PRIORS["standard-normal"](CONFIG).double()
    torch.testing.assert_close(prior.log_prob(z, None), gaussian_log_prob(z, 0 * z, 0 * z))
    assert prior.start(None).shape == (1, Z)
    assert prior.sample(None, 3).shape == (1, 3, Z)


@pytest.mark.parametrize("name", [name for name in PRIORS if "flow" in name])
class TestFlow:
    def test_it_starts_as_a_permutation(self, name: str, z: Tensor, h: Tensor) -> None:
        prior = PRIORS[name](CONFIG).double()
        u, log_abs_det = prior.to_prior(z, h)
        torch.testing.assert_close(u.sort(-1).values, z.sort(-1).values)
        assert log_abs_det.abs().max() == 0

    def test_evaluation_mode_equals_nflows(self, name: str, z: Tensor, h: Tensor) -> None:
        flow = stirred(name)
        u, log_abs_det = flow.transform(z, context=h)
        torch.testing.assert_close(flow.eval().to_prior(z, h), (u, log_abs_det))
        back, log_abs_det = flow.transform.inverse(z, context=h)
        torch.testing.assert_close(flow.inverse(z, h), (back, -log_abs_det))

    def test_evaluation_mode_works_under_torch_func(self, name: str, z: Tensor, h: Tensor) -> None:
        flow = stirred(name).eval()
        J = torch.func.vmap(torch.func.jacfwd(flow.to_decoder))(z, h)
        u_of_z = torch.func.vmap(torch.func.jacfwd(lambda x, c: flow.to_prior(x, c)[0]))(flow.to_decoder(z, h), h)
        torch.testing.assert_close(u_of_z @ J, torch.eye(Z, dtype=z.dtype).expand(B, Z, Z))

    def test_the_same_config_gives_the_same_permutations(self, name: str) -> None:
        one, two = (PRIORS[name](CONFIG).state_dict() for _ in range(2))
        kept = [k for k in one if "permutation" in k]
        assert len(kept) == CONFIG.couplings
        assert all(torch.equal(one[k], two[k]) for k in kept)
        other = PRIORS[name](PriorConfig(latent=Z, context=C, couplings=3, hidden=12, seed=5)).state_dict()
        assert not all(torch.equal(one[k], other[k]) for k in kept)

    def test_log_scales_stay_within_the_cap(self, name: str, z: Tensor, h: Tensor) -> None:
        flow = stirred(name, by=1000.0)
        bound = CONFIG.couplings * CONFIG.log_scale_cap * Z / 2
        assert flow.to_prior(z, h)[1].abs().max() <= bound
        assert torch.isfinite(flow.log_prob(z, h)).all()


def stirred(name: str, by: float = 0.3) -> Flow:
    torch.manual_seed(4)
    flow = PRIORS[name](CONFIG).double()
    assert isinstance(flow, Flow)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return flow


def test_capped_sigma_is_near_the_raw_one_and_bounded() -> None:
    raw = torch.linspace(-50, 50, 101)
    assert SIGMAS["capped"](raw).abs().max() <= 5
    small = torch.linspace(-0.5, 0.5, 11)
    assert (SIGMAS["capped"](small) - small).abs().max() < 0.01
    assert torch.equal(SIGMAS["one"](raw), torch.zeros_like(raw))


def test_a_sigma_below_one_is_free_below_it() -> None:
    raw = torch.tensor([-40.0, -6.0, 0.0, 6.0, 300.0], requires_grad=True)
    log_sigma = SIGMAS["below-one"](raw)
    assert log_sigma.max() <= 0
    assert log_sigma[0].item() == pytest.approx(-38.0)
    assert log_sigma[2].exp().item() == pytest.approx(0.88, abs=0.01)
    log_sigma.sum().backward()
    assert raw.grad is not None
    assert torch.isfinite(raw.grad).all()
