"""Virtual headset cameras: partial views of mouth and eyes, made from any dome capture.

The unwrapped textures of the dome cameras, blended by how closely their view directions match and without the
reflections of the dome's lamps, are put back on the mesh and drawn into three cameras that look from where a headset's
would: the mouth from below, each eye from its temple (paper, Sec. 4 and Fig. 5). Order everywhere: mouth, left, right;
the wearer's left is +x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from lipflow.camera import Camera
from lipflow.capture.base import Capture, Frame, FrameId
from lipflow.checks import InputError, check_shape
from lipflow.mesh import Landmarks, Topology
from lipflow.rendering import make_renderer

# Where the cameras sit, seen from what they look at, in mm (x for the left eye; mirrored for the right one).
_MOUTH_CAMERA = (0.0, -44.0, 68.0)
_MOUTH_AIM = (0.0, -8.0, 0.0)  # below the lips: room for an open mouth; lower still where the eyes would show
_EYES_FREE = np.radians(1.0)  # between the picture's upper edge and the lower lids
_EYE_CAMERA = (44.0, -14.0, 42.0)
_EYE_AIM = (6.0, 4.0, 0.0)  # towards the temple and the brow: the other eye stays out
_MOUTH_FOCAL, _EYE_FOCAL = 0.9, 1.05  # focal length over image width: about 58 and 51 degrees across
# Where mouth and eyes are, seen from the tip of the nose, on an adult's head without landmarks.
_MOUTH_FROM_NOSE = (0.0, -34.0)
_EYE_FROM_NOSE = (32.0, 28.0)
_LID_BELOW_EYE = 7.0  # mm from an eye's middle down to its lower lid
_CLOSENESS = 0.08  # 1 - cos of the angle at which a dome view counts 1/e as much as the closest
_TRUSTED = 0.1  # of the best view's squared cosine: from there on a view says how bright a texel is
_ALIKE, _HIGHLIGHT = 0.06, 0.05  # excess over that brightness: what noise and gain explain; where 1/e is left of it
_NORMALS_SIZE = 128  # texels: normals over the texture are smooth
_COARSE = (12, 16)  # rows and columns of the grid on which light and background are drawn
_FRONTAL_LIMIT = 0.9  # cosine: the dome camera nearest to frontal serves for keypoints within 26 degrees


class HeadsetImages(NamedTuple):
    """The three headset views of one moment."""

    hmc: Tensor  # [3, h, w] in [0, 1], grey by hmc_tone; 0 behind the head unless a background was asked for
    cameras: Camera  # 3, head frame, as the images were taken (slop included)
    mask: Tensor  # [3, h, w] 1 on the head


@dataclass(frozen=True)
class HeadsetAugmentation:
    """How much headset images vary, each from 0 (not at all) over 1 (as a real headset might) upwards."""

    lighting: float = 1.0  # exposure by up to 1.5x, a light from one side by up to 40 %, vignetting by up to 35 %
    background: float = 1.0  # brightness of smooth noise behind the head, up to half of white
    slop: float = 1.0  # how the headset sits: up to 3 degrees and 3 mm


DARKEST = 1e-6  # linear intensity that a headset's tone tells from less: keeps the root's gradient finite


def hmc_tone(rgb: Tensor) -> Tensor:
    """Linear RGB [..., 3, h, w], or its mean [..., 1, h, w], in a headset's grey [..., h, w]: the root of the mean."""
    mean = rgb.squeeze(-3) if rgb.shape[-3] == 1 else rgb.mean(dim=-3)
    return mean.clamp_min(DARKEST).sqrt()


def headset_cameras(
    mean_vertices: npt.NDArray[np.floating], landmarks: Landmarks | None, size: tuple[int, int] = (240, 320)
) -> Camera:
    """The three cameras (mouth, left, right) in the head frame, placed from landmarks or else from the mesh's shape.

    Args:
        mean_vertices: [V, 3] mm, the mean mesh.
        landmarks: groups named ``lips*`` and ``lids*`` say where the mouth and the eyes are.
        size: height, width in pixels.
    """
    mean = np.asarray(mean_vertices, dtype=np.float64)
    mouth, left, right = _regions(mean, landmarks)
    lids = mean[landmarks.index[_members(landmarks, "lid")]] if landmarks is not None else np.zeros((0, 3))
    if not len(lids):
        lids = np.stack([left, right]) - [0.0, _LID_BELOW_EYE, 0.0]
    mirror = np.array([-1.0, 1.0, 1.0])
    places = [
        (_mouth_aim(mouth, lids, size), mouth + _MOUTH_CAMERA, _MOUTH_FOCAL),
        (left + _EYE_AIM, left + _EYE_CAMERA, _EYE_FOCAL),
        (right + mirror * _EYE_AIM, right + mirror * _EYE_CAMERA, _EYE_FOCAL),
    ]
    return Camera.stack(
        [Camera.look_at(eye.tolist(), aim.tolist(), focal * size[1], size) for aim, eye, focal in places]
    )


def _mouth_aim(
    mouth: npt.NDArray[np.float64], lids: npt.NDArray[np.float64], size: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """What the mouth camera looks at, [3] mm: so low that its picture ends below the ``lids`` [n, 3]."""
    camera = mouth + _MOUTH_CAMERA
    # The camera turns about x alone, so a point's row depends on its angle above the horizontal in the y-z plane.
    rise, way = lids[:, 1] - camera[1], camera[2] - lids[:, 2]
    half = np.arctan(0.5 * size[0] / (_MOUTH_FOCAL * size[1]))
    usual = (mouth + _MOUTH_AIM) - camera
    pitch = min(np.arctan2(usual[1], -usual[2]), np.arctan2(rise, way).min() - half - _EYES_FREE)
    return np.asarray(camera + np.linalg.norm(usual) * np.array([0.0, np.sin(pitch), -np.cos(pitch)]))


def keypoint_camera(capture: Capture) -> Camera:
    """The camera under which 2D keypoints are given, in the head frame at the capture's mean head pose.

    It is the dome camera that looks most frontally, or a virtual frontal one where none is within 26 degrees.
    """
    pose = mean_head_pose(capture)
    cameras = [camera.in_head_frame(pose) for camera in capture.cameras.values()]
    best = max(cameras, key=lambda camera: float(camera.view[2]))
    if best.view[2] >= _FRONTAL_LIMIT:
        return best
    mean = torch.from_numpy(capture.statistics.vertex_mean)
    low, high = mean.amin(0), mean.amax(0)
    centre = (low + high) / 2
    height, width = capture.photo_size
    extent = max(float(high[1] - low[1]) / height, float(high[0] - low[0]) / width)  # mm a pixel at the head
    return Camera.look_at(centre + torch.tensor([0.0, 0.0, 1000.0]), centre, 0.9 * 1000 / extent, capture.photo_size)


def mean_head_pose(capture: Capture) -> Tensor:
    """The mean head pose [3, 4] of up to 32 evenly spaced frames, without those whose pose cannot be read.

    Raises:
        InputError: if none of them can be.
    """
    steps = np.linspace(0, len(capture.frames) - 1, min(32, len(capture.frames))).round()
    poses, damage = [], []
    for step in steps:
        try:
            poses.append(capture.head_pose(capture.frames[int(step)]))
        except InputError as error:
            damage.append(error)
    if not poses:
        raise damage[0]
    mean = torch.stack(poses).mean(0)
    u, _, vt = torch.linalg.svd(mean[:, :3])
    u = u * torch.tensor([1.0, 1.0, torch.linalg.det(u @ vt).sign().item()])
    return torch.cat([u @ vt, mean[:, 3:]], dim=1)


def hmc_images(
    capture: Capture,
    id: FrameId,
    *,
    size: tuple[int, int] = (240, 320),
    augmentation: HeadsetAugmentation | None = None,
    generator: torch.Generator | None = None,
) -> HeadsetImages:
    """The headset views of one frame; for many frames keep one ``Headset``."""
    return Headset(capture, size=size).images(id, augmentation, generator)


class Headset:
    """Makes headset views of a capture's frames."""

    def __init__(self, capture: Capture, *, size: tuple[int, int] = (240, 320), views: int = 4) -> None:
        """Choose, for each headset camera, the ``views`` dome cameras that look at its region most alike."""
        self.capture = capture
        mean = capture.statistics.vertex_mean
        self.cameras = headset_cameras(mean, capture.landmarks, size)
        self._renderer = make_renderer(capture.topology)
        self._texels = TexelMap(capture.topology, min(_NORMALS_SIZE, capture.texture_size))
        regions = torch.from_numpy(np.stack(_regions(mean.astype(np.float64), capture.landmarks))).float()
        self.dome_cameras, self._facing, self._closeness = self._choose(torch.from_numpy(mean), regions, views)

    def _choose(
        self, mean: Tensor, regions: Tensor, views: int
    ) -> tuple[tuple[tuple[str, ...], ...], list[Tensor], list[Tensor]]:
        """For each headset view: the dome cameras, how far each texel faces them [n, T, T], how alike they look [n]."""
        available = {name for id in self.capture.frames for name in self.capture.texture_cameras(id)}
        names = [name for name in self.capture.cameras if name in available]
        if not names:
            return ((), (), ()), [torch.zeros(0)] * 3, [torch.zeros(0)] * 3
        pose = mean_head_pose(self.capture)
        centres = torch.stack([self.capture.cameras[name].in_head_frame(pose).centre for name in names])
        normals = self._texels.normals(mean)
        chosen, facing, closeness = [], [], []
        for region, own in zip(regions, self.cameras.centre):
            towards = F.normalize(centres - region, dim=-1)
            alike = towards @ F.normalize(own - region, dim=0)
            best = alike.topk(min(views, len(names))).indices
            square = torch.einsum("cij,nc->nij", normals, towards[best]).clamp_min(0.0).square()
            chosen.append(tuple(names[int(i)] for i in best))
            facing.append(self._texels.enlarged(square, self.capture.texture_size))
            closeness.append(torch.exp((alike[best] - alike.max()) / _CLOSENESS))
        return tuple(chosen), facing, closeness

    def needed_textures(self, id: FrameId) -> tuple[str, ...]:
        """The dome cameras whose textures ``blend`` uses of a frame."""
        here = self.capture.texture_cameras(id)
        return tuple(dict.fromkeys(name for names in self.dome_cameras for name in names if name in here))

    def blend(self, frame: Frame) -> Tensor:
        """Textures [3, 3, T, T] linear for the three views; where no chosen camera saw a texel, the average is."""
        if frame.average_texture is None:
            raise InputError(f"frame {frame.id}", expected="an average texture", got="none")
        average = torch.from_numpy(frame.average_texture).float()
        views = {name: torch.from_numpy(texture).float() for name, texture in frame.textures.items()}
        tones = {name: texture.mean(dim=0) for name, texture in views.items()}
        blended = []
        for names, facing, closeness in zip(self.dome_cameras, self._facing, self._closeness):
            total, weight_sum = average * 1e-4, torch.full_like(average[0], 1e-4)
            here = [(k, name) for k, name in enumerate(names) if name in views]
            if here:
                faced = torch.stack([facing[k] * (tones[name] > 0) for k, name in here])  # 0 was not seen
                weights = without_highlights(torch.stack([tones[name] for _, name in here]), faced)
                weights *= faced
                for (k, name), weight in zip(here, weights):
                    weight *= closeness[k]
                    total.addcmul_(views[name], weight)
                    weight_sum += weight
            blended.append(total.div_(weight_sum))
        return torch.stack(blended).div_(255)

    def draw(
        self,
        vertices: Tensor,
        textures: Tensor,
        augmentation: HeadsetAugmentation | None = None,
        generator: torch.Generator | None = None,
    ) -> HeadsetImages:
        """Draw a frame's blended textures [3, 3, T, T] on its mesh [V, 3] into the three cameras."""
        check_shape({}, vertices=(vertices, "V 3"), textures=(textures, "3 3 T T"))
        cameras = self.cameras
        if augmentation is not None:
            cameras = slopped(cameras, augmentation, generator)
            textures = textures * self._light(vertices, textures.shape[-1], augmentation, generator)
        out = self._renderer.render(vertices.expand(3, -1, -1).contiguous(), textures, cameras)
        mask = (out.mask > 0.5).float()
        hmc = hmc_tone(out.rgb).clamp_max(1.0) * mask
        if augmentation is not None:
            hmc = augmented(hmc[None], mask[None], augmentation, generator)[0]
        return HeadsetImages(hmc, cameras, mask)

    def images(
        self,
        id: FrameId,
        augmentation: HeadsetAugmentation | None = None,
        generator: torch.Generator | None = None,
    ) -> HeadsetImages:
        """Read one frame and make its headset views; equal generators make equal images."""
        frame = self.capture.frame(id, photos=(), textures=self.needed_textures(id))
        return self.draw(torch.from_numpy(frame.vertices), self.blend(frame), augmentation, generator)

    def _light(
        self, vertices: Tensor, size: int, augmentation: HeadsetAugmentation, generator: torch.Generator | None
    ) -> Tensor:
        """A light from a random side on the texture, [1, T, T], brighter where the surface faces it."""
        direction = F.normalize(torch.randn(3, generator=generator), dim=0)
        strength = 0.4 * augmentation.lighting * torch.rand((), generator=generator)
        shade = 1 + strength * torch.einsum("cij,c->ij", self._texels.normals(vertices), direction)
        return self._texels.enlarged(shade[None], size).clamp_min(0.05)


def without_highlights(tones: Tensor, faced: Tensor) -> Tensor:
    """Factors in (0, 1] on the views' weights that keep the dome lamps' reflections out of a blend, [n, T, T].

    What a surface scatters looks alike from everywhere; a lamp's reflection only adds to it, for some views. So the
    lower median of the views that see a texel well is nearly free of reflections, and what is brighter hardly counts.
    A single view that is too dark (another surface, a hair that lies elsewhere) is no measure.

    Args:
        tones: [n, T, T] brightness of each view, linear, any unit.
        faced: [n, T, T] how well each view sees a texel; 0 where it does not.
    """
    trusted = faced > _TRUSTED * faced.amax(dim=0)
    ordered = _ascending(tones.masked_fill(~trusted, torch.inf))
    middle = (trusted.sum(dim=0, keepdim=True) - 1).clamp_min_(0) // 2
    excess = (tones / ordered.gather(0, middle).clamp_min_(1.0)).sub_(1 + _ALIKE)
    return excess.clamp_min_(0.0).div_(-_HIGHLIGHT).exp_()


def _ascending(values: Tensor) -> Tensor:
    """``values`` [n, ...] sorted along the few n: a network of comparisons, many times faster than torch's sort."""
    rows = list(values)
    for last in range(len(rows) - 1, 0, -1):
        for k in range(last):
            rows[k], rows[k + 1] = torch.minimum(rows[k], rows[k + 1]), torch.maximum(rows[k], rows[k + 1])
    return torch.stack(rows)


def slopped(cameras: Camera, augmentation: HeadsetAugmentation, generator: torch.Generator | None) -> Camera:
    """The three cameras moved together, as a headset that sits a little differently."""
    axis = F.normalize(torch.randn(3, generator=generator), dim=0)
    amounts = torch.rand(2, generator=generator) * augmentation.slop
    angle = torch.deg2rad(3.0 * amounts[0])
    shift = F.normalize(torch.randn(3, generator=generator), dim=0) * 3.0 * amounts[1]
    x, y, z = axis.tolist()
    cross = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    turn = torch.matrix_exp(angle * cross)
    centre = cameras.centre.mean(dim=0)
    centres = (cameras.centre - centre) @ turn.T + centre + shift
    R = cameras.R @ turn.T
    return Camera(cameras.K, R, -(R @ centres[..., None])[..., 0], cameras.size)


def augmented(
    hmc: Tensor,
    mask: Tensor,
    augmentation: HeadsetAugmentation,
    generator: torch.Generator | None = None,
    *,
    part: slice | None = None,
    of: int | None = None,
) -> Tensor:
    """Headset images [B, 3, h, w] under other exposure, light and background; ``mask`` [B, 3, h, w] is the head.

    Cheap enough for every training batch: nothing is drawn again. Images that are ``part`` of a batch ``of`` so many
    come out as they would with the others.
    """
    check_shape({}, hmc=(hmc, "B N h w"), mask=(mask, "B N h w"))
    batch, views, height, width = len(hmc) if of is None else of, *hmc.shape[1:]
    rows, columns = _COARSE

    def uniform(*shape: int, low: float = -1.0) -> Tensor:
        return torch.rand(*shape, generator=generator) * (1 - low) + low

    y, x = torch.linspace(-1, 1, rows)[:, None], torch.linspace(-1, 1, columns)
    # In the pictures' tone (a root) an exposure of 1.5 is a factor of 1.5 ** 0.5.
    lighting = augmentation.lighting
    exposure = (lighting * (0.2 * uniform(batch, 1, 1, 1) + 0.05 * uniform(batch, views, 1, 1))).exp()
    ramp = 1 + 0.12 * lighting * (uniform(batch, views, 1, 1) * x + uniform(batch, views, 1, 1) * y)
    vignette = 1 - 0.18 * lighting * uniform(batch, 1, 1, 1, low=0.0) * (x**2 + y**2) / 2
    level = 0.5 * augmentation.background * uniform(batch, 1, 1, 1, low=0.0)
    cloud = F.interpolate(uniform(batch, views, 3, 4), (rows, columns), mode="bilinear", align_corners=True)
    behind = level * (1 + 0.6 * cloud + 0.3 * uniform(batch, views, rows, columns))
    coarse = torch.stack([exposure * ramp * vignette, behind])[:, slice(None) if part is None else part]
    # Both vary slowly: made on a coarse grid, enlarged by two products with the bilinear weights.
    factor, background = (_bilinear(rows, height) @ coarse @ _bilinear(columns, width).T).to(hmc.device)
    return (hmc * factor).sub_(background).mul_(mask).add_(background).clamp_(0.0, 1.0)


def _bilinear(small: int, large: int) -> Tensor:
    """Weights [large, small] that enlarge a line of ``small`` values, ends on ends."""
    return F.interpolate(torch.eye(small)[None], large, mode="linear", align_corners=True)[0].T


class TexelMap:
    """Where each texel of a small texture lies on the mesh."""

    def __init__(self, topology: Topology, size: int) -> None:
        """Rasterise the texture's charts at ``size``² texels; texels outside take their nearest neighbour's place."""
        from scipy.ndimage import distance_transform_edt  # slow to import, and needed here alone

        uv = torch.from_numpy(topology.uv)
        flat = Topology(topology.uv_faces, topology.uv, topology.uv_faces, len(topology.uv))
        column, row = uv[:, 0] * size - 0.5, (1 - uv[:, 1]) * size - 0.5
        depth = 10.0  # in front of the near plane; with K = 1 the pixel of (10 c, 10 r, 10) is (c, r)
        points = torch.stack([column, row, torch.ones_like(column)], dim=-1) * depth
        camera = Camera(torch.eye(3)[None], torch.eye(3)[None], torch.zeros(1, 3), (size, size))
        index = make_renderer(flat).render(points[None], torch.zeros(1, 1, 2, 2), camera).index[0].long()
        covered = index >= 0
        if not covered.any():
            raise InputError("texture coordinates", expected="triangles inside the unit square", got="none")
        nearest = distance_transform_edt(~covered.numpy(), return_distances=False, return_indices=True)
        nearest_row, nearest_column = (torch.from_numpy(axis).long() for axis in nearest)
        face = index[nearest_row, nearest_column]
        corner = torch.stack([column, row], dim=-1)[torch.from_numpy(topology.uv_faces).long()[face]]  # [T, T, 3, 2]
        here = torch.stack([nearest_column, nearest_row], dim=-1).float()
        self.covered = covered  # [T, T]
        self._vertices = torch.from_numpy(topology.faces).long()[face]  # [T, T, 3]
        self._barycentric = _barycentric(here, corner)  # [T, T, 3]
        self._faces = torch.from_numpy(topology.faces).long()

    def normals(self, vertices: Tensor) -> Tensor:
        """Unit outward normals of a mesh [V, 3] over the texture, [3, T, T]."""
        a, b, c = vertices[self._faces].unbind(dim=1)
        of_faces = torch.linalg.cross(b - a, c - a)
        of_vertices = torch.zeros_like(vertices)
        for k in range(3):
            of_vertices.index_add_(0, self._faces[:, k], of_faces)
        blended = (F.normalize(of_vertices, dim=-1)[self._vertices] * self._barycentric[..., None]).sum(dim=2)
        return F.normalize(blended, dim=-1).permute(2, 0, 1)

    @staticmethod
    def enlarged(maps: Tensor, size: int) -> Tensor:
        """Maps [N, t, t] over the texture at ``size``² texels, [N, T, T]."""
        return F.interpolate(maps[None], (size, size), mode="bilinear", align_corners=False)[0]


def _barycentric(points: Tensor, corners: Tensor) -> Tensor:
    """Barycentric coordinates [..., 3] of points [..., 2] in triangles [..., 3, 2], clamped into them."""
    a, b, c = corners.unbind(dim=-2)
    ab, ac, ap = b - a, c - a, points - a
    area = ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0]
    area = torch.where(area.abs() < 1e-9, torch.full_like(area, 1e-9), area)
    of_b = (ap[..., 0] * ac[..., 1] - ap[..., 1] * ac[..., 0]) / area
    of_c = (ab[..., 0] * ap[..., 1] - ab[..., 1] * ap[..., 0]) / area
    weights = torch.stack([1 - of_b - of_c, of_b, of_c], dim=-1).clamp(0.0, 1.0)
    return weights / weights.sum(dim=-1, keepdim=True)


def _regions(
    mean: npt.NDArray[np.float64], landmarks: Landmarks | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Centres of mouth, left eye and right eye, [3] mm each."""
    if landmarks is not None:
        points = mean[landmarks.index]
        lips = _members(landmarks, "lip")
        lids = _members(landmarks, "lid")
        middle = (points.min(axis=0)[0] + points.max(axis=0)[0]) / 2
        left = [i for i in lids if points[i, 0] > middle]
        right = [i for i in lids if points[i, 0] < middle]
        if lips and left and right:
            return points[lips].mean(axis=0), points[left].mean(axis=0), points[right].mean(axis=0)
    nose = mean[mean[:, 2].argmax()]

    def surface(x: float, y: float, radius: float) -> npt.NDArray[np.float64]:
        """The point of the front surface near (x, y)."""
        here = np.array([nose[0] + x, nose[1] + y])
        distance = np.linalg.norm(mean[:, :2] - here, axis=1) + 1e3 * (mean[:, 2] < nose[2] - 75)
        near = mean[(distance < radius) | (distance <= distance.min())]
        return np.array([*here, np.quantile(near[:, 2], 0.8)])

    x, y = _EYE_FROM_NOSE
    return surface(*_MOUTH_FROM_NOSE, 10.0), surface(x, y, 12.0), surface(-x, y, 12.0)


def _members(landmarks: Landmarks, prefix: str) -> list[int]:
    return sorted({i for name, members in landmarks.groups.items() if name.startswith(prefix) for i in members})
