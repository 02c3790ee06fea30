"""The GPU's renderer against the CPU's; skipped where there is no NVIDIA GPU with nvdiffrast."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from lipflow.camera import Camera
from lipflow.checks import InputError
from lipflow.rendering import RenderOutput, make_renderer, renderer_name
from support.renderer_meshes import cameras_around, crossing_camera, ellipsoid

GPU = torch.cuda.is_available() and importlib.util.find_spec("nvdiffrast") is not None
needs_gpu = pytest.mark.skipif(not GPU, reason="no NVIDIA GPU with nvdiffrast here")
SIZE = (120, 160)
ALIKE = 0.99  # part of the pixels that must show the same triangle: nvdiffrast snaps corners to 1/16 pixel


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.cpu() - b).norm() / b.norm())


def render_on(
    device: str, cameras: Camera, pixels: torch.Tensor | None = None, **options: object
) -> tuple[RenderOutput, torch.Tensor, torch.Tensor]:
    """The image of a noisy scene and the gradients of vertices and texture, from all or the named pixels [B, H, W]."""
    generator = torch.Generator().manual_seed(3)
    topology, mesh = ellipsoid(24, 24)
    count = len(cameras)
    vertices = (mesh + torch.randn(count, *mesh.shape, generator=generator)).to(device).requires_grad_()
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    texture = torch.nn.functional.interpolate(coarse, size=64, mode="bilinear").to(device).requires_grad_()
    weights = torch.randn(count, 3, *SIZE, generator=generator).to(device)
    output = make_renderer(topology, device=device, **options).render(vertices, texture, cameras.to(device))  # type: ignore[arg-type]
    counted = torch.ones(count, *SIZE).to(device) if pixels is None else pixels.to(device)
    ((output.rgb * weights).sum(1) * counted + output.depth * counted * 0.01).sum().backward()
    assert vertices.grad is not None
    assert texture.grad is not None
    return output, vertices.grad, texture.grad


@pytest.mark.cuda
@needs_gpu
@pytest.mark.parametrize("cull", [False, True])
@pytest.mark.parametrize("scene", ["around", "crossing"])
def test_gpu_draws_what_the_cpu_draws(cull: bool, scene: str) -> None:
    cameras = cameras_around(3, SIZE) if scene == "around" else Camera.stack([crossing_camera(SIZE)])
    same = render_on("cuda", cameras, cull=cull)[0].index.cpu() == render_on("cpu", cameras, cull=cull)[0].index
    assert same.float().mean() > ALIKE
    cpu, cpu_vertices, cpu_texture = render_on("cpu", cameras, same, cull=cull)
    gpu, gpu_vertices, gpu_texture = render_on("cuda", cameras, same, cull=cull)
    assert (gpu.rgb.cpu() - cpu.rgb).abs().amax(1)[same].max() < 1e-3
    assert (gpu.depth.cpu() - cpu.depth).abs()[same].max() < 0.01
    assert relative(gpu_texture, cpu_texture) < 2e-3
    assert relative(gpu_vertices, cpu_vertices) < 5e-3


@pytest.mark.cuda
@needs_gpu
def test_gpu_clips_at_the_near_plane_like_the_cpu() -> None:
    camera = Camera.stack([crossing_camera(SIZE)])
    cpu, _, _ = render_on("cpu", camera, near=40.0)
    gpu, _, _ = render_on("cuda", camera, near=40.0)
    assert float(cpu.depth.detach()[cpu.mask > 0].min()) >= 40
    assert (gpu.index.cpu() == cpu.index).float().mean() > ALIKE


@pytest.mark.cuda
@needs_gpu
def test_gpu_draws_more_meshes_and_pixels_than_nvdiffrast_takes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _, _ = render_on("cuda", cameras_around(3, SIZE), silhouette=True)
    monkeypatch.setattr("lipflow.rendering.cuda.LARGEST_TILE", 66)
    monkeypatch.setattr("lipflow.rendering.cuda.LARGEST_BATCH", 2)
    pieces, _, _ = render_on("cuda", cameras_around(3, SIZE), silhouette=True)
    assert pieces.rgb.shape == whole.rgb.shape
    assert (pieces.index == whole.index).float().mean() > 0.998
    assert (pieces.rgb - whole.rgb).abs().mean() < 1e-3


@pytest.mark.cuda
@needs_gpu
def test_gpu_silhouettes_are_soft_and_pull_outlines_the_same_way() -> None:
    cameras = cameras_around(2, SIZE)
    topology, mesh = ellipsoid(24, 24)
    gradients = []
    for device in ("cpu", "cuda"):
        scale = torch.ones((), device=device, requires_grad=True)
        renderer = make_renderer(topology, device=device, silhouette=True)
        vertices = mesh.to(device).expand(2, -1, -1) * scale
        output = renderer.render(vertices, torch.ones(1, 3, 4, 4, device=device), cameras.to(device))
        assert bool(((output.mask > 0) & (output.mask < 1)).any())
        output.mask.sum().backward()
        assert scale.grad is not None
        gradients.append(float(scale.grad))
    assert 0.4 < gradients[1] / gradients[0] < 1.6


@pytest.mark.cuda
@needs_gpu
def test_gpu_survives_meshes_that_are_not_numbers() -> None:
    topology, mesh = ellipsoid(8, 8)
    vertices = mesh[None].clone().cuda()
    vertices[0, 10] = float("nan")
    vertices[0, 20] = float("inf")
    renderer = make_renderer(topology, device="cuda")
    camera = cameras_around(1, SIZE).to("cuda")
    output = renderer.render(vertices, torch.ones(1, 3, 4, 4).cuda(), camera)
    assert bool(output.rgb.isfinite().all())
    assert float(output.mask.mean()) > 0.1
    nothing = renderer.render(vertices * float("nan"), torch.ones(1, 3, 4, 4).cuda(), camera)
    assert float(nothing.mask.sum()) == 0
    assert "nvdiffrast" in renderer_name("cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an NVIDIA GPU here")
def test_without_a_gpu_one_line_says_so() -> None:
    topology, _ = ellipsoid(8, 8)
    with pytest.raises(InputError, match="NVIDIA GPU"):
        make_renderer(topology, device="cuda")
