"""What is seen of a face at inference time. Each observation owns its energy.

Every energy is ``½ Σ (residual / σ)²`` with a stated noise σ: the negative logarithm of a Gaussian likelihood, up to a
constant. With λ = 1 the fitted ``energy − λ · log p(z)`` is then the negative log posterior of the code (Eq. 10–12 of
the paper leave the units and λ open). Images are no independent measurements pixel by pixel, see ``image_energy``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.capture.headset import hmc_tone
from lipflow.checks import InputError, check_shape
from lipflow.image_energy import headset_energy, image_energy, image_residuals, view_gains, visible_region
from lipflow.landmark_fit import Array, KeypointsAgainst, LandmarkView
from lipflow.mesh import Topology
from lipflow.rendering import make_renderer
from lipflow.rendering.base import Renderer

LANDMARK_COUNT = 136
HMC_VIEWS = 3  # mouth, left eye, right eye


@dataclass(frozen=True, eq=False)
class Comparison:
    """Codes beside an observation."""

    energy: Tensor  # [B] ½ Σ (residual / σ)², differentiable in the codes
    shown: dict[str, Tensor]  # what was decoded for it, [B, ...], detached (see each observation)


class Observation(Protocol):
    """Something seen of a face, that a code can be fitted to."""

    def driving(self, kind: str | None) -> Tensor | None:
        """The signal that conditions an avatar's prior, [1, ...], if this observation carries that ``kind``
        ("hmc" or "kpt", the avatar's ``driving``); None if it does not."""
        ...

    def check(self, avatar: Avatar) -> None:
        """Raise InputError if this observation cannot be compared with what ``avatar`` decodes."""
        ...

    def compare(self, avatar: Avatar, z: Tensor) -> Comparison:
        """Decode the codes ``z`` [B, Z] as far as the observation needs it and compare."""
        ...

    def compare_smoothly(self, avatar: Avatar, z: Tensor) -> Comparison:
        """As ``compare``, with the edges of what is rendered smoothed: the energy's derivative then knows of them."""
        return self.compare(avatar, z)

    def energy(self, avatar: Avatar, z: Tensor) -> Tensor:
        """½ Σ (residual / σ)² of the codes ``z`` [B, Z] -> [B], differentiable in z."""
        return self.compare(avatar, z).energy


class Difference(Protocol):
    """How what one code decodes to differs from an observation. It lives on the host, as a prior's ``Passage`` does."""

    @property
    def residual(self) -> Array:
        """[M] in units of σ: ½ Σ residual² is the energy."""
        ...

    @property
    def shown(self) -> dict[str, Array]:
        """What ``compare`` shows of the code, without a batch dimension."""
        ...

    def factors(self) -> tuple[Array, Array]:
        """The residuals' Jacobian by the code in two factors [M, R] and [R, Z], R being as few as there are."""
        ...


Against = Callable[[Array], Difference]  # z [Z], in the parameters' precision -> how it differs


@runtime_checkable
class LeastSquares(Protocol):
    """An observation whose residuals are few enough to be linearised: what Levenberg–Marquardt needs."""

    def against(self, avatar: Avatar, before: Against | None = None) -> Against:
        """The observation against what ``avatar``, frozen meanwhile, decodes; what it has in common with an earlier
        observation's ``before`` is taken over."""
        ...


def linearise(observation: LeastSquares, avatar: Avatar, z: Tensor) -> tuple[Tensor, Tensor]:
    """Residuals [M] of one code z [Z], in units of σ, and their Jacobian [M, Z]."""
    difference = observation.against(avatar)(z.detach().cpu().numpy())
    by_feature, features_by_z = (torch.from_numpy(factor).to(z) for factor in difference.factors())
    return torch.from_numpy(difference.residual).to(z), by_feature @ features_by_z


@runtime_checkable
class Residuals(Protocol):
    """An observation of too many residuals for a Jacobian in full: images."""

    def residuals(self, avatar: Avatar, z: Tensor, *, silhouette: bool = False) -> Tensor:
        """Of codes [B, Z] -> [B, M] in units of σ, differentiable in z: half the sum of their squares is the energy.
        ``silhouette`` smooths edges, so that the derivative knows of them, too."""
        ...


@dataclass(frozen=True, eq=False)
class KeypointObservation(Observation):
    """136 landmarks in one image: ``½ Σ_i w_i |projected_i − given_i|² / σ²``, σ = ``noise`` pixels.

    A weight is the factor on a landmark's squared distance: 0 ignores it, 1 is usual, more pins it (a landmark of
    weight w counts like w measurements of it).

    Raises:
        InputError: not 136 × 2, a number that is not finite, a keypoint outside [0, 1], a negative weight.
    """

    keypoints: Tensor  # [136, 2] column / width, row / height
    camera: Camera  # of the image, in the head frame
    weights: Tensor = field(default_factory=lambda: torch.ones(LANDMARK_COUNT))  # [136]
    noise: float = 0.5  # σ, pixels of the camera's image

    def __post_init__(self) -> None:
        check_shape({}, keypoints=(self.keypoints, f"{LANDMARK_COUNT} 2"), weights=(self.weights, f"{LANDMARK_COUNT}"))
        _check_finite("keypoints", self.keypoints)
        _check_finite("weights", self.weights)
        _check_single(self.camera, "keypoint camera")
        outside = ((self.keypoints < 0) | (self.keypoints > 1)).any(-1)
        if outside.any():
            i = int(outside.nonzero()[0])
            got = f"({self.keypoints[i, 0]:.4g}, {self.keypoints[i, 1]:.4g}) for keypoint {i}"
            mend = "divide columns by the image's width and rows by its height"
            raise InputError("keypoints", expected="coordinates in [0, 1]", got=got, mend=mend)
        if (self.weights < 0).any():
            raise InputError("weights", expected="numbers of at least 0", got=f"{self.weights.min():.4g}")
        _check_noise(self.noise)

    @staticmethod
    def for_avatar(avatar: Avatar, keypoints: Tensor, weights: Tensor | None = None) -> KeypointObservation:
        """Keypoints seen by the camera that the avatar's keypoint encoder was trained with.

        Raises:
            InputError: if the avatar knows no such camera, or as above.
        """
        if avatar.keypoint_camera is None:
            raise InputError("keypoints", expected="an avatar with a keypoint camera", got="one without")
        weights = torch.ones(LANDMARK_COUNT) if weights is None else weights
        return KeypointObservation(keypoints, avatar.keypoint_camera, weights)

    def driving(self, kind: str | None) -> Tensor | None:
        return self.keypoints[None] if kind == "kpt" else None

    def check(self, avatar: Avatar) -> None:
        if avatar.landmarks is None:
            raise InputError("keypoints", expected="an avatar with landmarks", got="one without")
        count = len(avatar.landmarks.ids)
        if count != LANDMARK_COUNT:
            raise InputError("keypoints", expected=f"an avatar with {LANDMARK_COUNT} landmarks", got=count)

    def compare(self, avatar: Avatar, z: Tensor) -> Comparison:
        size, points = z.new_tensor(self.camera.size[::-1]), avatar.decode_landmarks(z)
        pixels = self.camera.project(points)[..., :2]
        given, scale = self._in_pixels(points)
        residual = (pixels - given) * scale  # [B, L, 2]
        shown = {"projected": pixels.detach() / size}  # [B, L, 2], units of the keypoints
        return Comparison(0.5 * residual.square().sum((-1, -2)), shown)

    def against(self, avatar: Avatar, before: Against | None = None) -> Against:
        return self.landmarks_against(avatar, before)

    def landmarks_against(self, avatar: Avatar, before: Against | None = None) -> KeypointsAgainst:
        """What ``against`` gives, by its own name: what bounds a face asks for its mesh coefficients, too."""
        view = before.view if isinstance(before, KeypointsAgainst) else None
        if view is None or view.avatar is not avatar or view.camera is not self.camera:
            view = LandmarkView.of(avatar, self.camera)
        given, scale = self._in_pixels(avatar.vertex_mean)
        return KeypointsAgainst(view, given.cpu().numpy(), scale.cpu().numpy())

    def _in_pixels(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The keypoints in pixels [L, 2], and √w / σ [L, 1] in 1 / pixels."""
        given = self.keypoints.to(like) * like.new_tensor(self.camera.size[::-1])
        return given, self.weights.to(like).sqrt()[:, None] / self.noise


@dataclass(frozen=True, eq=False)
class HmcObservation(Observation):
    """Three headset images, compared with renders of the same cameras over the visible region (``image_energy``).

    A headset's lamps are not the dome's: with ``compensate_gain`` each rendered view is first scaled by the one
    factor that fits its image best (least squares, closed form, kept within 0.2–5), so brightness alone is no error.

    Raises:
        InputError: a number, size or kind of images, masks or cameras that do not fit together; values outside [0, 1].
    """

    images: Tensor  # [3, h, w] in [0, 1]: mouth, left eye, right eye; square root of the linear intensity
    cameras: Camera  # 3, head frame
    masks: Tensor | None = None  # [3, h, w] 1 where the image shows the face; None: see ``visible_region``
    noise: float = 0.05  # σ of a pixel's value
    patch: int = 8  # side, in pixels, of the patch within which errors go together
    compensate_gain: bool = True

    def __post_init__(self) -> None:
        height, width = self.cameras.size
        check_shape({}, **{"headset images": (self.images, f"{HMC_VIEWS} {height} {width}")})
        if self.masks is not None:
            check_shape({}, **{"headset masks": (self.masks, f"{HMC_VIEWS} {height} {width}")})
            _check_unit("headset masks", self.masks)
        if self.cameras.K.dim() != 3 or len(self.cameras) != HMC_VIEWS:
            raise InputError("headset cameras", expected=f"{HMC_VIEWS} of them", got=list(self.cameras.K.shape))
        _check_unit("headset images", self.images)
        _check_noise(self.noise)

    @staticmethod
    def for_avatar(avatar: Avatar, images: Tensor, masks: Tensor | None = None) -> HmcObservation:
        """Images from the headset whose cameras the avatar was trained with.

        Raises:
            InputError: if the avatar knows no headset, or as above.
        """
        if avatar.hmc_cameras is None:
            raise InputError("headset images", expected="an avatar with headset cameras", got="one without")
        return HmcObservation(images, avatar.hmc_cameras, masks)

    def driving(self, kind: str | None) -> Tensor | None:
        return self.images[None] if kind == "hmc" else None

    def check(self, avatar: Avatar) -> None:
        """Images of any size can be compared; the avatar's own encoder checks what drives it."""

    def compare(self, avatar: Avatar, z: Tensor) -> Comparison:
        return self._compared(*self._render_gray(avatar, z))

    def compare_smoothly(self, avatar: Avatar, z: Tensor) -> Comparison:
        return self._compared(*self._render_gray(avatar, z, silhouette=True))

    def _compared(self, gray: Tensor, covered: Tensor) -> Comparison:
        visible = visible_region(covered, self.masks)
        per_view, lit, error, gain = headset_energy(
            gray, self.images, visible, self.noise, self.patch, compensate_gain=self.compensate_gain
        )
        shown = {"render": lit, "error": error, "visible": visible, "gain": gain, "view_energy": per_view.detach()}
        return Comparison(per_view.sum(-1), shown)

    def residuals(self, avatar: Avatar, z: Tensor, *, silhouette: bool = False) -> Tensor:
        rendered, covered = self.render(avatar, z, silhouette=silhouette)
        visible = visible_region(covered, self.masks)
        gain = view_gains(rendered.detach(), self.images, visible) if self.compensate_gain else rendered.new_ones(())
        lit = gain[..., None, None] * rendered
        return image_residuals(lit[:, :, None], self.images[:, None], visible, self.noise, self.patch).flatten(1)

    def render(self, avatar: Avatar, z: Tensor, *, silhouette: bool = False) -> tuple[Tensor, Tensor]:
        """The codes [B, Z] as the headset's cameras would see them: [B, 3, h, w], and where, [B, 3, h, w] in 0, 1."""
        gray, mask = self._render_gray(avatar, z, silhouette=silhouette)
        return hmc_tone(gray[:, :, None]), mask

    def _render_gray(self, avatar: Avatar, z: Tensor, *, silhouette: bool = False) -> tuple[Tensor, Tensor]:
        """As ``render``, before the tone: the mean of the linear colours."""
        gray, mask = render_views(avatar, z, self.cameras, gray=True, silhouette=silhouette)
        return gray[:, :, 0], mask


@dataclass(frozen=True, eq=False)
class FrontalObservation(Observation):
    """One colour image of the face, compared with the render of its camera over the visible region (``image_energy``).

    The image does not drive a prior (Sec. 4.2: "the prior input is different from the fitting targets"): headset
    images or keypoints of the same moment may be given beside it for that.

    Raises:
        InputError: a size or kind of image or mask that does not fit the camera; values outside [0, 1].
    """

    image: Tensor  # [3, H, W] linear RGB in [0, 1]
    camera: Camera  # head frame
    mask: Tensor | None = None  # [H, W] 1 where the image shows the face; None: see ``visible_region``
    driven_by: KeypointObservation | HmcObservation | None = None  # conditions the prior, adds no energy
    noise: float = 0.05  # σ of a pixel's linear value
    patch: int = 8  # side, in pixels, of the patch within which errors go together

    def __post_init__(self) -> None:
        height, width = self.camera.size
        check_shape({}, **{"frontal image": (self.image, f"3 {height} {width}")})
        _check_unit("frontal image", self.image)
        if self.mask is not None:
            check_shape({}, **{"frontal mask": (self.mask, f"{height} {width}")})
            _check_unit("frontal mask", self.mask)
        _check_single(self.camera, "frontal camera")
        _check_noise(self.noise)

    def driving(self, kind: str | None) -> Tensor | None:
        return None if self.driven_by is None else self.driven_by.driving(kind)

    def check(self, avatar: Avatar) -> None:
        """Images of any size can be compared."""

    def compare(self, avatar: Avatar, z: Tensor) -> Comparison:
        return self._compared(*self.render(avatar, z))

    def compare_smoothly(self, avatar: Avatar, z: Tensor) -> Comparison:
        return self._compared(*self.render(avatar, z, silhouette=True))

    def _compared(self, rendered: Tensor, covered: Tensor) -> Comparison:
        visible = visible_region(covered, self.mask)
        energy = image_energy(rendered, self.image, visible, self.noise, self.patch)
        error = (rendered.detach() - self.image).abs() * visible[:, None]
        return Comparison(energy, {"render": rendered.detach(), "error": error, "visible": visible})

    def residuals(self, avatar: Avatar, z: Tensor, *, silhouette: bool = False) -> Tensor:
        rendered, covered = self.render(avatar, z, silhouette=silhouette)
        return image_residuals(
            rendered, self.image, visible_region(covered, self.mask), self.noise, self.patch
        ).flatten(1)

    def render(self, avatar: Avatar, z: Tensor, *, silhouette: bool = False) -> tuple[Tensor, Tensor]:
        """The codes [B, Z] as the camera would see them: [B, 3, H, W] linear RGB, and where, [B, H, W] in 0, 1."""
        rgb, mask = render_views(avatar, z, _batched(self.camera), silhouette=silhouette)
        return rgb[:, 0], mask[:, 0]


def check_seen(shown: dict[str, Tensor]) -> None:
    """Raise InputError if images were compared with a code's renders nowhere: their energy is 0, whatever they show.

    ``shown`` is what a ``Comparison`` shows; keypoints show no region and pass.
    """
    visible = shown.get("visible")
    if visible is not None and not visible.any():
        mend = "check the camera (R, t: head frame in mm -> camera, z forward) and the mask, if there is one"
        raise InputError("observation", expected="some of the face inside the image", got="none of it", mend=mend)


def render_views(
    avatar: Avatar, z: Tensor, cameras: Camera, *, gray: bool = False, silhouette: bool = False
) -> tuple[Tensor, Tensor]:
    """Codes [B, Z] seen by N cameras (a batch, head frame): RGB [B, N, 3, h, w] and mask [B, N, h, w].

    The mesh does not depend on the view and is decoded once a code, the texture once a code and view. ``gray`` renders
    the mean of the colours, [B, N, 1, h, w]: rendering is linear in the texture, so it is the mean of the renders.
    ``silhouette`` smooths edges, so that the images' derivative knows of them.
    """
    count, views = len(z), len(cameras)
    vertices = avatar.decode_mesh(z)
    decode = avatar.decode_gray_texture if gray else avatar.decode_texture
    texture = decode(z.repeat_interleave(views, 0), cameras.view.to(z).repeat(count, 1))
    everywhere = Camera(
        cameras.K.repeat(count, 1, 1), cameras.R.repeat(count, 1, 1), cameras.t.repeat(count, 1), cameras.size
    )
    output = renderer_for(avatar.topology, z.device, silhouette).render(
        vertices.repeat_interleave(views, 0), texture, everywhere
    )
    return output.rgb.unflatten(0, (count, views)), output.mask.unflatten(0, (count, views)).detach()


@lru_cache(maxsize=8)
def renderer_for(topology: Topology, device: torch.device, silhouette: bool) -> Renderer:
    """The renderer that observations share. Renderers are thread-safe and hold only their topology's buffers: one for
    each that is in use."""
    return make_renderer(topology, device=device, silhouette=silhouette)


def _batched(camera: Camera) -> Camera:
    return Camera(camera.K[None], camera.R[None], camera.t[None], camera.size)


def _check_single(camera: Camera, what: str) -> None:
    if camera.K.dim() != 2:
        raise InputError(what, expected="one camera", got=f"a batch of {len(camera)}")


def _check_finite(what: str, tensor: Tensor) -> None:
    if not torch.is_floating_point(tensor):
        raise InputError(what, expected="floating-point numbers", got=tensor.dtype)
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        raise InputError(what, expected="finite numbers", got=f"{bad} NaN or infinite")


def _check_unit(what: str, tensor: Tensor) -> None:
    _check_finite(what, tensor)
    if tensor.numel() and (tensor.min() < 0 or tensor.max() > 1):
        raise InputError(what, expected="values in [0, 1]", got=f"{tensor.min():.4g} to {tensor.max():.4g}")


def _check_noise(noise: float) -> None:
    if not 0 < noise < float("inf"):
        raise InputError("noise", expected="a positive standard deviation", got=noise)
