"""A tiny avatar with random weights, for tests that need one and not a good one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.capture.base import Statistics
from lipflow.mesh import Landmarks, Topology
from lipflow.variants import PRESETS, VARIANTS

LANDMARKS = 136


def tiny_topology(columns: int = 14, rows: int = 11) -> Topology:
    """A sheet of columns × rows vertices over the texture square."""
    grid = np.arange(columns * rows).reshape(rows, columns)
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    u, v = np.meshgrid(np.linspace(0.05, 0.95, columns), np.linspace(0.95, 0.05, rows))
    uv = np.stack([u, v], -1).reshape(-1, 2)
    return Topology.checked(faces, uv, faces, columns * rows)


def tiny_statistics(topology: Topology, texture: int = 32, seed: int = 0) -> Statistics:
    rng = np.random.default_rng(seed)
    sheet = (topology.uv - 0.5) * [160, 220]
    depth = 60 - 0.006 * (sheet**2).sum(-1, keepdims=True)
    valid = np.zeros((texture, texture), dtype=bool)
    valid[1:-1, 1:-1] = True
    mean = (0.3 + 0.2 * rng.random((3, texture, texture))).astype(np.float32)
    return Statistics(np.concatenate([sheet, depth], -1).astype(np.float32), 2.5, mean, 0.08, valid)


def tiny_landmarks(topology: Topology) -> Landmarks:
    ids = tuple(int(i) for i in np.linspace(0, topology.vertex_count - 1, LANDMARKS))
    names = tuple(f"lips.{k}" for k in range(LANDMARKS))
    return Landmarks(ids, names, {"lips": tuple(range(LANDMARKS))}, tuple(range(LANDMARKS)))


def tiny_avatar(variant: str = "lip-flow-kpt", *, seed: int = 0, **changes: Any) -> Avatar:
    """A tiny avatar of a variant in evaluation mode, its flow stirred so that it is not the identity.

    ``changes`` replace fields of the config.
    """
    torch.manual_seed(seed)
    config = replace(VARIANTS[variant].avatar_config(PRESETS["tiny"].avatar), **changes)
    topology = tiny_topology()
    front = Camera.look_at((0, 0, 900), (0, 0, 0), 140.0, (48, 32))
    headset = [Camera.look_at(eye, (0, 0, 40), 60.0, config.driver.size) for eye in HEADSET]
    avatar = Avatar(
        config,
        topology,
        tiny_landmarks(topology),
        tiny_statistics(topology, config.texture),
        keypoint_camera=front,
        hmc_cameras=Camera.stack(headset),
        record={"seed": seed},
    )
    with torch.no_grad():
        for name, parameter in avatar.named_parameters():
            if name.startswith("prior.transform"):
                parameter.add_(0.05 * torch.randn_like(parameter))
    return avatar.eval()


HEADSET = ((0.0, -90.0, 160.0), (70.0, 30.0, 150.0), (-70.0, 30.0, 150.0))  # mouth, left eye, right eye; mm
