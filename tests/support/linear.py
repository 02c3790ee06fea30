"""A model whose posterior is known in closed form: a decoder without kinks, and an observation that is linear in z."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.observations import Against, Comparison, Observation
from lipflow.priors.base import Array
from support.random_avatar import random_avatar, tiny_config

LATENT = 16


def straight_avatar(prior: str = "standard-normal", driving: str | None = None) -> Avatar:
    """A random avatar whose mesh is linear in z: the bias keeps its rectifiers on the same side."""
    avatar = random_avatar(tiny_config(prior, driving))
    avatar.decoder.code.bias.add_(20.0)
    avatar.decoder.head.bias.sub_(20.0 * avatar.decoder.head.weight.sum(1))
    return avatar


@dataclass(frozen=True, eq=False)
class LinearObservation(Observation):
    """½ |A z − y|² / σ², whoever the avatar is; ``images`` hides its Jacobian, as images do."""

    matrix: Tensor  # [M, Z]
    given: Tensor  # [M]
    noise: float = 1.0

    def driving(self, kind: str | None) -> Tensor | None:
        return None

    def check(self, avatar: Avatar) -> None:
        """Any avatar will do."""

    def compare(self, avatar: Avatar, z: Tensor) -> Comparison:
        return Comparison(0.5 * self.residuals(avatar, z).square().sum(-1), {})

    def residuals(self, avatar: Avatar, z: Tensor, *, silhouette: bool = False) -> Tensor:
        return (z @ self.matrix.T - self.given) / self.noise


@dataclass(frozen=True, eq=False)
class SolvedObservation(LinearObservation):
    """The same, with its Jacobian in closed form."""

    def against(self, avatar: Avatar, before: Against | None = None) -> Against:
        matrix = (self.matrix / self.noise).numpy()
        return lambda z: SolvedDifference(self.residuals(avatar, torch.from_numpy(z)).numpy(), matrix)


@dataclass(frozen=True, eq=False)
class SolvedDifference:
    residual: Array
    matrix: Array

    @property
    def shown(self) -> dict[str, Array]:
        return {}

    def factors(self) -> tuple[Array, Array]:
        return self.matrix, np.eye(self.matrix.shape[1], dtype=self.matrix.dtype)


def linear_posterior(observation: LinearObservation, mu: Tensor, log_sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [Z] and covariance [Z, Z] of z under N(μ, σ) given the observation."""
    precision = torch.diag(torch.exp(-2 * log_sigma)) + observation.matrix.T @ observation.matrix / observation.noise**2
    covariance = torch.linalg.inv(precision.double())
    by_data = observation.matrix.T @ observation.given / observation.noise**2
    mean = covariance @ (by_data + torch.exp(-2 * log_sigma) * mu).double()
    return mean, covariance
