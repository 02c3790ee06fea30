"""The two latent spaces seen from above: PCA of the prior's space P and of the decoder's space Q (Fig. 7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.checks import InputError, check_shape
from lipflow.device import host_copy
from lipflow.observations import HmcObservation

Codes = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Projection:
    """An orthonormal plane (or more dimensions) through a cloud of codes."""

    mean: Codes  # [Z]
    axes: Codes  # [k, Z] orthonormal, in falling order of variance; each axis' largest entry is positive
    spread: Codes  # [k] standard deviation of the cloud along each axis
    share: Codes  # [k] of the cloud's whole variance, in [0, 1]

    @staticmethod
    def of(codes: Codes, dimensions: int = 3) -> Projection:
        """The PCA of codes [N, Z], with at most ``dimensions`` axes.

        Raises:
            InputError: fewer than two codes, or numbers that are not finite.
        """
        check_shape({}, codes=(codes, "N Z"))
        if len(codes) < 2 or not np.isfinite(codes).all():
            got = f"{len(codes)}" if len(codes) < 2 else "NaN or infinite numbers"
            raise InputError("codes", expected="at least 2 finite ones", got=got)
        # Not scikit-learn's PCA: its import takes a second and 60 MB, and SciPy's SVD in it keeps the interpreter from
        # all other threads (512 codes stalled the studio's window by 200 ms). NumPy lets them go on.
        mean, count = codes.mean(0, dtype=np.float64), min(dimensions, *codes.shape)
        variances, vectors = np.linalg.eigh(np.atleast_2d(np.cov(codes.astype(np.float64), rowvar=False)))  # rising
        variance, axes = variances[: -count - 1 : -1].clip(0), vectors.T[: -count - 1 : -1]
        axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
        share = variance / max(variances.sum(), np.finfo(np.float64).tiny)
        return Projection(*(np.asarray(array, np.float32) for array in (mean, axes, np.sqrt(variance), share)))

    def to_plane(self, codes: Codes) -> Codes:
        """[..., Z] -> coordinates [..., k]."""
        return np.asarray((codes - self.mean) @ self.axes.T, np.float32)

    def moved(self, codes: Codes, axis: int, to: float) -> Codes:
        """Codes [..., Z] shifted along one axis until their coordinate is ``to``: all else about them stays."""
        return np.asarray(codes + (to - self.to_plane(codes)[..., axis : axis + 1]) * self.axes[axis], np.float32)


@dataclass(frozen=True, eq=False)
class Cloud:
    """Codes in both spaces: u is z carried to the prior's space by the flow of the code's own context."""

    z: Codes  # [N, Z]
    u: Codes  # [N, Z]
    labels: tuple[str, ...]  # [N] the expression or the input that each belongs to


@dataclass(frozen=True, eq=False)
class LatentSpace:
    """P and Q of one avatar, each with its own projection of the same codes."""

    cloud: Cloud
    p: Projection
    q: Projection

    @staticmethod
    def of(cloud: Cloud, dimensions: int = 3) -> LatentSpace:
        """Raises InputError as ``Projection.of`` does."""
        return LatentSpace(cloud, Projection.of(cloud.u, dimensions), Projection.of(cloud.z, dimensions))


def stored_cloud(avatar: Avatar) -> Cloud:
    """The codes of training frames that an avatar's file carries.

    Raises:
        InputError: if it carries none.
    """
    if avatar.samples_z is None or avatar.samples_u is None:
        raise InputError("avatar", expected="one that carries codes of its training frames", got="one without")
    return Cloud(host_copy(avatar.samples_z), host_copy(avatar.samples_u), avatar.samples_segment)


@torch.no_grad()
def prior_cloud(
    avatar: Avatar,
    driving: Tensor | None,
    labels: tuple[str, ...],
    *,
    per_input: int = 100,
    temperature: float = 1.0,
    seed: int = 0,
) -> Cloud:
    """Draws from the prior for each of B driving signals [B, ...] (None for an avatar that nothing drives: B = 1).

    ``labels`` names the inputs, ``temperature`` scales the prior's spread. The same seed gives the same codes.

    Raises:
        InputError: a driving signal that does not suit the avatar, or another number of labels.
    """
    context = avatar.context(driving)
    inputs = 1 if driving is None else len(driving)
    if len(labels) != inputs:
        raise InputError("labels", expected=f"{inputs}, one an input", got=len(labels))
    generator = torch.Generator(device="cpu").manual_seed(seed)
    z = avatar.prior.sample(context, per_input, temperature, generator).flatten(0, 1)  # [B · n, Z]
    repeated = None if context is None else context.repeat_interleave(per_input, 0)
    u, _ = avatar.prior.to_prior(z, repeated)
    return Cloud(host_copy(z), host_copy(u), tuple(label for label in labels for _ in range(per_input)))


@torch.no_grad()
def encoded_cloud(avatar: Avatar, average_texture: Tensor, vertices: Tensor, labels: tuple[str, ...]) -> Cloud:
    """Frames as Q encodes them (Eq. 1): the mean of each code.

    A code is carried to P by the signal that its own face gives (see ``own_driving``).

    Args:
        average_texture: [N, 3, T, T] linear RGB.
        vertices: [N, V, 3] mm, head frame.
        labels: [N] the expression that each frame belongs to.

    Raises:
        InputError: an avatar without Q, a mesh or textures of other sizes, or another number of labels.
    """
    if len(labels) != len(vertices):
        raise InputError("labels", expected=f"{len(vertices)}, one a frame", got=len(labels))
    z, _ = avatar.encode(average_texture, vertices)  # [N, Z]
    u, _ = avatar.prior.to_prior(z, avatar.context(own_driving(avatar, host_copy(z))))
    return Cloud(host_copy(z), host_copy(u), labels)


class Bridge:
    """Carries codes between P and Q under one driving signal, whose context is computed once."""

    def __init__(self, avatar: Avatar, driving: Tensor | None) -> None:
        """
        Args:
            driving: [1, ...]; None for an avatar that nothing drives.

        Raises:
            InputError: a driving signal that does not suit the avatar.
        """
        self._avatar = avatar
        with torch.no_grad():
            self.context = avatar.context(driving)  # [1, C] or None

    @torch.no_grad()
    def to_prior(self, z: Codes) -> Codes:
        """Codes z [N, Z] of Q as codes u [N, Z] of P."""
        return host_copy(self._avatar.prior.to_prior(self._tensor(z), self._contexts(len(z)))[0])

    @torch.no_grad()
    def to_decoder(self, u: Codes) -> Codes:
        """Codes u [N, Z] of P as codes z [N, Z] of Q."""
        return host_copy(self._avatar.prior.to_decoder(self._tensor(u), self._contexts(len(u))))

    def _tensor(self, codes: Codes) -> Tensor:
        return torch.from_numpy(np.asarray(codes, np.float32)).to(self._avatar.vertex_mean.device)

    def _contexts(self, count: int) -> Tensor | None:
        return None if self.context is None else self.context.expand(count, -1)


@torch.no_grad()
def own_driving(avatar: Avatar, z: Codes) -> Tensor | None:
    """The driving signals that faces of codes [B, Z] would give by themselves: their landmarks [B, L, 2] under the
    keypoint camera, or their renders [B, 3, h, w] under the headset's cameras, unlit. None where nothing drives.

    Raises:
        InputError: an avatar without the cameras or landmarks that this takes.
    """
    if avatar.driving is None:
        return None
    codes = torch.from_numpy(np.asarray(z, np.float32)).to(avatar.vertex_mean.device)
    if avatar.driving == "kpt":
        if avatar.keypoint_camera is None:
            raise InputError("avatar", expected="one with a keypoint camera", got="one without")
        return avatar.keypoint_camera.project_normalised(avatar.decode_landmarks(codes)).clamp(0, 1)
    if avatar.hmc_cameras is None:
        raise InputError("avatar", expected="one with headset cameras", got="one without")
    blank = codes.new_zeros(3, *avatar.hmc_cameras.size)
    headset = HmcObservation.for_avatar(avatar, blank)
    return torch.cat([headset.render(avatar, code[None])[0] for code in codes]).clamp(0, 1)


def interpolated(keys: Codes, at: npt.NDArray[np.floating], *, closed: bool = False) -> Codes:
    """Codes on a smooth way through keyframes [K, Z], at times [S] from 0 (the first) to 1 (the last).

    The keyframes are evenly spaced in time; where ``closed``, the way goes on to the first one again. No number of a
    code leaves the range of the two keyframes around it (Fritsch and Carlson's monotone cubics), so that the way
    between two probable codes does not swing outside.

    Raises:
        InputError: fewer than two keyframes, or times outside [0, 1].
    """
    check_shape({}, keys=(keys, "K Z"), at=(at, "S"))
    if len(keys) < 2:
        raise InputError("keys", expected="at least 2 codes", got=len(keys))
    if len(at) and not (at.min() >= 0 and at.max() <= 1):
        raise InputError("at", expected="times between 0 and 1", got=f"{at.min()} to {at.max()}")
    from scipy.interpolate import PchipInterpolator  # slow to import, and needed here alone

    if not closed:
        times = np.linspace(0.0, 1.0, len(keys))
        return np.asarray(PchipInterpolator(times, keys)(at), np.float32)
    around = np.arange(-2, len(keys) + 3)  # two more at each end, so that the seam is as smooth as the rest
    return np.asarray(PchipInterpolator(around / len(keys), keys[around % len(keys)])(at), np.float32)
