"""How far a decoder can be believed: faces about as far from the training frames' mean as these are.

A prior is conditional: shown keypoints that no face has, it may well hold a code likely that no face has either, and
the decoder answers with torn meshes (measured on the embedded avatar: a keypoint of the nose that is dragged down by
58 pixels ends at fourteen times the norm of any training frame's code). Well within the reach, nothing changes.

Faces are what is measured, by the mesh head's coefficients, not codes: few directions of a code do much to a mesh, so
there is room for torn faces among codes as small as the training frames', while a code under N(0, I) differs from
theirs in directions that the decoder hardly sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit
from torch import Tensor
from torch.nn.functional import softplus

from lipflow.avatar import Avatar
from lipflow.landmark_fit import KeypointDifference, KeypointsAgainst

Array = npt.NDArray[np.floating]

MARGIN = 1.1  # of the training faces' largest distance from their mean
FLOOR = 0.03  # variance of the mesh in every direction, as a share of its mean: a torn face moves where no frame did
ROUNDING = 1e-9  # of the meshes' mean square: a variance that is none
STIFFNESS = 700.0  # the residual, in units of σ, of a face that is twice as far out
SOFTNESS = 0.02  # of the radius, over which the spring sets in: a step sees that it is near, and follows the bound


@dataclass(frozen=True, eq=False)
class Reach:
    """An ellipsoid of faces: mesh coefficients c with |metric · (c − centre)| ≤ radius."""

    centre: Array  # [R]
    metric: Array  # [R, R]
    radius: float

    @staticmethod
    @torch.no_grad()
    def of(avatar: Avatar) -> Reach | None:
        """The training frames' faces with a margin; None where the avatar's file holds no codes of them, or codes of
        one and the same face."""
        if avatar.samples_z is None or len(avatar.samples_z) < 2:
            return None
        decoder = avatar.decoder
        faces = decoder.mesh_coefficients(avatar.samples_z).double().cpu()
        weight = decoder.head.effective_weight().double().cpu()
        away = faces - faces.mean(0)
        covariance, gram = away.T @ away / (len(away) - 1), weight.T @ weight  # gram: coefficients -> mesh, squared
        alone = torch.eye(len(gram), dtype=gram.dtype)
        of_mesh = (covariance * gram).sum() / len(gram)  # mean variance over orthonormal directions of the mesh
        if not of_mesh > ROUNDING * (faces.T @ faces / len(faces) * gram).sum() / len(gram):
            return None
        spread = covariance + FLOOR * of_mesh * torch.linalg.inv(gram + 1e-9 * gram.diagonal().mean() * alone)
        metric = torch.linalg.solve_triangular(torch.linalg.cholesky(spread), alone, upper=False)
        radius = MARGIN * float((away @ metric.T).norm(dim=-1).max())
        return Reach(faces.mean(0).float().numpy(), metric.float().numpy(), radius)

    def residual(self, coefficients: Tensor) -> Tensor:
        """Of mesh coefficients [B, R] -> [B]: STIFFNESS times the share of the radius by which they are outside, which
        sets in softly."""
        return STIFFNESS * softplus(self._distance(coefficients) / self.radius - 1.0, 1.0 / SOFTNESS)

    def share_beyond(self, coefficients: Tensor) -> Tensor:
        """By which share of the radius mesh coefficients [B, R] are outside, [B]; 0 inside."""
        return (self._distance(coefficients) / self.radius - 1.0).clamp_min(0.0)

    def times_as_far(self, coefficients: Tensor) -> Tensor:
        """How many times as far out as the farthest training frame mesh coefficients [B, R] are, [B]."""
        return MARGIN * self._distance(coefficients) / self.radius

    def _distance(self, coefficients: Tensor) -> Tensor:
        centre, metric = (torch.from_numpy(array).to(coefficients) for array in (self.centre, self.metric))
        return ((coefficients - centre) @ metric.T).norm(dim=-1)


@dataclass(frozen=True, eq=False)
class WithinReach:
    """Keypoints against an avatar, with one residual more: how far the face is outside."""

    inner: KeypointsAgainst
    reach: Reach

    def __call__(self, z: Array) -> _WithinReach:
        return _WithinReach(self.inner(z), self.reach)


class _WithinReach:
    def __init__(self, inner: KeypointDifference, reach: Reach) -> None:
        self._inner = inner
        away = reach.metric @ (inner.coefficients - reach.centre)
        distance = float(np.linalg.norm(away))
        beyond = (distance / reach.radius - 1.0) / SOFTNESS
        slope = STIFFNESS / reach.radius * expit(beyond)
        self._by_coefficient = slope * (reach.metric.T @ away) / max(distance, 1e-12)  # [R]
        spring = np.asarray([STIFFNESS * SOFTNESS * np.logaddexp(0.0, beyond)], inner.residual.dtype)
        self.residual: Array = np.concatenate([inner.residual, spring])

    @property
    def shown(self) -> dict[str, Array]:
        return self._inner.shown

    def factors(self) -> tuple[Array, Array]:
        by_feature, features = self._inner.factors()
        return np.vstack([by_feature, self._by_coefficient.astype(by_feature.dtype)]), features
