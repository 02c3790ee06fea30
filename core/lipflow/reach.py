"""How far a decoder can be believed: codes about as far from the training frames' as these are from each other.

A prior is conditional: shown keypoints that no face has, it may well hold a code likely that no face has either, and
the decoder answers with torn meshes (measured on the embedded avatar: a keypoint of the nose that is dragged down by
58 pixels ends at fourteen times the norm of any training frame's code). Within the reach, nothing changes.

The codes of a trained avatar lie in few directions: in a ball around them there is room for faces that tear all the
same (measured: brows that are dragged up by 24 pixels end at half its radius). An ellipsoid of their covariance keeps
them whole. It is too narrow for codes under N(0, I), which differ from the training frames' in directions that the
decoder hardly sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.observations import Against, Difference

Array = npt.NDArray[np.floating]

MARGIN = 1.1  # of the training codes' largest distance from their mean
STIFFNESS = 700.0  # the residual, in units of σ, of a code that is twice as far from the centre


@dataclass(frozen=True, eq=False)
class Reach:
    """An ellipsoid of codes: those with |metric · (z − centre)| ≤ radius."""

    centre: Array  # [Z]
    metric: Array  # [Z, Z]; the identity makes it a ball
    radius: float

    @staticmethod
    def of(avatar: Avatar, *, as_they_spread: bool = False) -> Reach | None:
        """The training frames' codes with a margin; None where the avatar's file holds none of them.

        Args:
            as_they_spread: measure by their covariance, with its mean variance added in every direction.
        """
        if avatar.samples_z is None or len(avatar.samples_z) < 2:
            return None
        codes = avatar.samples_z.double().cpu()
        away = codes - codes.mean(0)
        metric = torch.eye(codes.shape[1], dtype=torch.float64)
        if as_they_spread:
            covariance = away.T @ away / (len(away) - 1)
            spread = covariance + covariance.diagonal().mean() * metric
            metric = torch.linalg.solve_triangular(torch.linalg.cholesky(spread), metric, upper=False)
        radius = MARGIN * float((away @ metric.T).norm(dim=-1).max())
        return Reach(codes.mean(0).float().numpy(), metric.float().numpy(), radius)

    def residual(self, z: Tensor) -> Tensor:
        """Of codes [B, Z] -> [B]: STIFFNESS times the share of the radius by which they are outside, 0 inside."""
        return STIFFNESS * self.share_beyond(z)

    def share_beyond(self, z: Tensor) -> Tensor:
        """By which share of the radius codes [B, Z] are outside, [B]; 0 inside."""
        centre, metric = (torch.from_numpy(array).to(z) for array in (self.centre, self.metric))
        distance = ((z - centre) @ metric.T).norm(dim=-1)
        return (distance / self.radius - 1.0).clamp_min(0.0)


@dataclass(frozen=True, eq=False)
class WithinReach:
    """An observation against an avatar, with one residual more: how far the code is outside."""

    inner: Against
    reach: Reach
    avatar: Avatar

    def __call__(self, z: Array) -> _WithinReach:
        return _WithinReach(self.inner(z), self.reach, z)


class _WithinReach:
    def __init__(self, inner: Difference, reach: Reach, z: Array) -> None:
        self._inner = inner
        away = reach.metric @ (z - reach.centre)
        distance = float(np.linalg.norm(away))
        self._outward = (reach.metric.T @ away / max(distance, 1e-12)).astype(z.dtype)  # [Z]
        self._is_outside = distance > reach.radius
        self._slope = STIFFNESS / reach.radius
        beyond = np.asarray([self._slope * max(distance - reach.radius, 0.0)], z.dtype)
        self.residual: Array = np.concatenate([inner.residual, beyond])

    @property
    def shown(self) -> dict[str, Array]:
        return self._inner.shown

    def factors(self) -> tuple[Array, Array]:
        by_feature, features = self._inner.factors()
        count, rank = by_feature.shape
        wider = np.zeros((count + 1, rank + 1), by_feature.dtype)
        wider[:count, :rank] = by_feature
        wider[count, rank] = self._slope if self._is_outside else 0.0
        return wider, np.vstack([features, self._outward])
