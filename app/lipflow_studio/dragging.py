"""Keypoints that a user drags: what the fit, and what the prior, should make of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.observations import (
    LANDMARK_COUNT,
    Against,
    Comparison,
    FrontalObservation,
    KeypointObservation,
    Observation,
)
from lipflow.reach import Reach, WithinReach

AT_REST = 0.002  # of the image: followers that moved less than this are where the prior saw them


@dataclass(frozen=True, eq=False)
class DraggedKeypoints(KeypointObservation):
    """Some keypoints were put somewhere by hand; the others only follow.

    The energy is that of all, by their weights. The prior is shown the followers where the face has them at present,
    not where they once were: a neutral face with one point torn out of it is nothing that it was trained on, and it
    would answer with a face that is none (measured on the embedded avatar: the lower lip pulled down by 35 pixels
    ends at log p = −312 nats this way, at −1043 the other).

    A hand may ask for what no face does; the face stays where the decoder can be believed (``Reach``).
    """

    pinned: Tensor = field(default_factory=lambda: torch.zeros(LANDMARK_COUNT, dtype=torch.bool))  # [136]
    seen: Tensor | None = None  # [136, 2] what the prior is shown; None: the keypoints
    reaches: dict[Avatar, Reach | None] = field(default_factory=dict, repr=False)  # of avatars that it was held against

    def driving(self, kind: str | None) -> Tensor | None:
        shown = super().driving(kind)
        return shown if shown is None or self.seen is None else self.seen[None]

    def against(self, avatar: Avatar, before: Against | None = None) -> Against:
        known = before if isinstance(before, WithinReach) and before.inner.view.avatar is avatar else None
        inner = self.landmarks_against(avatar, before.inner if isinstance(before, WithinReach) else before)
        reach = self._reach(avatar) if known is None else known.reach
        return inner if reach is None else WithinReach(inner, reach)

    def compare(self, avatar: Avatar, z: Tensor) -> Comparison:
        comparison, reach = super().compare(avatar, z), self._reach(avatar)
        if reach is None:
            return comparison
        beyond = reach.residual(avatar.decoder.mesh_coefficients(z))
        return replace(comparison, energy=comparison.energy + 0.5 * beyond.square())

    def following(self, projected: Tensor) -> DraggedKeypoints:
        """The same, with the followers seen where the face [136, 2] has them now."""
        if not self.pinned.any() or self.pinned.all():
            return self
        seen = torch.where(self.pinned[:, None], self.keypoints, projected.to(self.keypoints).clamp(0, 1))
        return replace(self, seen=seen)

    def is_at_rest(self, projected: Tensor) -> bool:
        """Whether the prior has seen the followers where they are."""
        if not self.pinned.any() or self.pinned.all():
            return True
        seen = self.keypoints if self.seen is None else self.seen
        moved = (projected.to(seen) - seen)[~self.pinned].abs().max()
        return bool(moved < AT_REST)

    def _reach(self, avatar: Avatar) -> Reach | None:
        """How far faces may go, worked out once an avatar."""
        if avatar not in self.reaches:
            self.reaches[avatar] = Reach.of(avatar)
        return self.reaches[avatar]


def following(observation: Observation, projected: Tensor) -> Observation:
    """An observation with the followers of dragged keypoints, which it is or which drive its prior, seen where the
    face [136, 2] has them; any other as it is."""
    if isinstance(observation, DraggedKeypoints):
        return observation.following(projected)
    if isinstance(observation, FrontalObservation) and isinstance(observation.driven_by, DraggedKeypoints):
        return replace(observation, driven_by=observation.driven_by.following(projected))
    return observation


def is_at_rest(observation: Observation, projected: Tensor) -> bool:
    """Whether the prior has seen the followers of dragged keypoints where they are, if there are any."""
    dragged = observation.driven_by if isinstance(observation, FrontalObservation) else observation
    return not isinstance(dragged, DraggedKeypoints) or dragged.is_at_rest(projected)
