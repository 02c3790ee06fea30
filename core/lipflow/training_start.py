"""What a training run starts from: a new avatar fitted to its capture's statistics, and the record of its origin."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lipflow import __version__
from lipflow.avatar import Avatar, AvatarConfig
from lipflow.capture.packed import PackedCapture
from lipflow.checks import InputError
from lipflow.validation import spread
from lipflow.variants import Variant

_PCA_FRAMES = 400
_DRIVER_FRAMES = 64
# A capture of one frame has no spread; what is divided by it must stay finite.
_LEAST_VERTEX_STD = 0.5  # mm
_LEAST_TEXTURE_STD = 0.01


def build_avatar(
    sizes: AvatarConfig, row: Variant | None, packed: PackedCapture, seed: int, base: Avatar | None
) -> Avatar:
    """A new avatar for a capture: weights drawn by ``seed``, mesh heads from a PCA, drivers scaled to their inputs.

    Args:
        sizes: of the networks.
        row: the variant that composes them; None takes ``sizes`` as they are.
        base: a trained "dam" avatar whose encoder and decoder are taken over, for the variants that freeze them.

    Raises:
        InputError: if the capture lacks the driving signal, or ``base`` is missing or does not fit.
    """
    needs_base = row is not None and row.starts_from is not None
    if needs_base:
        sizes = _sizes_of_base(sizes, packed, base)
        row = replace(row, sigma_q=sizes.sigma_q) if row is not None else None
    config = sizes if row is None else row.avatar_config(sizes)
    _check_driving(config, packed)
    config = _fitting_driver(config, packed)
    statistics = replace(
        packed.statistics,
        vertex_std=max(packed.statistics.vertex_std, _LEAST_VERTEX_STD),
        texture_std=max(packed.statistics.texture_std, _LEAST_TEXTURE_STD),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        avatar = Avatar(
            config,
            packed.topology,
            packed.landmarks,
            statistics,
            keypoint_camera=packed.keypoint_camera,
            hmc_cameras=packed.hmc_cameras,
        )
    train = packed.split("train")
    _start_driver(avatar, packed, spread(train, _DRIVER_FRAMES))
    if needs_base and base is not None and base.encoder is not None and avatar.encoder is not None:
        avatar.encoder.load_state_dict(base.encoder.state_dict())
        avatar.decoder.load_state_dict(base.decoder.state_dict())
    else:
        _start_mesh(avatar, packed, spread(train, _PCA_FRAMES))
    return avatar


def mesh_pca(meshes: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """PCA of normalised meshes [N, V, 3]: orthonormal components [R, V, 3] and standard deviations [R], R ≤ rank."""
    centred = (meshes - meshes.mean(0)).flatten(1).double()
    values, vectors = torch.linalg.eigh(centred @ centred.T)  # N × N: far fewer frames than coordinates
    order = torch.argsort(values, descending=True)[: min(rank, len(meshes) - 1)]
    order = order[values[order] > 1e-8 * values.max()]
    singular = values[order].sqrt()
    components = (vectors[:, order].T @ centred) / singular[:, None]
    scales = singular / len(meshes) ** 0.5
    return components.view(-1, *meshes.shape[1:]).to(meshes), scales.to(meshes)


def provenance() -> dict[str, object]:
    """Versions of what made a model, and the source's revision where it is a checkout."""
    versions = {"lipflow-studio": __version__}  # also where it runs from a copy that nobody installed
    for name in ("torch", "numpy", "nflows", "numba"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return {"versions": {**versions, "python": platform.python_version()}, "revision": _revision()}


def _revision() -> str:
    """The git revision of the source; LIPFLOW_REVISION names it where the source was copied without its history."""
    if named := os.environ.get("LIPFLOW_REVISION"):
        return named
    # That the revision holds this file, too: an environment inside someone's repository is no checkout of the source.
    here = Path(__file__)
    command = ["git", "-C", str(here.parent), "rev-parse", "HEAD", f"HEAD:./{here.name}"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout[:12]


def _sizes_of_base(sizes: AvatarConfig, packed: PackedCapture, base: Avatar | None) -> AvatarConfig:
    if base is None or base.encoder is None or base.driving is not None:
        got = "none" if base is None else f"an avatar driven by {base.driving}"
        raise InputError("base", expected='a trained "dam" avatar to freeze', got=got, mend="train dam first")
    if base.config.texture != packed.texture_size or base.topology.vertex_count != packed.topology.vertex_count:
        expected = f"an avatar of this capture ({packed.texture_size}², {packed.topology.vertex_count} vertices)"
        got = f"{base.config.texture}², {base.topology.vertex_count} vertices"
        raise InputError("base", expected=expected, got=got)
    kept = ("texture", "latent", "encoder", "decoder", "sigma_q", "weight_norm")
    return replace(sizes, **{name: getattr(base.config, name) for name in kept})


def _check_driving(config: AvatarConfig, packed: PackedCapture) -> None:
    if config.driving == "hmc" and packed.hmc_size is None:
        mend = "pack it with a headset image size"
        raise InputError("capture", expected="headset images to drive with", got="a pack without", mend=mend)
    if config.driving == "kpt" and packed.landmarks is None:
        mend = "add landmarks.json to the capture, or train another variant"
        raise InputError("capture", expected="landmarks to drive with", got="none", mend=mend)


def _fitting_driver(config: AvatarConfig, packed: PackedCapture) -> AvatarConfig:
    driver = config.driver
    if config.driving == "hmc" and packed.hmc_size is not None:
        driver = replace(driver, size=packed.hmc_size)
    if config.driving == "kpt" and packed.landmarks is not None:
        driver = replace(driver, keypoints=len(packed.landmarks.ids))
    return replace(config, driver=driver)


@torch.no_grad()
def _start_driver(avatar: Avatar, packed: PackedCapture, frames: np.ndarray) -> None:
    if avatar.driver is None:
        return
    batches = (packed.batch(frames[k : k + 8]) for k in range(0, len(frames), 8))
    signals = [batch.hmc if avatar.driving == "hmc" else batch.keypoints for batch in batches]
    avatar.driver.start_from(torch.cat([signal for signal in signals if signal is not None]))


@torch.no_grad()
def _start_mesh(avatar: Avatar, packed: PackedCapture, frames: np.ndarray) -> None:
    rank = max(avatar.config.decoder.mesh_rank, avatar.config.encoder.mesh_rank)
    if rank == 0 or len(frames) < 3:
        return
    components, scales = mesh_pca(avatar.normalise_mesh(packed.vertices(frames)), rank)
    if len(scales) == 0:
        return
    avatar.decoder.start_from_pca(components, scales)
    if avatar.encoder is not None:
        avatar.encoder.start_from_pca(components, scales)
