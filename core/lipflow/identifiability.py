"""What an observation says about the code, and what it cannot see: its Jacobian, taken apart (Eq. 10–12).

At one code, the observation's residuals change by J dz. Small singular values of J are directions along which the
face may move unseen: the tongue behind the lips, the cheek outside a headset's views. There only the prior speaks.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.checks import InputError, check_shape
from lipflow.device import host_copy
from lipflow.observations import LeastSquares, Residuals, linearise
from lipflow.solvers import Problem

Array = npt.NDArray[np.float32]
FRONT = (0.0, 0.0, 1.0)  # the view from straight ahead


@dataclass(frozen=True)
class ProbeConfig:
    """How an observation is probed."""

    space: Literal["z", "u"] = "u"
    """In whose units a direction is one long. u: the prior's standard deviations, so a singular value of 1 is where
    observation and prior count the same. z: the decoder's own code."""
    threshold: float = 1.0
    """Singular values below this are unseen. In u, below 1 the observation says less than the prior (of weight 1)."""
    probes: int = 2
    """Random sums of an image's residuals for each dimension of the code, see ``whitened_jacobian``. Keypoints have a
    closed form."""
    seed: int = 0
    """Of those sums."""
    view: tuple[float, float, float] = FRONT
    """The view direction whose texture is looked at; unit vector in the head frame."""
    batch: int = 8
    """Codes decoded at once."""

    def __post_init__(self) -> None:
        if self.space not in ("z", "u"):
            raise InputError("space", expected="z or u", got=repr(self.space))
        for name in ("threshold", "probes", "batch"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(name, expected="a positive number", got=getattr(self, name))


@dataclass(frozen=True, eq=False)
class Identifiability:
    """The Jacobian of an observation by the code, as singular values and what each direction moves."""

    singular_values: Array  # [Z] falling; in units of the observation's σ for a unit along the direction
    directions: Array  # [Z, Z] rows: orthonormal right singular vectors, in the config's space
    codes: Array  # [Z, Z] rows: the same directions as changes of z (first order), to add to a code
    motion_mm: Array  # [Z] root mean square over the vertices of what a unit along each direction moves
    texture: Array  # [Z] root mean square over the valid texels and channels of the same, linear RGB
    seen: int  # directions with a singular value of at least the threshold; the rest spans the unseen subspace
    degrees: float  # Σ s² / (1 + s²): in u, how many directions the observation decides rather than the prior
    unseen_mm: Array  # [V] standard deviation of each vertex when everything unseen varies by a unit
    all_mm: Array  # [V] the same when every direction does
    unseen_texture: Array  # [T, T] the same of texels, root mean square over the channels

    @property
    def unseen(self) -> Array:
        """[Z − seen, Z] an orthonormal basis of the unseen subspace, in the config's space."""
        return self.directions[self.seen :]


@dataclass(frozen=True)
class ProbeState:
    """How far a probe is."""

    stage: Literal["jacobian", "effects"]
    done: int
    total: int


def probe(
    problem: Problem, z: Tensor, config: ProbeConfig | None = None
) -> Generator[ProbeState, None, Identifiability]:
    """Take apart the Jacobian of ``problem``'s observation at the code ``z`` [Z].

    ``problem`` comes from ``fitting.make_problem``; its prior sets the units of the space u.

    Raises:
        InputError: a code of another size or with numbers that are not finite.
    """
    config = ProbeConfig() if config is None else config
    check_shape({}, z=(z, f"{len(problem.mu)}"))
    if not torch.isfinite(z).all():
        raise InputError("z", expected="finite numbers", got="NaN or infinite ones")
    jacobian = yield from whitened_jacobian(problem, z, config.probes, config.seed)  # [M, Z] in u
    by_z = whitening(problem, z)  # ∂w/∂z
    in_z = config.space == "z"
    values, directions = right_singular(jacobian @ by_z if in_z else jacobian)
    codes = (directions if in_z else torch.linalg.solve(by_z, directions.T).T).to(z.dtype)
    seen = int((values >= config.threshold).sum())
    effects = _Effects(len(codes), problem, config)
    for first in range(0, len(codes), config.batch):
        effects.add(z, codes[first : first + config.batch], first, seen)
        yield ProbeState("effects", min(first + config.batch, len(codes)), len(codes))
    squares = values.square()
    return Identifiability(
        singular_values=host_copy(values),
        directions=host_copy(directions),
        codes=host_copy(codes),
        motion_mm=host_copy(effects.motion),
        texture=host_copy(effects.change),
        seen=seen,
        degrees=float((squares / (1 + squares)).sum()),
        unseen_mm=host_copy(effects.unseen_vertices.sqrt()),
        all_mm=host_copy(effects.all_vertices.sqrt()),
        unseen_texture=host_copy(effects.unseen_texels.sqrt()),
    )


class _Effects:
    """What directions move, gathered a few at a time: memory does not grow with their number."""

    def __init__(self, count: int, problem: Problem, config: ProbeConfig) -> None:
        avatar = problem.avatar
        self._problem, self._valid = problem, avatar.texture_valid
        self._view = avatar.vertex_mean.new_tensor(config.view)
        self.motion, self.change = avatar.vertex_mean.new_zeros(2, count)
        self.unseen_vertices, self.all_vertices = avatar.vertex_mean.new_zeros(2, len(avatar.vertex_mean))
        self.unseen_texels = avatar.texture_mean.new_zeros(avatar.texture_mean.shape[1:])

    @torch.no_grad()
    def add(self, z: Tensor, codes: Tensor, first: int, seen: int) -> None:
        """Directions ``first`` … [n, Z]; those from ``seen`` on are unseen."""
        vertices, texture = effect(self._problem, z, codes, self._view)
        squares, texels = vertices.square().sum(-1), texture.square().mean(1)  # [n, V], [n, T, T]
        part = slice(first, first + len(codes))
        self.motion[part] = squares.mean(-1).sqrt()
        self.change[part] = texels[:, self._valid].mean(-1).sqrt()
        self.all_vertices += squares.sum(0)
        unseen = slice(max(seen - first, 0), None)
        self.unseen_vertices += squares[unseen].sum(0)
        self.unseen_texels += texels[unseen].sum(0)


def effect(problem: Problem, z: Tensor, change: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
    """What moves when the code z [Z] moves by ``change`` [n, Z], to both sides and halved.

    ``view`` is a unit vector [3]. Returns vertices [n, V, 3] mm and texture [n, 3, T, T] linear RGB.
    """
    avatar, views = problem.avatar, view.expand(len(change), 3)
    vertices = (avatar.decode_mesh(z + change) - avatar.decode_mesh(z - change)) / 2
    texture = (avatar.decode_texture(z + change, views) - avatar.decode_texture(z - change, views)) / 2
    return vertices, texture


def whitening(problem: Problem, z: Tensor) -> Tensor:
    """∂w/∂z at a code [Z], float64 [Z, Z]; w = (F(z) − μ) / σ is standard normal under the prior."""
    jacobian = problem.prior.jacobian(z, problem.context)
    return torch.exp(-problem.log_sigma.double())[:, None] * jacobian.double()


def right_singular(jacobian: Tensor) -> tuple[Tensor, Tensor]:
    """All Z singular values [Z], falling and zero beyond the rank, and right singular vectors (rows) of [M, Z]."""
    size = jacobian.shape[1]
    _, values, rows = torch.linalg.svd(jacobian.double(), full_matrices=True)
    return torch.nn.functional.pad(values, (0, size - len(values))), rows


def whitened_jacobian(problem: Problem, z: Tensor, probes: int, seed: int) -> Generator[ProbeState, None, Tensor]:
    """The Jacobian [M, Z] of an observation's residuals, in units of σ, by the whitened form of a code [Z].

    Closed form for keypoints. The Jacobian of images is sketched: M random sums of all residuals with signs ±1, whose
    gradients are exact, stand for 10⁵ pixels (M = ``probes`` · Z; their JᵀJ is the pixels' in expectation). What no
    pixel shows no sum shows, so the null space is exact; singular values scatter by √(directions seen / M).
    Differences of renders were tried instead and do not converge: each pixel that an edge sweeps over jumps, and
    singular values grow with the root of the inverse step (measured).
    """
    observation = problem.observation
    if isinstance(observation, LeastSquares):
        _, jacobian = linearise(observation, problem.avatar, z)
        yield ProbeState("jacobian", 1, 1)
        return torch.linalg.solve(whitening(problem, z).T, jacobian.double().T).T
    if not isinstance(observation, Residuals):
        got = type(observation).__name__
        raise InputError("observation", expected="one with residuals", got=got)
    count = probes * len(z)
    generator = torch.Generator().manual_seed(seed)
    with torch.enable_grad():
        w = problem.whiten(z[None])[0].detach().requires_grad_(True)
        residuals = observation.residuals(problem.avatar, problem.unwhiten(w), silhouette=True)[0]
    rows = []
    for done in range(1, count + 1):
        signs = torch.randint(0, 2, residuals.shape, generator=generator, dtype=torch.int8).to(residuals) * 2 - 1
        (row,) = torch.autograd.grad(residuals, w, signs, retain_graph=done < count)
        rows.append(row[0])
        yield ProbeState("jacobian", done, count)
    return torch.stack(rows).double() / count**0.5
