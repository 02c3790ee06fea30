"""The avatar: units, landmarks, freezing, and its file."""

from __future__ import annotations

import contextlib
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from lipflow.avatar import Avatar, AvatarConfig
from lipflow.checkpoint import DIGEST
from lipflow.checks import InputError
from lipflow.nets.encoders import DriverConfig, EncoderConfig
from lipflow.nets.layers import without_drawing
from lipflow.observations import render_views
from lipflow.serial import from_json, to_json
from lipflow.variants import PRESETS, VARIANTS
from support.random_avatar import random_avatar, tiny_config
from support.tiny_avatar import tiny_avatar, tiny_landmarks, tiny_statistics, tiny_topology

B = 3


@pytest.fixture
def avatar() -> Avatar:
    return tiny_avatar()


def test_meshes_and_textures_come_in_millimetres_and_linear_rgb(avatar: Avatar) -> None:
    z = torch.zeros(1, avatar.config.latent)
    with torch.no_grad():
        for head in (avatar.decoder.head, avatar.decoder.last):
            head.weight.zero_()
            head.bias.zero_()
        decoded = avatar.decode(z, torch.tensor([[0.0, 0.0, 1.0]]))
        torch.testing.assert_close(decoded.vertices[0], torch.from_numpy(avatar.statistics.vertex_mean))
        torch.testing.assert_close(decoded.texture[0], torch.from_numpy(avatar.statistics.texture_mean))
        avatar.decoder.head.bias.fill_(2.0)
        avatar.decoder.last.bias.fill_(0.5)
        moved = avatar.decode(z, torch.tensor([[0.0, 0.0, 1.0]]))
    torch.testing.assert_close(moved.vertices - decoded.vertices, torch.full_like(decoded.vertices, 5.0))
    torch.testing.assert_close(moved.texture - decoded.texture, torch.full_like(decoded.texture, 0.04))


def test_an_unseen_texel_is_zero_after_normalisation(avatar: Avatar) -> None:
    texture = torch.rand(1, 3, 32, 32) + 0.1
    texture[0, :, 5, 7] = 0.0
    normalised = avatar.normalise_texture(texture)
    assert (normalised[0, :, 5, 7] == 0).all()
    assert (normalised[0, :, 0] == 0).all()  # outside the surface
    assert (normalised[0, :, 6, 7] != 0).all()


def test_encode_checks_what_comes_in(avatar: Avatar) -> None:
    mu, log_sigma = avatar.encode(torch.rand(B, 3, 32, 32), torch.randn(B, 154, 3))
    assert mu.shape == log_sigma.shape == (B, avatar.config.latent)
    assert (log_sigma == 0).all()  # the flow's posterior has σq ≡ 1
    with pytest.raises(InputError, match=r"vertices: expected \[B, V, 3\], got \[3, 7306, 3\] \(with V=154, B=3\)"):
        avatar.encode(torch.rand(B, 3, 32, 32), torch.randn(B, 7306, 3))
    with pytest.raises(InputError, match="an avatar with an encoder"):
        tiny_avatar("dam-enc-kpt").encode(torch.rand(B, 3, 32, 32), torch.randn(B, 154, 3))


@pytest.mark.parametrize("rank", [0, 8])
@pytest.mark.parametrize("weight_norm", [False, True])
def test_landmarks_are_rows_of_the_mesh(rank: int, weight_norm: bool) -> None:
    decoder = replace(PRESETS["tiny"].avatar.decoder, mesh_rank=rank)
    avatar = tiny_avatar(decoder=decoder, weight_norm=weight_norm)
    z = torch.randn(2, 4, avatar.config.latent)
    rows = avatar.decode_mesh(z)[..., list(tiny_landmarks(avatar.topology).ids), :]
    torch.testing.assert_close(avatar.decode_landmarks(z), rows)
    weight, bias = avatar.landmark_head()
    linear = (weight @ avatar.decoder.mesh_coefficients(z)[..., None, :, None])[..., 0] + bias
    torch.testing.assert_close(linear, rows)


def test_landmarks_need_landmarks() -> None:
    topology = tiny_topology()
    config = VARIANTS["dam"].avatar_config(PRESETS["tiny"].avatar)
    bare = Avatar(config, topology, None, tiny_statistics(topology))
    with pytest.raises(InputError, match="an avatar with landmarks"):
        bare.decode_landmarks(torch.randn(16))
    assert bare.context(None) is None
    assert bare.driving is None


def test_for_inference_changes_nothing_but_speed() -> None:
    avatar = tiny_avatar(weight_norm=True)
    frozen = avatar.for_inference()
    z, view = torch.randn(B, avatar.config.latent), torch.nn.functional.normalize(torch.randn(B, 3), dim=-1)
    keypoints = torch.rand(B, 136, 2)
    with torch.no_grad():
        torch.testing.assert_close(frozen.decode(z, view).texture, avatar.decode(z, view).texture)
        torch.testing.assert_close(frozen.decode_mesh(z), avatar.decode_mesh(z))
        h = avatar.context(keypoints)
        torch.testing.assert_close(frozen.context(keypoints), h)
        torch.testing.assert_close(frozen.prior.start(h), avatar.prior.start(h))
    assert not any(p.requires_grad for p in frozen.parameters())
    assert all(p.requires_grad for p in avatar.parameters())
    assert avatar.config.weight_norm
    assert not frozen.config.weight_norm


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_saved_avatars_load_equal(variant: str, tmp_path: Path) -> None:
    avatar = tiny_avatar(variant, weight_norm=True)
    z = torch.randn(5, avatar.config.latent)
    avatar.set_samples(z, 2 * z, ("a", "a", "b", "b", "c"))
    avatar.save(tmp_path / "a.safetensors")
    loaded = Avatar.load(tmp_path / "a.safetensors")
    frozen = avatar.for_inference()
    assert loaded.config == frozen.config
    assert loaded.landmarks == avatar.landmarks
    assert loaded.record == avatar.record
    assert loaded.samples_segment == avatar.samples_segment
    for name, tensor in frozen.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=0, atol=0, msg=name)
    view = torch.nn.functional.normalize(torch.randn(5, 3), dim=-1)
    with torch.no_grad():
        one, two = loaded.decode(z, view), frozen.decode(z, view)
    torch.testing.assert_close(one.vertices, two.vertices)
    torch.testing.assert_close(one.texture, two.texture)
    for name in ("faces", "uv", "uv_faces"):
        assert (getattr(loaded.topology, name) == getattr(avatar.topology, name)).all()
        assert getattr(loaded.topology, name).dtype == getattr(avatar.topology, name).dtype
    assert (loaded.statistics.texture_valid == avatar.statistics.texture_valid).all()
    assert loaded.keypoint_camera is not None
    assert avatar.keypoint_camera is not None
    assert loaded.keypoint_camera.size == avatar.keypoint_camera.size
    torch.testing.assert_close(loaded.keypoint_camera.K, avatar.keypoint_camera.K)
    assert loaded.hmc_cameras is not None
    assert len(loaded.hmc_cameras) == 3


def test_half_precision_files_are_half_the_size_and_nearly_equal(avatar: Avatar, tmp_path: Path) -> None:
    avatar.save(tmp_path / "half.safetensors", half=True)
    avatar.save(tmp_path / "full.safetensors")
    loaded = Avatar.load(tmp_path / "half.safetensors")
    assert next(loaded.parameters()).dtype == torch.float32
    z = torch.randn(2, avatar.config.latent)
    assert (loaded.decode_mesh(z) - avatar.decode_mesh(z)).abs().max() < 0.05
    saved = sum(p.numel() for p in avatar.parameters()) * 2
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("full", "half")]
    assert 0.9 * saved < sizes[0] - sizes[1] < 1.1 * saved


def test_saving_again_gives_the_same_file(avatar: Avatar, tmp_path: Path) -> None:
    avatar.save(tmp_path / "a.safetensors", half=True)
    Avatar.load(tmp_path / "a.safetensors").save(tmp_path / "b.safetensors", half=True)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_failed_save_leaves_the_old_file(avatar: Avatar, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    avatar.save(path)
    before = path.read_bytes()
    with torch.no_grad():
        avatar.decoder.code.weight[0, 0] = torch.nan
    with pytest.raises(InputError, match="finite numbers to save"):
        avatar.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


class TestForeignFiles:
    def test_missing_truncated_and_foreign(self, avatar: Avatar, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        avatar.save(path)
        whole = path.read_bytes()
        for size in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:size])
            refuse(path)
        for foreign in (b"\x89PNG\r\n\x1a\n" * 50, b"{}", b"\x80\x02}q\x00.", b"\xff" * 200):
            path.write_bytes(foreign)
            refuse(path)
        refuse(tmp_path / "none.safetensors")
        refuse(tmp_path)
        save_file({"a": torch.zeros(2)}, path)
        refuse(path, "elsewhere")

    def test_flipped_bytes_load_or_are_refused(self, avatar: Avatar, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        avatar.save(path)
        whole = path.read_bytes()
        header = 8 + int.from_bytes(whole[:8], "little")
        dice = random.Random(0)
        for _ in range(150):
            damaged = bytearray(whole)
            for _ in range(dice.randint(1, 3)):
                damaged[dice.randrange(header)] = dice.randrange(256)
            path.write_bytes(damaged)
            with contextlib.suppress(InputError):  # anything else that is raised is our mistake
                Avatar.load(path)
        for place in range(header, len(whole), 4001):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
            refuse(path)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("version", 2),
            ("config", None),
            ("config", {"texture": 0}),
            ("config", {"texture": 10**9}),
            ("config", {"latent": "256"}),
            ("config", {"prior": "diffusion"}),
            ("config", {"surprise": 1}),
            ("config", {"encoder": {"channels": []}}),
            ("vertex_count", 7306),
            ("vertex_count", True),
            ("vertex_std", 0.0),
            ("vertex_std", None),
            ("texture_std", "wide"),
            ("landmarks", {"ids": [1]}),
            ("landmarks", 3),
            ("segments", "E001"),
            ("segments", ["only one"]),
            ("record", []),
            ("keypoint_camera", [0, 3]),
            ("hmc_cameras", "three"),
        ],
    )
    def test_every_field_is_checked(self, avatar: Avatar, tmp_path: Path, field: str, value: object) -> None:
        path = tmp_path / "a.safetensors"
        avatar.set_samples(torch.zeros(2, 16), torch.zeros(2, 16), ("a", "b"))
        avatar.save(path)
        tensors, body = read(path)
        body[field] = {**body[field], **value} if field == "config" and isinstance(value, dict) else value
        save_file(tensors, path, metadata={"lipflow": json.dumps(body)})
        refuse(path)

    @pytest.mark.parametrize("change", ["missing", "extra", "shape", "kind", "nan"])
    def test_every_tensor_is_checked(self, avatar: Avatar, tmp_path: Path, change: str) -> None:
        path = tmp_path / "a.safetensors"
        avatar.save(path)
        whole, body = read(path)
        for name in whole:
            tensors = dict(whole)
            if change == "missing":
                del tensors[name]
            elif change == "extra":
                tensors["weights/decoder.more"] = torch.zeros(1)
            elif change == "shape":
                tensors[name] = torch.cat([whole[name].flatten(), whole[name].flatten()])
            elif change == "kind":
                tensors[name] = whole[name].long() if whole[name].is_floating_point() else whole[name].float()
            elif whole[name].is_floating_point():
                tensors[name] = torch.full_like(whole[name], torch.nan)
            else:
                continue
            save_file(tensors, path, metadata={"lipflow": json.dumps(body)})
            refuse(path)


def test_a_face_that_points_nowhere_is_refused(avatar: Avatar, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    avatar.save(path)
    tensors, body = read(path)
    tensors["topology/faces"] = torch.full_like(tensors["topology/faces"], 60000)
    save_file(tensors, path, metadata={"lipflow": json.dumps(body)})
    refuse(path, "vertices 0 to 153, got 60000 in triangle 1")


def refuse(path: Path, text: str = "") -> None:
    with pytest.raises(InputError) as caught:
        Avatar.load(path)
    assert "\n" not in str(caught.value)
    assert text in str(caught.value)


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict]:  # type: ignore[type-arg]
    """A file's tensors and body, without the checksum: what is changed and written anew is read as far as it goes."""
    with safe_open(path, framework="pt") as file:
        body = json.loads(file.metadata()["lipflow"])
        del body[DIGEST]
        return {k: file.get_tensor(k) for k in file.keys()}, body  # noqa: SIM118


def test_configs_survive_json() -> None:
    for preset in PRESETS.values():
        for variant in VARIANTS.values():
            config = variant.avatar_config(preset.avatar)
            assert from_json(AvatarConfig, json.loads(json.dumps(to_json(config))), what="config") == config


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"prior": "none"}, "config.prior"),
        ({"driving": "voice"}, "config.driving"),
        ({"driving": None}, "standard-normal just where nothing drives"),
        ({"sigma_q": "half"}, "config.sigma_q"),
        ({"latent": 1}, "config.latent: expected 2 to 16384, got 1"),
        ({"encoder": EncoderConfig(mesh_stride=0)}, "config.encoder.mesh_stride: expected 1 to 16384, got 0"),
        ({"encoder": EncoderConfig(mesh_rank=-1)}, "config.encoder.mesh_rank: expected 0 to 16384, got -1"),
        ({"driver": DriverConfig(channels=(8, 20000))}, "config.driver.channels: expected 1 to 16384, got 20000"),
        ({"driver": DriverConfig(channels=())}, "config.driver.channels: expected at least one layer, got none"),
        ({"log_scale_cap": 0.0}, "config.log_scale_cap: expected more than 0, got 0.0"),
    ],
)
def test_impossible_configs_are_refused(changes: dict[str, object], text: str) -> None:
    with pytest.raises(InputError, match=text):
        replace(AvatarConfig(), **changes)  # type: ignore[arg-type]


def test_the_statistics_must_fit_the_mesh() -> None:
    topology = tiny_topology()
    other = replace(topology, vertex_count=200)
    with pytest.raises(InputError, match=r"vertex_mean: expected \[V, 3\], got \[154, 3\] \(with V=200\)"):
        Avatar(VARIANTS["dam"].avatar_config(PRESETS["tiny"].avatar), other, None, tiny_statistics(topology))


@pytest.mark.parametrize("variant", ["lip-flow-hmc", "lip-flow-kpt"])
def test_a_studio_avatar_fits_in_ten_megabytes(variant: str, tmp_path: Path) -> None:
    topology = tiny_topology(columns=96, rows=80)  # 7680 vertices, 15010 triangles
    config = VARIANTS[variant].avatar_config(PRESETS["studio"].avatar)
    with without_drawing():
        avatar = Avatar(config, topology, tiny_landmarks(topology), tiny_statistics(topology, config.texture))
    with torch.no_grad():
        for parameter in avatar.parameters():
            parameter.zero_()
    avatar.set_samples(torch.zeros(512, config.latent), torch.zeros(512, config.latent), ("E001_Neutral",) * 512)
    avatar.save(tmp_path / "a.safetensors", half=True)
    assert (tmp_path / "a.safetensors").stat().st_size <= 10_000_000


def test_the_gray_texture_and_its_renders_are_the_means_of_the_colours():
    avatar = random_avatar(tiny_config("flow", "hmc")).for_inference()
    z = torch.randn(2, avatar.config.latent)
    view = torch.nn.functional.normalize(torch.randn(2, 3), dim=-1)
    gray, colour = avatar.decode_gray_texture(z, view), avatar.decode_texture(z, view)
    torch.testing.assert_close(gray, colour.mean(1, keepdim=True), atol=1e-6, rtol=1e-5)
    assert avatar.hmc_cameras is not None
    rendered, mask = render_views(avatar, z, avatar.hmc_cameras, gray=True)
    expected, expected_mask = render_views(avatar, z, avatar.hmc_cameras)
    torch.testing.assert_close(rendered, expected.mean(2, keepdim=True), atol=1e-5, rtol=1e-4)
    assert torch.equal(mask, expected_mask)
