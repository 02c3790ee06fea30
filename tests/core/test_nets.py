"""The networks: shapes, folding, attention, the low-rank mesh head, starts from a PCA."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from lipflow.checks import InputError
from lipflow.nets.decoder import Decoder, DecoderConfig
from lipflow.nets.encoders import DamEncoder, DriverConfig, EncoderConfig, HmcEncoder, KeypointEncoder
from lipflow.nets.layers import UpConv, fold_weights, without_drawing
from lipflow.variants import PRESETS

V, T, Z, C = 50, 32, 12, 9
DECODER = DecoderConfig(code=14, view=4, seed=4, seed_channels=6, channels=(8, 5), shuffle=2)
ENCODER = EncoderConfig(channels=(4, 6), texture_features=10, mesh_features=7)
DRIVER = DriverConfig(size=(30, 40), channels=(4, 4), keypoints=5, blocks=1)


def decoder(weight_norm: bool = False, **changes: int) -> Decoder:
    torch.manual_seed(0)
    return Decoder(replace(DECODER, **changes), vertex_count=V, texture=T, latent=Z, weight_norm=weight_norm)


def encoder(weight_norm: bool = False, **changes: int) -> DamEncoder:
    torch.manual_seed(0)
    return DamEncoder(replace(ENCODER, **changes), vertex_count=V, texture=T, latent=Z, weight_norm=weight_norm)


@pytest.mark.parametrize("rank", [0, 5])
@pytest.mark.parametrize("shuffle", [1, 2, 4])
def test_decoder_shapes(rank: int, shuffle: int) -> None:
    net = decoder(mesh_rank=rank, shuffle=shuffle, seed=8 // shuffle)
    z, view = torch.randn(3, Z), torch.randn(3, 3)
    assert net.texture(z, view).shape == (3, 3, T, T)
    assert net.mesh(z).shape == (3, V, 3)
    assert net.mesh(z[0]).shape == (V, 3)


@pytest.mark.parametrize("size", [32, 64, 128, 256, 512, 1024])
def test_every_texture_size_can_be_built(size: int) -> None:
    ups = (size // 32).bit_length() + 1
    config = DecoderConfig(code=4, view=2, seed=4, seed_channels=2, channels=(2,) * ups, shuffle=2)
    net = Decoder(config, vertex_count=4, texture=size, latent=3)
    assert net.texture(torch.randn(1, 3), torch.randn(1, 3)).shape[-1] == size
    q = DamEncoder(EncoderConfig(channels=(2,) * 4), vertex_count=4, texture=size, latent=3)
    assert q(torch.randn(1, 3, size, size), torch.randn(1, 4, 3))[0].shape == (1, 3)


def test_a_decoder_that_ends_at_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="32² texels, got 64²"):
        decoder(shuffle=4)


def test_the_mesh_does_not_see_the_view_and_the_texture_does() -> None:
    net = decoder()
    z = torch.randn(1, Z)
    left, right = (net.texture(z, torch.tensor([[x, 0.0, 1.0]])) for x in (-0.5, 0.5))
    assert (left - right).abs().max() > 1e-4
    assert "view" not in Decoder.mesh.__code__.co_varnames


@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_the_texture_is_scaled_in_the_last_layer(scale: float) -> None:
    net, z, view = decoder(weight_norm=True), torch.randn(2, Z), torch.randn(2, 3)
    torch.testing.assert_close(net.texture(z, view, scale=scale), scale * net.texture(z, view))


def test_untied_bias_moves_one_texel_only() -> None:
    up = UpConv(2, 3, 8)
    x = torch.randn(1, 2, 4, 4).abs()
    before = up(x)
    with torch.no_grad():
        up.bias[0, 1, 5, 6] += 1.0
    changed = (up(x) != before).nonzero()
    assert changed.tolist() == [[0, 1, 5, 6]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: (decoder(True), (torch.randn(2, Z), torch.randn(2, 3)), "texture"),
        lambda: (decoder(True, mesh_rank=3), (torch.randn(2, Z),), "mesh"),
        lambda: (encoder(True), (torch.randn(2, 3, T, T), torch.randn(2, V, 3)), "forward"),
        lambda: (HmcEncoder(DRIVER, context=C, weight_norm=True), (torch.rand(2, 3, 30, 40),), "forward"),
        lambda: (KeypointEncoder(DRIVER, context=C, weight_norm=True), (torch.rand(2, 5, 2),), "forward"),
    ],
    ids=["texture", "mesh", "Q", "hmc", "kpt"],
)
def test_folded_weights_equal_unfolded_ones(make) -> None:  # type: ignore[no-untyped-def]
    net, arguments, method = make()
    gains = [name for name, _ in net.named_parameters() if name.endswith("gain")]
    assert gains
    with torch.no_grad():
        for name in gains:
            net.get_parameter(name).mul_(torch.rand_like(net.get_parameter(name)) + 0.5)
    before = getattr(net, method)(*arguments)
    fold_weights(net)
    assert not [name for name, _ in net.named_parameters() if name.endswith("gain")]
    torch.testing.assert_close(getattr(net, method)(*arguments), before)


def test_weight_norm_divides_by_the_norm_of_the_whole_tensor() -> None:
    net = decoder(True)
    z = torch.randn(1, Z)
    before = net.mesh(z)
    with torch.no_grad():
        net.head.weight.mul_(7.0)
    torch.testing.assert_close(net.mesh(z), before)


def test_weight_normalised_networks_start_like_plain_ones() -> None:
    z, view = torch.randn(4, Z), torch.randn(4, 3)
    torch.testing.assert_close(decoder(True).texture(z, view), decoder(False).texture(z, view))


@pytest.mark.parametrize("net", [decoder(mesh_rank=4), encoder(mesh_rank=4, mesh_stride=2)], ids=["D", "Q"])
def test_every_parameter_gets_a_gradient(net: nn.Module) -> None:
    if isinstance(net, Decoder):
        outputs = (net.texture(torch.randn(2, Z), torch.randn(2, 3)), net.mesh(torch.randn(2, Z)))
    else:
        outputs = net(torch.randn(2, 3, T, T), torch.randn(2, V, 3))
    sum(o.square().sum() for o in outputs).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or p.grad.abs().sum() == 0] == []


def test_a_pca_start_spans_the_meshes() -> None:
    """Meshes that lie in the PCA's span are reached exactly by some coefficients, with about unit coefficients."""
    generator = torch.Generator().manual_seed(0)
    components = torch.linalg.qr(torch.randn(3 * V, 4, generator=generator)).Q.T.view(4, V, 3)
    scales = torch.tensor([9.0, 4.0, 2.0, 1.0])
    net = decoder(mesh_rank=6)
    net.start_from_pca(components, scales)
    wanted = torch.randn(4, generator=generator)
    mesh = torch.einsum("r,rvc->vc", wanted * scales, components).flatten()
    solved = torch.linalg.lstsq(net.head.weight.detach()[:, :4], mesh).solution
    torch.testing.assert_close(solved, wanted, atol=1e-4, rtol=1e-4)
    q = encoder(mesh_rank=5, mesh_stride=2)
    q.start_from_pca(components, scales)
    assert q.project is not None
    seen = mesh.view(V, 3)[::2].flatten()
    torch.testing.assert_close(q.project(seen)[:4], wanted, atol=1e-3, rtol=1e-3)


def test_attention_weights_are_free_and_the_same_for_every_input() -> None:
    """Eq. 5: a mixture per feature; a view with all the weight is the only one that counts."""
    net = HmcEncoder(DRIVER, context=C)
    one, two = torch.rand(1, 3, 30, 40), torch.rand(1, 3, 30, 40)
    two[:, 1] = one[:, 1]
    assert not torch.allclose(net(one), net(two))
    with torch.no_grad():
        net.attention[:, 1] = 100.0
    torch.testing.assert_close(net(one), net(two))
    with torch.no_grad():
        net.attention[0, 1], net.attention[0, 0] = 0.0, 100.0
    changed = (net(one) - net(two)).abs()[0]
    assert changed[0] > 1e-6
    assert changed[1:].max() < 1e-6


def test_drivers_take_their_scale_from_training_inputs() -> None:
    hmc = 0.2 + 0.01 * torch.randn(6, 3, 30, 40)
    net = HmcEncoder(DRIVER, context=C)
    net.start_from(hmc)
    torch.testing.assert_close(net.mean, torch.full((3,), 0.2), atol=1e-3, rtol=0)
    keypoints = torch.rand(1, 5, 2)
    kpt = KeypointEncoder(DRIVER, context=C)
    kpt.start_from(keypoints)  # a single frame has no spread
    assert torch.isfinite(kpt(keypoints)).all()


def test_inputs_of_another_shape_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"hmc: expected \[B, 3, 30, 40\], got \[1, 3, 40, 30\]"):
        HmcEncoder(DRIVER, context=C)(torch.rand(1, 3, 40, 30))
    with pytest.raises(InputError, match=r"keypoints: expected \[B, 5, 2\]"):
        KeypointEncoder(DRIVER, context=C)(torch.rand(1, 4, 2))


def test_nothing_is_drawn_when_weights_come_from_a_file() -> None:
    state = torch.get_rng_state()
    with without_drawing():
        Decoder(DECODER, vertex_count=V, texture=T, latent=Z, weight_norm=True)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_are_consistent(preset: str) -> None:
    avatar = PRESETS[preset].avatar
    assert avatar.decoder.texture == avatar.texture
