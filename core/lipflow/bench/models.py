"""How fast decoder, flow, fits and training run, beside plain ways of doing the same in torch."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from lipflow.avatar import Avatar
from lipflow.bench.timing import Measurement, measure_pair, summarise
from lipflow.camera import Camera
from lipflow.capture import open_capture
from lipflow.capture.headset import hmc_tone
from lipflow.capture.packed import PackedCapture, pack
from lipflow.capture.synthetic.dome import SynthesisConfig, synthesize
from lipflow.embedded import avatar_driven_by
from lipflow.fitting import FitConfig, fit, make_problem
from lipflow.image_energy import image_energy, view_gains, visible_region
from lipflow.mesh import Topology
from lipflow.nets.layers import UpConv, leaky
from lipflow.observations import HmcObservation, KeypointObservation
from lipflow.rendering import RenderOutput, make_renderer
from lipflow.rendering.reference import ReferenceRenderer
from lipflow.solvers import SOLVERS, Problem
from lipflow.training import Training
from lipflow.training_config import TrainConfig

_FRAMES = 8  # of the capture that a training step is measured on
_MANY = 10**6  # iterations: a measured fit does not end
# Landmark, how far it is pulled in fractions of the image, and in how many moves: a lip slowly and fast, the chin.
DRAGS = ((121, (0.0, 0.1), 60), (121, (0.0, 0.1), 12), (0, (-0.05, 0.03), 20))
PULL, HOLD = 10.0, 0.02  # weights of the pulled landmark and of the others


class PlainRenderer:
    """The plain torch renderer, told by ours which triangle each pixel shows (finding it plainly takes minutes)."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._index, self._plain = make_renderer(topology), ReferenceRenderer(topology)

    def render(self, vertices: Tensor, texture: Tensor, cameras: Camera) -> RenderOutput:
        index = self._index.render(vertices.detach(), texture.detach(), cameras).index
        return self._plain.render(vertices, texture, cameras, index=index)


def plainly(avatar: Avatar) -> Avatar:
    """The avatar as it is trained: ordinary memory layout, the flow through nflows as shipped."""
    twin = copy.deepcopy(avatar)
    for tensor in (*twin.parameters(), *twin.buffers()):
        tensor.data = tensor.data.contiguous()
    twin.prior.train()
    return twin


def decode_plainly(avatar: Avatar, z: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
    """The decoder as one would write it first: rows, columns and channels in torch's usual order, all for each view."""
    decoder, statistics = avatar.decoder, avatar.statistics
    features = torch.cat([leaky(decoder.code(z)), leaky(decoder.view(view))], dim=-1)
    side = decoder.config.seed
    x = leaky(decoder.seed(features)).view(-1, decoder.config.seed_channels, side, side)
    for up in cast(Iterable[UpConv], decoder.ups):
        x = leaky(functional.conv_transpose2d(x, up.weight, None, 2, 1) + up.bias)
    x = functional.conv2d(x, decoder.last.weight, decoder.last.bias, 1, 1)
    texture = avatar.texture_mean + statistics.texture_std * functional.pixel_shuffle(x, decoder.config.shuffle)
    return avatar.vertex_mean + statistics.vertex_std * decoder.mesh(z), texture


def measure(rounds: int = 5) -> dict[str, Measurement]:
    """Decoder, flow, Levenberg–Marquardt step, HMC iteration and training step at the studio's sizes.

    Raises:
        InputError: if no avatars are embedded.
    """
    by_hmc = Avatar.load(avatar_driven_by("hmc")).for_inference()
    by_keypoints = Avatar.load(avatar_driven_by("kpt")).for_inference()
    results = {}
    for name, workloads, reference in (
        ("decoder, 3 views", _decoder(by_hmc, backward=False), "torch, ordinary layout"),
        ("decoder, 3 views, forward + backward", _decoder(by_hmc, backward=True), "torch, ordinary layout"),
        ("flow, to the decoder", _flow(by_hmc), "nflows as shipped"),
        ("keypoint fit, Levenberg-Marquardt step", _keypoint_step(by_keypoints), "jacobian by autograd, whole mesh"),
        ("HMC fit, iteration", _hmc_step(by_hmc), "torch, nflows, plain renderer"),
    ):
        results[name] = measure_pair(*workloads, rounds, name=name, reference_name=reference)
    drag = measure_drags(by_keypoints)
    results[drag.name] = drag
    reference = "the same with the plain renderer"
    for name, every in (("training step, batch 8", 1), ("training step, batch 8, image loss in every second", 2)):
        workloads = _training_step(every)
        results[name] = measure_pair(*workloads, rounds, name=name, reference_name=reference, repeat=every)
    return results


Workloads = tuple[Callable[[], object], Callable[[], object]]


def _decoder(avatar: Avatar, *, backward: bool) -> Workloads:
    assert avatar.hmc_cameras is not None
    views = avatar.hmc_cameras.view
    start = _start(avatar)

    def ours() -> None:
        z = start.clone().requires_grad_(backward)
        mesh, texture = avatar.decode_mesh(z[None]), avatar.decode_texture(z.expand(len(views), -1), views)
        if backward:
            torch.autograd.grad(mesh.sum() + texture.sum(), z)

    plain = plainly(avatar)

    def reference() -> None:
        z = start.clone().requires_grad_(backward)
        mesh, texture = decode_plainly(plain, z.expand(len(views), -1), views)
        if backward:
            torch.autograd.grad(mesh.sum() + texture.sum(), z)

    return _without_gradients(ours, backward), _without_gradients(reference, backward)


def _flow(avatar: Avatar) -> Workloads:
    h, plain = _context(avatar), plainly(avatar)
    u = avatar.prior.base(h)[0]
    return (
        _without_gradients(lambda: avatar.prior.to_decoder(u, h), False),
        _without_gradients(lambda: plain.prior.to_decoder(u, h), False),
    )


def _keypoint_step(avatar: Avatar) -> Workloads:
    """One step from the prior's guess, towards the landmarks of another code."""
    assert avatar.keypoint_camera is not None
    points = avatar.keypoint_camera.project_normalised(avatar.decode_landmarks(_start(avatar) * 0.5)).clamp(0, 1)
    observation = KeypointObservation(points, avatar.keypoint_camera)
    config = FitConfig(optimiser="lm", iterations=_MANY, tolerance=0.0)
    problem = make_problem(avatar, observation, config)
    z = avatar.prior.start(problem.context)[0]
    solver = SOLVERS["lm"](problem, z, config)
    return solver.step, lambda: _plain_step(problem, observation, z)


def measure_drags(avatar: Avatar) -> Measurement:
    """All steps of keypoint fits while some of the landmarks are pulled away, a new place for each step, and of what
    follows until the fits converge; beside the plain step where each drag begins."""
    own, other = [], []
    for index, by, moves in DRAGS:
        observations = list(_drag(avatar, index, by, moves))
        config = FitConfig.for_observation(observations[0])
        began = time.perf_counter()
        problem = make_problem(avatar, observations[0], config)
        _plain_step(problem, observations[0], _start(avatar))
        other.append(1000 * (time.perf_counter() - began))
        run = fit(avatar, observations[0], config, z0=_start(avatar))
        state = next(run)
        # A send counts as the first of the iterations that are left for converging.
        for sent in [*observations[1:], *[None] * (config.iterations - 1)]:
            if sent is None and state.converged:
                break
            began = time.perf_counter()
            state = next(run) if sent is None else run.send(sent)
            own.append(1000 * (time.perf_counter() - began))
    reference = "jacobian by autograd, whole mesh"
    return summarise(own, other, name="keypoint fit, steps while dragging", reference_name=reference)


def _drag(avatar: Avatar, index: int, by: tuple[float, float], moves: int) -> Iterator[KeypointObservation]:
    """One landmark pulled from where the avatar's usual face has it, the others holding on faintly."""
    assert avatar.keypoint_camera is not None
    with torch.no_grad():
        points = avatar.keypoint_camera.project_normalised(avatar.decode_landmarks(_start(avatar))).clamp(0, 1)
    weights = torch.full((len(points),), HOLD)
    weights[index] = PULL
    for move in range(moves + 1):
        pulled = points.clone()
        pulled[index] += torch.tensor(by) * (move / moves)
        yield KeypointObservation(pulled.clamp(0, 1), avatar.keypoint_camera, weights)


def _plain_step(problem: Problem, observation: KeypointObservation, z: Tensor) -> Tensor:
    """Gauss–Newton as one would write it first: residuals of the whole decoded mesh, Jacobian by autograd."""
    avatar = problem.avatar
    height, width = observation.camera.size
    given = observation.keypoints * torch.tensor([width, height])

    def residuals(code: Tensor) -> Tensor:
        landmarks = avatar.decode_mesh(code)[avatar.landmark_ids]
        data = (observation.camera.project(landmarks)[:, :2] - given) / observation.noise
        whitened, _ = problem.whiten(code[None])
        return torch.cat([data.flatten(), whitened[0]])

    jacobian = torch.autograd.functional.jacobian(residuals, z, vectorize=True)
    with torch.no_grad():
        return z - torch.linalg.lstsq(jacobian, residuals(z)[:, None]).solution[:, 0]


def _hmc_step(avatar: Avatar) -> Workloads:
    assert avatar.hmc_cameras is not None
    with torch.no_grad():
        black = torch.zeros(3, *avatar.hmc_cameras.size)
        images, _ = HmcObservation.for_avatar(avatar, black).render(avatar, _start(avatar)[None] * 0.5)
    observation = HmcObservation.for_avatar(avatar, images[0].clamp(0, 1))
    config = FitConfig(optimiser="adam", iterations=_MANY, tolerance=0.0, edges="hard")  # as plain torch draws
    problem = make_problem(avatar, observation, config)
    with torch.no_grad():
        start = avatar.prior.start(problem.context)[0]
    return SOLVERS["adam"](problem, start, config).step, _plain_hmc_step(plainly(avatar), observation, start)


def _plain_hmc_step(avatar: Avatar, observation: HmcObservation, start: Tensor) -> Callable[[], None]:
    """The same energy, written down plainly."""
    renderer, cameras = PlainRenderer(avatar.topology), observation.cameras
    h = avatar.context(observation.images[None])
    z = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([z], 0.05)

    def step() -> None:
        mesh, texture = decode_plainly(avatar, z.expand(len(cameras), -1), cameras.view)
        drawn = renderer.render(mesh, texture, cameras)
        gray = hmc_tone(drawn.rgb)
        visible = visible_region(drawn.mask, observation.masks)
        gain = view_gains(gray[None].detach(), observation.images, visible[None])[0]
        lit = gain[:, None, None] * gray
        data = image_energy(lit[:, None], observation.images[:, None], visible, observation.noise, observation.patch)
        energy = data.sum() - avatar.prior.log_prob(z[None], h).sum()
        optimiser.zero_grad()
        energy.backward()
        optimiser.step()

    return step


def _training_step(image_every: int) -> Workloads:
    config = TrainConfig.of("lip-flow-hmc", "studio", image_every=image_every)
    with tempfile.TemporaryDirectory() as folder:
        packed = _small_capture(Path(folder), config.sizes.texture)
        ours, reference = Training(config, packed), Training(config, packed, renderer=PlainRenderer(packed.topology))
        steps = ours.run(), reference.run()
        # What the pack has opened stays readable when the folder is gone.
        return (lambda: next(steps[0])), (lambda: next(steps[1]))


def _small_capture(folder: Path, texture: int) -> PackedCapture:
    for _ in synthesize(folder / "capture", SynthesisConfig(frames=_FRAMES, cameras=3, texture=texture)):
        pass
    states = pack(open_capture(folder / "capture"), texture=texture)
    while True:
        try:
            next(states)
        except StopIteration as stop:
            return stop.value


def _start(avatar: Avatar) -> Tensor:
    with torch.no_grad():
        return avatar.prior.start(_context(avatar))[0]


def _context(avatar: Avatar) -> Tensor | None:
    """What the driver makes of a plain input."""
    if avatar.driving == "hmc" and avatar.hmc_cameras is not None:
        return avatar.context(torch.full((1, 3, *avatar.hmc_cameras.size), 0.5))
    if avatar.driving == "kpt" and avatar.landmarks is not None and avatar.keypoint_camera is not None:
        mean = avatar.vertex_mean[avatar.landmark_ids]
        return avatar.context(avatar.keypoint_camera.project_normalised(mean)[None])
    return None


def _without_gradients(function: Callable[[], object], backward: bool) -> Callable[[], object]:
    def run() -> object:
        with torch.set_grad_enabled(backward):
            return function()

    return run
