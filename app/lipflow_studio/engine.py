"""What runs in the studio's worker threads: the live fit and the decoding for display. Torch lives here.

Both are plain generators (see :mod:`lipflow_studio.workers`). The fit decodes the mesh of each of its codes, which
takes a fraction of a millisecond, and hands the code to the picture generator, which decodes the texture and renders
the frontal picture as often as a share of the machine's time allows while a fit is running.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.checks import InputError
from lipflow.colour import to_display
from lipflow.fitting import FitConfig, FitState, fit
from lipflow.nets.encoders import HmcEncoder
from lipflow.observations import Observation
from lipflow.rendering import make_renderer
from lipflow.rendering.base import Renderer
from lipflow_studio.document import CAMERA_NAMES, AvatarInfo, ByteArray, FitUpdate, FloatArray, Picture, Shape, Source
from lipflow_studio.dragging import following, is_at_rest
from lipflow_studio.orbit import Orbit, through
from lipflow_studio.workers import Waiting

CURVE_LENGTH = 2000  # iterations that the curves remember
SETTLING_ROUNDS = 4  # fits to dragged keypoints that are gone on with because the other keypoints moved along
BACKDROP_HEIGHT = 420  # pixels of the frontal picture behind the keypoints
TEXTURE_SHARE = 0.05  # of the picture thread's time while a fit is running; once it has ended nothing waits
FRONTAL_SHARE = 0.05


@dataclass(frozen=True)
class FitRequest:
    """A message to the live fit. Fields that are None keep what is."""

    observation: Observation | None = None
    source: Source | None = None
    config: FitConfig | None = None
    z: FloatArray | None = None  # start from this code instead of the one that is shown
    restart: bool = False  # start again where the config says (prior, zero, sample)
    rehearse: bool = False  # only try an iteration: what torch loads for the first one takes half a second
    serial: int = 0

    @staticmethod
    def merge(old: FitRequest, new: FitRequest) -> FitRequest:
        return FitRequest(
            observation=old.observation if new.observation is None else new.observation,
            source=old.source if new.source is None else new.source,
            config=old.config if new.config is None else new.config,
            z=new.z if new.z is not None or new.restart else old.z,
            restart=new.restart or (old.restart and new.z is None),
            rehearse=old.rehearse and new.rehearse,
            serial=max(old.serial, new.serial),
        )


@dataclass(frozen=True)
class PictureRequest:
    """A message to the picture generator. Fields that are None keep what is."""

    z: FloatArray | None = None  # [Z]
    shape: Shape | None = None  # of that code, where whoever sends it has decoded and shown it already
    view: tuple[float, float, float] | None = None
    serial: int | None = None
    fitting: bool | None = None  # a fit needs the machine: textures take only their share

    @staticmethod
    def merge(old: PictureRequest, new: PictureRequest) -> PictureRequest:
        return PictureRequest(
            z=old.z if new.z is None else new.z,
            shape=old.shape if new.z is None else new.shape,
            view=old.view if new.view is None else new.view,
            serial=old.serial if new.serial is None else new.serial,
            fitting=old.fitting if new.fitting is None else new.fitting,
        )


def neutral_code(avatar: Avatar) -> FloatArray:
    """The code of the face that a new session shows: the mean of the training frames' codes where known, [Z]."""
    if avatar.samples_z is None:
        return np.zeros(avatar.config.latent, np.float32)
    return avatar.samples_z.float().mean(0).cpu().numpy().copy()


def describe(avatar: Avatar, name: str, path: Path | None = None) -> AvatarInfo:
    """What the views need of an avatar.

    Raises:
        InputError: if it has no landmarks.
    """
    if avatar.landmarks is None or avatar.keypoint_camera is None:
        mend = "train it on a capture with landmarks"
        raise InputError(f"avatar {name}", expected="landmarks and a keypoint camera", got="none", mend=mend)
    start = neutral_code(avatar)
    _ = avatar.topology.split  # made here and kept: in the window's thread it would be a stall
    with torch.inference_mode():
        vertices = avatar.decode_mesh(torch.from_numpy(start).to(_device(avatar))[None])
        keypoints = avatar.keypoint_camera.project_normalised(vertices[:, avatar.landmarks.index])
    height, width = avatar.keypoint_camera.size
    return AvatarInfo(
        name=name,
        path=path,
        driving=avatar.driving,
        topology=avatar.topology,
        landmarks=avatar.landmarks,
        backdrop_size=(BACKDROP_HEIGHT, round(width * BACKDROP_HEIGHT / height)),
        headset_size=None if avatar.hmc_cameras is None else avatar.hmc_cameras.size,
        start=start,
        vertices=vertices[0].cpu().numpy().copy(),
        keypoints=keypoints[0].cpu().numpy().copy(),
        keypoint_projection=_projection(avatar.keypoint_camera),
        viewpoints=_viewpoints(avatar.keypoint_camera, avatar.hmc_cameras),
        attention=tuple(avatar.driver.view_weights().tolist()) if isinstance(avatar.driver, HmcEncoder) else None,
    )


def _projection(camera: Camera) -> FloatArray:
    """[3, 4]: a point (x, y, z, 1) of the head, mm -> (u, v, 1) · depth, u and v as ``project_normalised`` has them."""
    scale = torch.diag(camera.K.new_tensor([1 / camera.size[1], 1 / camera.size[0], 1.0]))
    projection = scale @ camera.K @ torch.cat([camera.R, camera.t[:, None]], dim=1)
    return projection.cpu().numpy().astype(np.float32)


def _viewpoints(keypoints: Camera, headset: Camera | None) -> dict[str, Orbit]:
    """Named for menus and scripts."""
    places = {"keypoint camera": through(keypoints)}
    for i, name in enumerate(CAMERA_NAMES if headset is not None else ()):
        assert headset is not None
        places[f"headset {name}"] = through(headset[i])
    return places


def decode_shape(avatar: Avatar, info: AvatarInfo, z: FloatArray, serial: int) -> Shape:
    """The mesh of a code, as the views take it; a fraction of a millisecond."""
    assert avatar.keypoint_camera is not None  # describe() has seen to it
    with torch.inference_mode():
        vertices = avatar.decode_mesh(torch.from_numpy(z).to(_device(avatar))[None])
        keypoints = avatar.keypoint_camera.project_normalised(vertices[:, info.landmarks.index])
    array = vertices[0].float().cpu().numpy().copy()
    positions = array.take(info.topology.split.vertex, axis=0)
    return Shape(serial, array, positions, keypoints[0].float().cpu().numpy().copy())


def live_fit(
    avatar: Avatar, info: AvatarInfo, z: FloatArray, seed: int = 0
) -> Generator[FitUpdate | Waiting, FitRequest | None, None]:
    """Fits whatever observation was sent last, for ever; waits where there is nothing to do.

    A new observation continues from the current code with the optimiser's memory, also after convergence.
    """
    observation: Observation | None = None
    config: FitConfig | None = None
    source, serial = Source.KEYPOINTS, 0
    message: FitRequest | None = None
    while True:
        while message is None or message.rehearse or (message.observation is None and observation is None):
            if message is not None and message.rehearse and message.observation is not None:
                rehearsed = fit(avatar, message.observation, message.config, z0=z)
                next(rehearsed), next(rehearsed)
            message = yield Waiting()
        observation = message.observation or observation
        assert observation is not None
        source, serial = message.source or source, max(serial, message.serial)
        config = message.config or config or FitConfig.for_observation(observation)
        start = None if message.restart else (z if message.z is None else message.z)
        began = time.perf_counter()
        run = fit(avatar, observation, config, z0=start, seed=seed)
        state, budget_from, rounds = next(run), 0, 0
        history = _History()
        while True:
            ended = state.converged or state.iteration - budget_from >= config.iterations
            z = state.z
            step_ms = 1000 * (time.perf_counter() - began)
            shape = decode_shape(avatar, info, z, serial)
            message = yield history.update(state, shape, source, not ended, step_ms)
            face = torch.from_numpy(shape.keypoints)
            if state.converged and message is None and rounds < SETTLING_ROUNDS and not is_at_rest(observation, face):
                rounds, budget_from = rounds + 1, state.iteration
                began = time.perf_counter()
                observation = following(observation, face)
                state = run.send(observation)
                continue
            while ended and (message is None or message.rehearse):
                message = yield Waiting()
            if message is not None and message.rehearse:
                message = None  # too late for that
            if message is not None and (
                message.restart or message.z is not None or message.source not in (None, source)
            ):
                break
            began = time.perf_counter()
            if message is None:
                state = next(run)
                continue
            budget_from = state.iteration
            source, serial = message.source or source, max(serial, message.serial)
            changes: list[Observation | FitConfig] = []
            if message.config is not None and message.config != config:
                config = message.config
                changes.append(config)
            if message.observation is not None:
                observation, rounds = following(message.observation, face), 0
                changes.append(observation)
            if config.prior == "avatar":
                changes.reverse()  # what drives that comes before it, and goes after it
            for change in changes:  # each takes one iteration
                state = run.send(change)
            if not changes:
                state = next(run)


class _History:
    """The curves of one fit, and the renders that its last pictured state brought."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, float, float]] = []
        self._first = 0
        self._renders: FloatArray | None = None
        self._errors: FloatArray | None = None

    def update(self, state: FitState, shape: Shape, source: Source, running: bool, step_ms: float) -> FitUpdate:
        self._rows.append((state.energy, state.data_energy, state.log_likelihood))
        if len(self._rows) > CURVE_LENGTH:
            self._rows.pop(0)
            self._first += 1
        self._renders = state.extras.get("render", self._renders)
        self._errors = state.extras.get("error", self._errors)
        return FitUpdate(
            serial=shape.serial,
            source=source,
            z=state.z,
            shape=shape,
            iteration=state.iteration,
            energy=state.energy,
            data_energy=state.data_energy,
            log_likelihood=state.log_likelihood,
            converged=state.converged,
            running=running,
            iterations_per_s=state.iterations_per_s,
            step_ms=step_ms,
            curve=np.array(self._rows),
            first=self._first,
            renders=self._renders,
            errors=self._errors,
        )


def pictures(
    avatar: Avatar, info: AvatarInfo, z: FloatArray, view: tuple[float, float, float]
) -> Generator[Picture | Waiting, PictureRequest | None, None]:
    """Decodes for display: the mesh first, then the texture as seen from ``view``, then the frontal picture."""
    assert avatar.keypoint_camera is not None  # describe() has seen to it
    renderer: Renderer | None = None  # made when it is first needed: loading it takes longer than the first face
    camera = avatar.keypoint_camera.resized(info.backdrop_size)
    request = PictureRequest(z=z, view=view, serial=0, fitting=False)
    mesh_stale = texture_stale = frontal_stale = True
    texture_due = frontal_due = 0.0
    texture: Tensor | None = None
    picture: Picture | None = None
    while True:
        assert request.z is not None
        assert request.view is not None
        assert request.serial is not None
        now = time.perf_counter()
        code = torch.from_numpy(request.z).to(_device(avatar))[None]
        if mesh_stale and picture is not None and request.shape is not None:  # shown already
            picture = replace(picture, shape=request.shape)
            mesh_stale, frontal_stale = False, True
        if texture_stale and (now >= texture_due or not request.fitting) and picture is not None:
            with torch.inference_mode():
                texture = avatar.decode_texture(code, torch.tensor([request.view], device=code.device))
            picture = replace(picture, texture=_display(texture))
            texture_stale, frontal_stale = False, True
            spent = time.perf_counter() - now
            texture_due = now + spent / TEXTURE_SHARE
        elif mesh_stale or picture is None:
            shape = decode_shape(avatar, info, request.z, request.serial)
            picture = Picture(shape, None, None) if picture is None else replace(picture, shape=shape)
            mesh_stale, frontal_stale = False, True
        elif frontal_stale and (now >= frontal_due or not request.fitting) and texture is not None:
            renderer = renderer or make_renderer(avatar.topology, device=code.device)
            with torch.inference_mode():
                frontal = renderer.render(
                    torch.from_numpy(picture.shape.vertices).to(code.device)[None], texture, camera
                )
            picture = replace(picture, frontal=_display(torch.cat([frontal.rgb, frontal.mask[:, None]], dim=1)))
            frontal_stale = False
            spent = time.perf_counter() - now
            frontal_due = now + spent / FRONTAL_SHARE
        else:
            due = [d for stale, d in ((texture_stale, texture_due), (frontal_stale, frontal_due)) if stale]
            message = yield Waiting(max(min(due) - now, 0.0) if due else None)
            if message is not None:
                mesh_stale |= message.z is not None
                texture_stale |= message.z is not None or message.view is not None
                request = PictureRequest.merge(request, message)
            continue
        message = yield picture
        if message is not None:
            mesh_stale |= message.z is not None
            texture_stale |= message.z is not None or message.view is not None
            request = PictureRequest.merge(request, message)


def _device(avatar: Avatar) -> torch.device:
    return next(avatar.parameters()).device


def _display(linear: Tensor) -> ByteArray:
    """[1, C, H, W] linear (a mask of 0 and 1 may be the last channel) -> [H, W, C] bytes in display gamma."""
    return (to_display(linear[0]) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
