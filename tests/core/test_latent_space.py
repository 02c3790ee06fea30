"""The latent spaces' projections, samples and trajectories."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lipflow.checks import InputError
from lipflow.latent_space import (
    Bridge,
    Cloud,
    LatentSpace,
    Projection,
    encoded_cloud,
    interpolated,
    own_driving,
    prior_cloud,
    stored_cloud,
)
from support.interpreter import longest_hold
from support.random_avatar import AVATARS, random_avatar, tiny_config
from support.tiny_avatar import tiny_avatar


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
    near = projection.mean + projection.to_plane(codes) @ projection.axes
    np.testing.assert_allclose(projection.to_plane(near), projection.to_plane(codes), atol=1e-4)
    np.testing.assert_allclose((codes - near) @ projection.axes.T, 0, atol=1e-4)
    whole = Projection.of(codes, 16)
    np.testing.assert_allclose(whole.mean + whole.to_plane(codes) @ whole.axes, codes, atol=1e-4)


def test_moving_along_an_axis_leaves_the_others(codes):
    projection = Projection.of(codes, 3)
    before, after = projection.to_plane(codes), projection.to_plane(projection.moved(codes, 1, 2.5))
    np.testing.assert_allclose(after[:, 1], 2.5, atol=1e-4)
    np.testing.assert_allclose(after[:, [0, 2]], before[:, [0, 2]], atol=1e-4)
    shift = projection.moved(codes, 1, 2.5)[0] - codes[0]
    np.testing.assert_allclose(shift, (2.5 - before[0, 1]) * projection.axes[1], atol=1e-5)


def test_the_sign_of_an_axis_does_not_depend_on_the_order_of_codes(codes):
    np.testing.assert_allclose(Projection.of(codes).axes, Projection.of(codes[::-1]).axes, atol=1e-4)


def test_axes_are_those_of_the_largest_variances(codes):
    projection = Projection.of(codes, 5)
    _, s, axes = np.linalg.svd(codes.astype(np.float64) - codes.mean(0, dtype=np.float64), full_matrices=False)
    np.testing.assert_allclose(np.abs((projection.axes * axes[:5]).sum(1)), 1, atol=1e-5)
    np.testing.assert_allclose(projection.spread, s[:5] / np.sqrt(len(codes) - 1), rtol=1e-5)
    np.testing.assert_allclose(projection.share, s[:5] ** 2 / (s**2).sum(), rtol=1e-5)


def test_other_threads_go_on_while_axes_are_sought():
    """The studio's window is one: what keeps the interpreter stalls it."""
    many = np.random.default_rng(0).normal(size=(600, 700)).astype(np.float32)
    Projection.of(many[:10])  # imports are not what is measured
    assert min(longest_hold(lambda: Projection.of(many)) for _ in range(3)) < 0.8


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
    np.testing.assert_allclose(Bridge(avatar, first).to_prior(cloud.z[:40]), cloud.u[:40], atol=1e-3)
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


@pytest.mark.parametrize("name", list(AVATARS))
def test_a_bridge_leads_there_and_back(name):
    avatar = random_avatar(tiny_config(*AVATARS[name]))
    z = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
    driving = own_driving(avatar, z[:1])
    bridge = Bridge(avatar, driving)
    u = bridge.to_prior(z)
    np.testing.assert_allclose(bridge.to_decoder(u), z, atol=1e-4)
    if AVATARS[name][0] == "flow":
        assert np.abs(Bridge(avatar, own_driving(avatar, z[1:2])).to_prior(z) - u).max() > 1e-3
        assert np.abs(u - z).max() > 1e-2


def test_a_face_drives_itself_with_what_its_cameras_see():
    z = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    points = own_driving(random_avatar(tiny_config("flow", "kpt")), z)
    assert points.shape == (3, 136, 2)
    assert 0 <= points.min() <= points.max() <= 1
    images = own_driving(random_avatar(tiny_config("flow", "hmc")), z)
    assert images.shape == (3, 3, 30, 40)
    assert (images[0] - images[1]).abs().max() > 1e-3
    assert own_driving(random_avatar(tiny_config("standard-normal", None)), z) is None


@pytest.mark.parametrize("closed", [False, True])
def test_a_way_passes_its_keyframes_and_does_not_swing_outside(codes, closed):
    keys = codes[:4]
    legs = 4 if closed else 3
    np.testing.assert_allclose(interpolated(keys, np.arange(4) / legs, closed=closed), keys, atol=1e-5)
    for leg in range(legs):
        way = interpolated(keys, (leg + np.linspace(0, 1, 20)) / legs, closed=closed)
        ends = np.stack([keys[leg], keys[(leg + 1) % 4]])
        assert (way >= ends.min(0) - 1e-5).all()
        assert (way <= ends.max(0) + 1e-5).all()
    if closed:
        np.testing.assert_allclose(interpolated(keys, np.array([1.0]), closed=True)[0], keys[0], atol=1e-5)
        seam = interpolated(keys, np.array([0.999, 1.0, 0.0, 0.001]), closed=True)
        np.testing.assert_allclose(seam[1] - seam[0], seam[3] - seam[2], atol=2e-2)


def test_two_keyframes_are_joined_by_a_straight_line(codes):
    half = interpolated(codes[:2], np.array([0.5]))
    np.testing.assert_allclose(half[0], codes[:2].mean(0), atol=1e-5)


@pytest.mark.parametrize(("count", "at"), [(1, [0.5]), (3, [1.2]), (3, [np.nan])])
def test_what_is_no_way_is_refused(codes, count, at):
    with pytest.raises(InputError, match="expected"):
        interpolated(codes[:count], np.array(at))


def test_frames_lie_where_q_encodes_them_each_under_its_own_signal():
    avatar = tiny_avatar("lip-flow-kpt")
    rng = np.random.default_rng(0)
    vertices = avatar.vertex_mean + torch.from_numpy(rng.normal(0, 2, (3, *avatar.vertex_mean.shape))).float()
    textures = torch.from_numpy(rng.uniform(size=(3, 3, 32, 32))).float()
    cloud = encoded_cloud(avatar, textures, vertices, ("a", "a", "b"))
    with torch.no_grad():
        expected = avatar.encode(textures, vertices)[0].numpy()
    np.testing.assert_allclose(cloud.z, expected, atol=1e-5)
    for i in range(3):
        z = cloud.z[i : i + 1]
        u = Bridge(avatar, own_driving(avatar, z)).to_prior(z)
        np.testing.assert_allclose(cloud.u[i : i + 1], u, atol=1e-4)
    assert np.abs(cloud.u - cloud.z).max() > 1e-2
    assert cloud.labels == ("a", "a", "b")


def test_frames_without_q_or_of_another_mesh_are_refused():
    vertices, textures = torch.zeros(1, 154, 3), torch.zeros(1, 3, 32, 32)
    with pytest.raises(InputError, match="expected an avatar with an encoder"):
        encoded_cloud(random_avatar(tiny_config("flow", "kpt")), textures, vertices, ("a",))
    with pytest.raises(InputError, match="vertices"):
        encoded_cloud(tiny_avatar("lip-flow-kpt"), textures, vertices[:, :9], ("a",))
    with pytest.raises(InputError, match="labels: expected 1"):
        encoded_cloud(tiny_avatar("lip-flow-kpt"), textures, vertices, ())
