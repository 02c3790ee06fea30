"""How far a decoder can be believed: faces about as far from the training frames' mean as these are.

A prior is conditional: shown keypoints that no face has, it may well hold a code likely that no face has either, and
the decoder answers with torn meshes (measured on the embedded avatar: a keypoint of the nose that is dragged down by
58 pixels ends at fourteen times the norm of any training frame's code). Within the reach, nothing changes.

Faces are what is measured, by the mesh head's coefficients, not codes: few directions of a code do much to a mesh, so
there is room for torn faces among codes as small as the training frames', while a code under N(0, I) differs from
theirs in directions that the decoder hardly sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.landmark_fit import KeypointDifference, KeypointsAgainst

Array = npt.NDArray[np.floating]

MARGIN = 1.1  # of the training faces' largest distance from their mean
FLOOR = 0.03  # variance of the mesh in every direction, as a share of its mean: a torn face moves where no frame did
STIFFNESS = 700.0  # the residual, in units of σ, of a face that is twice as far from the mean


@dataclass(frozen=True, eq=False)
class Reach:
    """An ellipsoid of faces: mesh coefficients c with |metric · (c − centre)| ≤ radius."""

    centre: Array  # [R]
    metric: Array  # [R, R]
    radius: float

    @staticmethod
    @torch.no_grad()
    def of(avatar: Avatar) -> Reach | None:
        """The training frames' faces with a margin; None where the avatar's file holds no codes of them."""
        if avatar.samples_z is None or len(avatar.samples_z) < 2:
            return None
        decoder = avatar.decoder
        faces = decoder.mesh_coefficients(avatar.samples_z).double().cpu()
        weight = decoder.head.effective_weight().double().cpu()
        away = faces - faces.mean(0)
        covariance, gram = away.T @ away / (len(away) - 1), weight.T @ weight  # gram: coefficients -> mesh, squared
        alone = torch.eye(len(gram), dtype=gram.dtype)
        of_mesh = (covariance * gram).sum() / len(gram)  # mean variance over orthonormal directions of the mesh
        spread = covariance + FLOOR * of_mesh * torch.linalg.inv(gram + 1e-9 * gram.diagonal().mean() * alone)
        metric = torch.linalg.solve_triangular(torch.linalg.cholesky(spread), alone, upper=False)
        radius = MARGIN * float((away @ metric.T).norm(dim=-1).max())
        return Reach(faces.mean(0).float().numpy(), metric.float().numpy(), radius)

    def residual(self, coefficients: Tensor) -> Tensor:
        """Of mesh coefficients [B, R] -> [B]: STIFFNESS times the share of the radius by which they are outside."""
        return STIFFNESS * self.share_beyond(coefficients)

    def share_beyond(self, coefficients: Tensor) -> Tensor:
        """By which share of the radius mesh coefficients [B, R] are outside, [B]; 0 inside."""
        centre, metric = (torch.from_numpy(array).to(coefficients) for array in (self.centre, self.metric))
        distance = ((coefficients - centre) @ metric.T).norm(dim=-1)
        return (distance / self.radius - 1.0).clamp_min(0.0)


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
        slope = STIFFNESS / reach.radius
        outward = slope * (reach.metric.T @ away) / max(distance, 1e-12)
        self._by_coefficient = outward if distance > reach.radius else np.zeros_like(outward)  # [R]
        beyond = np.asarray([slope * max(distance - reach.radius, 0.0)], inner.residual.dtype)
        self.residual: Array = np.concatenate([inner.residual, beyond])

    @property
    def shown(self) -> dict[str, Array]:
        return self._inner.shown

    def factors(self) -> tuple[Array, Array]:
        by_feature, features = self._inner.factors()
        return np.vstack([by_feature, self._by_coefficient.astype(by_feature.dtype)]), features
