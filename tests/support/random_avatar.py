"""An untrained avatar whose code nevertheless moves mesh and texture: enough to decode a code and to find it again."""

from __future__ import annotations

import numpy as np
import torch

from lipflow.avatar import Avatar, AvatarConfig
from lipflow.camera import Camera
from lipflow.capture.base import Statistics
from lipflow.mesh import Landmarks, Topology
from lipflow.nets.decoder import DecoderConfig
from lipflow.nets.encoders import DriverConfig
from lipflow.priors.flow import Conditioner

TINY_HMC = (30, 40)  # height, width
TINY_PHOTO = (48, 32)
AVATARS = {  # one for each prior: (prior, driving)
    "standard-normal": ("standard-normal", None),
    "gaussian-kpt": ("gaussian", "kpt"),
    "flow-kpt": ("flow", "kpt"),
    "flow-hmc": ("flow", "hmc"),
}


def tiny_config(prior: str, driving: str | None) -> AvatarConfig:
    return AvatarConfig(
        texture=32,
        latent=16,
        context=32,
        prior=prior,
        driving=driving,
        has_encoder=False,
        flow_hidden=24,
        decoder=DecoderConfig(code=32, view=4, seed=4, seed_channels=8, channels=(12, 8), shuffle=2),
        driver=DriverConfig(size=TINY_HMC, channels=(4, 8), blocks=1),
    )


def random_avatar(
    config: AvatarConfig, *, rings: int = 14, columns: int = 20, photo: tuple[int, int] = TINY_PHOTO, seed: int = 0
) -> Avatar:
    """An egg of ``rings`` × ``columns`` vertices with a frontal camera and a headset, ready for inference."""
    rng = np.random.default_rng(seed)
    topology, vertices = egg(rings, columns)
    facing = np.argsort(-vertices[:, 2], kind="stable")[: max(136, len(vertices) // 3)]
    ids = tuple(int(i) for i in rng.permutation(facing)[:136])
    landmarks = Landmarks(ids, tuple(f"face.{i}" for i in range(136)), {"face": tuple(range(136))}, tuple(range(136)))
    size = config.texture
    coarse = torch.from_numpy(rng.uniform(0.2, 0.8, (1, 3, 6, 6)).astype(np.float32))
    texture = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")[0].numpy()
    statistics = Statistics(vertices, 8.0, texture, 0.12, np.ones((size, size), bool))
    height, width = config.driver.size
    headset = [
        Camera.look_at((0.0, -60.0, 190.0), (0.0, -35.0, 60.0), 0.9 * width, (height, width)),
        Camera.look_at((70.0, 40.0, 190.0), (35.0, 25.0, 60.0), 0.9 * width, (height, width)),
        Camera.look_at((-70.0, 40.0, 190.0), (-35.0, 25.0, 60.0), 0.9 * width, (height, width)),
    ]
    frontal = Camera.look_at((0.0, 0.0, 900.0), (0.0, 0.0, 0.0), 3.2 * photo[1], photo)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        avatar = Avatar(
            config,
            topology,
            landmarks,
            statistics,
            keypoint_camera=frontal,
            hmc_cameras=Camera.stack(headset),
        )
        for module in avatar.modules():
            if isinstance(module, Conditioner):  # it starts as the identity, which would hide mistakes
                torch.nn.init.normal_(module.last.weight, std=0.5 * module.last.weight.shape[1] ** -0.5)
        avatar.requires_grad_(False)
        codes = torch.randn(64, config.latent)
        _spread(avatar, codes)
    return avatar.for_inference()


def _spread(avatar: Avatar, codes: torch.Tensor) -> None:
    """Let standard normal codes move vertices by about 4 mm and texels by about 0.08."""
    avatar.decoder.head.weight.mul_(4.0 / (avatar.decode_mesh(codes) - avatar.decode_mesh(codes).mean(0)).std())
    view = torch.tensor([[0.0, 0.0, 1.0]]).expand(len(codes), 3)
    texture = avatar.decode_texture(codes[:8], view[:8])
    avatar.decoder.last.weight.mul_(0.08 / (texture - texture.mean(0)).std())
    if avatar.driving == "kpt":
        avatar.driver.start_from(avatar.keypoint_camera.project_normalised(avatar.decode_landmarks(codes)))


def egg(rings: int, columns: int) -> tuple[Topology, np.ndarray]:
    """A closed surface about the size of a head, facing z, with a seam at the back."""
    polar = np.linspace(0.02, np.pi - 0.02, rings)
    azimuth = np.linspace(-np.pi, np.pi, columns, endpoint=False)
    p, a = np.meshgrid(polar, azimuth, indexing="ij")
    xyz = np.stack([75 * np.sin(p) * np.sin(a), 110 * np.cos(p), 95 * np.sin(p) * np.cos(a)], -1).reshape(-1, 3)
    faces, uv_faces = [], []
    for i in range(rings - 1):
        for j in range(columns):
            quad = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
            for triangle in ((0, 1, 2), (0, 2, 3)):
                faces.append([quad[k][0] * columns + quad[k][1] % columns for k in triangle])
                uv_faces.append([quad[k][0] * (columns + 1) + quad[k][1] for k in triangle])
    u, v = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(1, 0, rings))
    uv = np.stack([u, v], -1).reshape(-1, 2)
    return Topology.checked(faces, uv, uv_faces, rings * columns), xyz.astype(np.float32)


def stir_prior(avatar: Avatar) -> None:
    """Let the prior's flow no longer be the identity that it starts as."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in avatar.prior.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
