"""Does a capture fit together? The mesh drawn over the photos, its render beside them, and the figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from lipflow.camera import Camera
from lipflow.capture import images
from lipflow.capture.base import Bytes, FrameId
from lipflow.capture.multiface import MultifaceCapture, open_capture
from lipflow.checks import InputError
from lipflow.colour import to_display, to_picture
from lipflow.files import write_json
from lipflow.mesh import Topology, unique_pairs
from lipflow.rendering import Renderer, RenderOutput, make_renderer

# Below these, something is wrong with a pose, a unit, a camera or a texture rather than with the tracking.
LEAST_INSIDE, LEAST_PSNR, LEAST_OVERLAP = 0.5, 15.0, 0.6
NAMED = 5  # damaged files that the problems name one by one
_NEAR, _FAR = np.array([255.0, 214.0, 64.0]), np.array([64.0, 96.0, 255.0])  # wire colours by depth


@dataclass(frozen=True)
class ViewCheck:
    """One photo against the mesh."""

    frame: str  # SEGMENT/NUMBER
    camera: str
    inside: float  # share of the vertices that fall inside the photo, in front of the camera
    psnr: float  # dB, display gamma: the render with the average texture, times ``gain``, over the pixels it covers
    gain: tuple[float, float, float]  # of red, green, blue, by least squares in linear RGB
    overlap: float | None  # intersection over union of the render's silhouette and the mask; None: no mask
    overlay: Path | None  # picture: the visible wires of the mesh on the photo, near ones yellow, far ones blue
    comparison: Path | None  # picture: photo, render, four times their difference


@dataclass(frozen=True)
class CheckReport:
    """What ``check_capture`` found."""

    root: Path
    name: str
    frames: int
    segments: int
    cameras: int
    vertices: int
    landmarks: int
    photo_size: tuple[int, int]
    texture_size: int
    split: dict[str, int]  # frames of train, val and test
    missing: tuple[str, ...]  # every file or folder that the capture names but that is not here
    damaged: tuple[str, ...]  # a line for each mesh, pose or picture that training could not read
    views: tuple[ViewCheck, ...]
    problems: tuple[str, ...]  # one line each; none: the capture fits together

    def lines(self) -> list[str]:
        """The report for people."""
        height, width = self.photo_size
        split = ", ".join(f"{part} {count}" for part, count in self.split.items())
        out = [
            f"{self.name}: {self.frames} frames in {self.segments} segments ({split}), {self.cameras} cameras",
            f"  photos {width}x{height}, textures {self.texture_size}x{self.texture_size}, "
            f"{self.vertices} vertices, {self.landmarks} landmarks",
        ]
        for view in self.views:
            overlap = "no mask" if view.overlap is None else f"silhouette overlap {view.overlap:.3f}"
            out.append(
                f"  {view.frame} camera {view.camera}: {100 * view.inside:.1f} % of the vertices inside, "
                f"PSNR {view.psnr:.2f} dB (gain {view.gain[0]:.2f} {view.gain[1]:.2f} {view.gain[2]:.2f}), {overlap}"
            )
        out.append(f"  missing: {len(self.missing)}" + ("" if self.missing else " (everything named is here)"))
        out += [f"    {path}" for path in self.missing]
        whole = "" if self.damaged else " (every mesh, pose and picture looks whole)"
        out.append(f"  damaged: {len(self.damaged)}{whole}")
        out += [f"  PROBLEM {problem}" for problem in self.problems]
        return out

    def to_json(self) -> dict[str, object]:
        return {
            **asdict(self),
            "root": str(self.root),
            "views": [
                {**asdict(view), "overlay": _name(view.overlay), "comparison": _name(view.comparison)}
                for view in self.views
            ],
        }


def check_capture(root: Path | str, out: Path | str | None = None, *, views: int = 4) -> CheckReport:
    """Check a capture folder: whether each mesh, pose and picture can be read, and whether they fit together on
    ``views`` photos spread over its frames and cameras.

    With ``out``, two pictures a photo and ``report.json`` are written there.

    Raises:
        InputError: if the folder cannot be opened as a capture at all. Damaged frames become ``problems``.
    """
    capture = open_capture(Path(root))
    folder = None if out is None else Path(out)
    renderer = make_renderer(capture.topology)
    checked: list[ViewCheck] = []
    damaged = tuple(capture.damage())
    problems = list(damaged[:NAMED])
    if len(damaged) > NAMED:
        problems.append(f"{len(damaged) - NAMED} more files are damaged")
    for id, camera in _spread(capture, views):
        try:
            view = _check_view(capture, renderer, id, camera, folder)
        except InputError as error:
            if str(error) not in damaged:
                problems.append(str(error))
            continue
        checked.append(view)
        problems += _judge(view)
    try:
        _ = capture.statistics
    except InputError as error:
        problems.append(str(error))
    report = CheckReport(
        root=capture.root,
        name=capture.name,
        frames=len(capture.frames),
        segments=len({id.segment for id in capture.frames}),
        cameras=len(capture.cameras),
        vertices=capture.topology.vertex_count,
        landmarks=0 if capture.landmarks is None else len(capture.landmarks.ids),
        photo_size=capture.photo_size,
        texture_size=capture.texture_size,
        split={part: len(ids) for part, ids in capture.split.items()},
        missing=tuple(capture.missing),
        damaged=damaged,
        views=tuple(checked),
        problems=tuple(problems),
    )
    if folder is not None:
        write_json(folder / "report.json", report.to_json())
    return report


def _spread(capture: MultifaceCapture, count: int) -> list[tuple[FrameId, str]]:
    """Photos to look at: frames evenly over the capture, a different camera each time."""
    photographed = [id for id in capture.frames if capture.photo_cameras(id)]
    steps = np.linspace(0, len(photographed) - 1, count).round().astype(int)
    chosen: dict[tuple[FrameId, str], None] = {}
    for k, step in enumerate(steps):
        cameras = capture.photo_cameras(photographed[step])
        chosen[photographed[step], cameras[k % len(cameras)]] = None
    return list(chosen)


def _check_view(
    capture: MultifaceCapture, renderer: Renderer, id: FrameId, name: str, folder: Path | None
) -> ViewCheck:
    textures = (name,) if name in capture.texture_cameras(id) else ()  # read for its damage alone
    frame = capture.frame(id, photos=(name,), textures=textures)
    assert frame.average_texture is not None  # the frames of a capture have one
    camera, vertices = capture.camera(id, name), torch.from_numpy(frame.vertices)
    photo = torch.from_numpy(frame.photos[name]).float() / 255
    texture = torch.from_numpy(frame.average_texture).float() / 255
    pixels = camera.project(vertices)
    height, width = camera.size
    inside = (
        (pixels[:, 2] > 0)
        & (pixels[:, :2] > -0.5).all(dim=1)
        & (pixels[:, 0] < width - 0.5)
        & (pixels[:, 1] < height - 0.5)
    )
    drawn = renderer.render(vertices[None], texture[None], Camera.stack([camera]))
    covered = drawn.mask[0] > 0.5
    gain, psnr = match(drawn.rgb[0], photo, covered & (drawn.rgb[0] > 0).any(dim=0))
    overlap = None
    if name in frame.masks:
        mask = torch.from_numpy(frame.masks[name])
        overlap = float((covered & mask).sum() / (covered | mask).sum().clamp_min(1))
    overlay = comparison = None
    if folder is not None:
        stem = f"{id.segment}_{id.number:06d}_{name}"
        overlay, comparison = folder / f"{stem}_overlay.png", folder / f"{stem}_compare.png"
        images.write_image(overlay, _wires(photo, pixels, drawn, capture.topology))
        rendered = (drawn.rgb[0] * gain[:, None, None]).clamp(0, 1)
        difference = 4 * (to_display(photo) - to_display(rendered)).abs() * covered
        side_by_side = torch.cat([photo, rendered, difference.clamp(0, 1) ** 2], dim=2)  # squared: shown by its root
        images.write_image(comparison, np.moveaxis(to_picture(side_by_side), -1, 0))
    red, green, blue = gain.tolist()
    return ViewCheck(
        str(id), name, float(inside.float().mean()), psnr, (red, green, blue), overlap, overlay, comparison
    )


def match(rendered: Tensor, photo: Tensor, where: Tensor) -> tuple[Tensor, float]:
    """Gain [3] that brings a render [3, H, W] to a photo by least squares where ``where`` [H, W] is true, and the
    PSNR in display gamma after it (dB; 0 where nothing is left to compare)."""
    r, p = rendered[:, where].double(), photo[:, where].double()
    if r.shape[1] == 0:
        return torch.ones(3), 0.0
    gain = ((r * p).sum(dim=1) / (r * r).sum(dim=1).clamp_min(1e-12)).float()
    error = (to_display(rendered * gain[:, None, None]) - to_display(photo))[:, where].square().mean()
    return gain, float(-10 * error.clamp_min(1e-10).log10())


def _judge(view: ViewCheck) -> list[str]:
    where = f"{view.frame} camera {view.camera}"
    if view.inside < LEAST_INSIDE:
        return [
            f"{where}: only {100 * view.inside:.0f} % of the vertices fall inside the photo; "
            "check that meshes are in mm and that the transform maps head -> world"
        ]
    if view.overlap is not None and view.overlap < LEAST_OVERLAP:
        return [f"{where}: silhouette and mask overlap by {view.overlap:.2f}; check the head's pose and the KRT file"]
    if view.psnr < LEAST_PSNR:
        return [
            f"{where}: render and photo differ (PSNR {view.psnr:.1f} dB); "
            "check the pose, the topology and that the texture's first row is v = 1"
        ]
    return []


def _wires(photo: Tensor, pixels: Tensor, drawn: RenderOutput, topology: Topology) -> Bytes:
    """The edges of the triangles that the renderer saw, over the photo in display gamma, [3, H, W]."""
    picture = Image.fromarray((to_picture(photo) * 0.6).astype(np.uint8))
    index = drawn.index[0]
    seen = torch.unique(index[index >= 0]).numpy()
    if len(seen):
        corners = topology.faces[seen]
        edges, _ = unique_pairs(np.sort(corners[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1))
        points = pixels.numpy()
        depth = points[edges, 2].mean(axis=1)
        near, far = depth.min(), max(depth.max(), depth.min() + 1e-3)
        draw = ImageDraw.Draw(picture)
        thickness = max(1, round(max(picture.size) / 1500))
        limit = 4 * max(picture.size)
        for edge in np.argsort(-depth):
            a, b = points[edges[edge], :2]
            if np.abs([a, b]).max() < limit:
                colour = _wire_colour((depth[edge] - near) / (far - near))
                draw.line([tuple(a), tuple(b)], fill=colour, width=thickness)
    return np.moveaxis(np.asarray(picture), -1, 0)


def _wire_colour(farness: float) -> tuple[int, int, int]:
    colour: npt.NDArray[np.float64] = _NEAR + (_FAR - _NEAR) * farness
    return int(colour[0]), int(colour[1]), int(colour[2])


def _name(path: Path | None) -> str | None:
    return None if path is None else path.name
