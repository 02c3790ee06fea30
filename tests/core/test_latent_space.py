"""The latent spaces' projections, samples and trajectories."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lipflow.checks import InputError
from lipflow.latent_space import Cloud, LatentSpace, Projection, prior_cloud, stored_cloud, to_prior_space
from support.random_avatar import AVATARS, random_avatar, tiny_config


@pytest.fixture
def codes() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(300, 16)) * np.linspace(4, 0.1, 16) + np.arange(16)).astype(np.float32)


def test_axes_are_orthonormal_and_in_order(codes):
    projection = Projection.of(codes, 4)
    np.testing.assert_allclose(projection.axes @ projection.axes.T, np.eye(4), atol=1e-5)
    assert (np.diff(projection.spread) < 0).all()
    np.testing.assert_allclose(projection.to_plane(codes).std(0, ddof=1), projection.spread, rtol=1e-4)
    assert 0 < projection.share.sum() < 1


def test_a_plane_and_back_is_the_nearest_code_in_the_plane(codes):
    projection = Projection.of(codes, 3)
    near = projection.to_codes(projection.to_plane(codes))
    np.testing.assert_allclose(projection.to_plane(near), projection.to_plane(codes), atol=1e-4)
    np.testing.assert_allclose((codes - near) @ projection.axes.T, 0, atol=1e-4)
    whole = Projection.of(codes, 16)
    np.testing.assert_allclose(whole.to_codes(whole.to_plane(codes)), codes, atol=1e-4)


def test_moving_along_an_axis_leaves_the_others(codes):
    projection = Projection.of(codes, 3)
    before, after = projection.to_plane(codes), projection.to_plane(projection.moved(codes, 1, 2.5))
    np.testing.assert_allclose(after[:, 1], 2.5, atol=1e-4)
    np.testing.assert_allclose(after[:, [0, 2]], before[:, [0, 2]], atol=1e-4)
    shift = projection.moved(codes, 1, 2.5)[0] - codes[0]
    np.testing.assert_allclose(shift, (2.5 - before[0, 1]) * projection.axes[1], atol=1e-5)


def test_the_sign_of_an_axis_does_not_depend_on_the_order_of_codes(codes):
    np.testing.assert_allclose(Projection.of(codes).axes, Projection.of(codes[::-1]).axes, atol=1e-4)


def test_few_codes_have_few_axes_and_equal_codes_no_spread(codes):
    assert Projection.of(codes[:2], 3).axes.shape == (2, 16)
    same = Projection.of(np.ones((5, 16), np.float32), 3)
    assert same.spread.max() == same.share.max() == 0


@pytest.mark.parametrize("bad", [np.zeros((1, 16)), np.full((5, 16), np.nan), np.zeros(16)])
def test_what_is_no_cloud_is_refused(bad):
    with pytest.raises(InputError, match="codes: expected"):
        Projection.of(bad.astype(np.float32))


@pytest.mark.parametrize("name", list(AVATARS))
def test_samples_of_the_prior_are_the_same_codes_in_both_spaces(name):
    avatar = random_avatar(tiny_config(*AVATARS[name]))
    torch.manual_seed(0)
    points = avatar.keypoint_camera.project_normalised(avatar.decode_landmarks(torch.randn(3, 16)))
    driving = {None: None, "kpt": points, "hmc": torch.rand(3, 3, 30, 40)}[avatar.driving]
    labels = ("one",) if driving is None else ("one", "two", "three")
    cloud = prior_cloud(avatar, driving, labels, per_input=40, seed=1)
    assert cloud.z.shape == cloud.u.shape == (40 * len(labels), 16)
    assert cloud.labels == tuple(label for label in labels for _ in range(40))
    context = avatar.context(driving)
    mu, log_sigma = avatar.prior.base(context)
    for k in range(len(labels)):
        whitened = (torch.from_numpy(cloud.u[40 * k : 40 * k + 40]) - mu[k]) / log_sigma[k].exp()
        assert abs(whitened.mean().item()) < 0.2
        assert whitened.std().item() == pytest.approx(1, abs=0.1)
    first = None if driving is None else driving[:1]
    np.testing.assert_allclose(to_prior_space(avatar, cloud.z[:40], first), cloud.u[:40], atol=1e-3)
    assert np.array_equal(prior_cloud(avatar, driving, labels, per_input=40, seed=1).z, cloud.z)
    assert not np.array_equal(prior_cloud(avatar, driving, labels, per_input=40, seed=2).z, cloud.z)
    still = prior_cloud(avatar, driving, labels, per_input=2, temperature=0.0)
    np.testing.assert_allclose(still.z[0], avatar.prior.start(context)[0].numpy(), atol=1e-5)


def test_an_avatars_own_codes_span_its_spaces(codes):
    avatar = random_avatar(tiny_config("flow", "kpt"))
    with pytest.raises(InputError, match="carries codes"):
        stored_cloud(avatar)
    avatar.set_samples(torch.from_numpy(codes), torch.from_numpy(2 * codes), tuple("abc" * 100))
    space = LatentSpace.of(stored_cloud(avatar))
    assert space.cloud.labels[:3] == ("a", "b", "c")
    np.testing.assert_allclose(space.p.spread, 2 * space.q.spread, rtol=1e-4)
    assert isinstance(space.cloud, Cloud)


def test_labels_name_the_inputs():
    avatar = random_avatar(tiny_config("flow", "kpt"))
    with pytest.raises(InputError, match="labels: expected 2"):
        prior_cloud(avatar, torch.rand(2, 136, 2), ("one",))
