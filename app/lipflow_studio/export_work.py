"""What the export's worker does: a generator a thing that is exported, which yields how far it is. Torch lives here.

All leave the whole file or none, also where they are closed before their end.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.colour import to_picture
from lipflow.export import ExportProgress, decode_face, export_mesh, write_png
from lipflow.export_codes import CodeSequence, save_codes
from lipflow.export_render import render_face
from lipflow.export_video import VideoConfig, code_video, turntable
from lipflow.fitting import FitConfig
from lipflow.observations import Observation
from lipflow_studio.document import FitUpdate, FloatArray
from lipflow_studio.latent_engine import Keys, Signal, way_through
from lipflow_studio.orbit import Orbit

RENDER_SIZE = (1080, 1080)  # height and width of a picture of the viewer's view, pixels

Work = Generator[ExportProgress, Any, None]


@dataclass(frozen=True, eq=False)
class Face:
    """What is shown when an export is asked for."""

    avatar: Avatar
    z: FloatArray  # [Z]


@dataclass(frozen=True, eq=False)
class ShownFit:
    """A fit as far as it is, and what it is fitted to."""

    avatar: Avatar
    name: str  # the avatar's
    observation: Observation
    config: FitConfig
    update: FitUpdate
    given: str  # what is fitted to, in words


def mesh(path: Path, face: Face) -> Work:
    """The mesh with its texture, in the format that the suffix names."""
    vertices, texture = decode_face(face.avatar, face.z)
    export_mesh(path, face.avatar.topology, vertices, texture)
    yield ExportProgress(1, 1)


def texture(path: Path, face: Face) -> Work:
    """The texture as seen from the front."""
    write_png(path, to_picture(decode_face(face.avatar, face.z)[1]))
    yield ExportProgress(1, 1)


def render(path: Path, face: Face, orbit: Orbit) -> Work:
    """The face as the viewer sees it."""
    code = torch.from_numpy(face.z).to(face.avatar.vertex_mean.device)
    write_png(path, render_face(face.avatar, code, camera_of(orbit, RENDER_SIZE)))
    yield ExportProgress(1, 1)


def turning(path: Path, face: Face) -> Work:
    """One full turn of the face."""
    yield from turntable(path, face.avatar, face.z)


def fit_video(path: Path, fit: ShownFit, codes: FloatArray) -> Work:
    """The face on its way through the codes [N, Z] of its fit, beside what it is fitted to."""
    from lipflow.export_views import given_picture  # matplotlib only where something is drawn

    given = given_picture(fit.avatar, fit.observation, fit.update.z)
    yield from code_video(path, fit.avatar, codes, beside=given)


def keyframes_video(path: Path, avatar: Avatar, signal: Signal, keys: Keys, seconds: float) -> Work:
    """The face on its way through keyframes that lasts so long, under what drives the prior."""
    way = way_through(avatar, signal, keys)
    yield from code_video(path, avatar, way, VideoConfig(seconds=seconds, hold=0.0))


def codes(path: Path, sequence: CodeSequence) -> Work:
    """Codes as a table."""
    save_codes(path, sequence)
    yield ExportProgress(1, 1)


def report(path: Path, fit: ShownFit) -> Work:
    """All of a fit in one HTML file."""
    from lipflow.export_report import FitAccount, write_report  # matplotlib only where something is drawn

    update = fit.update
    curve: npt.NDArray[np.float64] = update.curve
    account = FitAccount(
        avatar=fit.avatar,
        name=fit.name,
        observation=fit.observation,
        config=fit.config,
        z=update.z,
        curve=curve,
        first=update.first,
        converged=update.converged,
        iterations_per_s=update.iterations_per_s,
        given=fit.given,
    )
    yield from write_report(path, account)


def named(path: Path, work: Work) -> Work:
    """The same, but an error of the system names the file that was asked for, not what stands beside it meanwhile."""
    try:
        yield from work
    except OSError as error:
        beside = error.filename is None or Path(error.filename).parent == path.parent
        if error.errno is None or not beside:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def camera_of(orbit: Orbit, size: tuple[int, int]) -> Camera:
    """The viewer's camera for a picture of ``size``, height and width."""
    focal = size[0] / 2 / np.tan(np.radians(orbit.field_of_view) / 2)
    return Camera.look_at(torch.from_numpy(orbit.eye).float(), orbit.target, float(focal), size)
