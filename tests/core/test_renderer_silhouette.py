"""Silhouettes that gradients can move."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lipflow.camera import Camera
from lipflow.rendering import make_renderer
from lipflow.rendering.cpu import CpuRenderer
from lipflow.rendering.cpu_silhouette import twin_edges
from support.renderer_meshes import crossing_camera, ellipsoid, flat_camera, plane

SQUARE = [[0, 1, 2], [0, 2, 3]]
CAMERA = Camera.look_at((0, 0, 500), (0, 0, 0), 60.0, (40, 40))


def square(left: float, right: float) -> tuple[CpuRenderer, Tensor]:
    topology, vertices = plane([[left, 2], [right, 2], [right, 8], [left, 8]], SQUARE)
    return CpuRenderer(topology, silhouette=True), vertices


def test_coverage_follows_an_edge_between_two_pixels() -> None:
    for right, inner, outer in ((6.25, 0.75, 0.0), (6.5, 1.0, 0.0), (6.75, 1.0, 0.25)):
        renderer, vertices = square(2.3, right)
        mask = renderer.render(vertices[None], torch.ones(1, 1, 2, 2), flat_camera((11, 11))).mask[0]
        assert float(mask[5, 6]) == pytest.approx(inner, abs=1e-5)
        assert float(mask[5, 7]) == pytest.approx(outer, abs=1e-5)
        assert float(mask[5, 4]) == 1  # the diagonal inside is no silhouette


def test_a_surface_ends_alike_however_it_is_cut_into_triangles() -> None:
    """Also where it ends just beyond a pixel: that pixel is blended with what lies behind, not with its own side."""
    texture = torch.linspace(0, 1, 8).expand(1, 1, 8, 8)
    corners = [[2.3, 2], [9.4, 2], [10.03, 2], [10.03, 8], [9.4, 8], [2.3, 8]]
    cuts = [[0, 2, 3], [0, 3, 5]], [[0, 1, 4], [0, 4, 5], [1, 2, 3], [1, 3, 4]]
    images = []
    for faces in cuts:
        topology, vertices = plane(corners, faces)
        images.append(CpuRenderer(topology, silhouette=True).render(vertices[None], texture, flat_camera((14, 14))))
    torch.testing.assert_close(images[1].rgb, images[0].rgb, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(images[1].mask, images[0].mask)


@pytest.mark.parametrize("rows", [16, 60])
def test_the_gradient_of_the_area_is_its_slope(rows: int) -> None:
    """Also with triangles that are narrower than a pixel at the outline."""
    topology, mesh = ellipsoid(rows, rows)
    renderer = make_renderer(topology, silhouette=True)

    def area(scale: Tensor) -> Tensor:
        return renderer.render(mesh[None] * scale, torch.ones(1, 3, 4, 4), CAMERA).mask.sum()

    scale = torch.tensor(1.0, requires_grad=True)
    area(scale).backward()
    slope = float(area(torch.tensor(1.05)) - area(torch.tensor(0.95))) / 0.1
    assert scale.grad is not None
    assert float(scale.grad) == pytest.approx(slope, rel=0.06)


def test_gradients_are_those_of_small_steps() -> None:
    renderer, vertices = square(2.3, 6.3)
    generator = torch.Generator().manual_seed(0)
    weights, texture = torch.randn(1, 2, 11, 11, generator=generator), torch.rand(1, 2, 1, 1, generator=generator)

    def loss(v: Tensor) -> Tensor:
        output = renderer.render(v[None], texture, flat_camera((11, 11)))
        return (output.rgb * weights).sum() + (output.mask * weights[:, 0]).sum()

    leaf = vertices.clone().requires_grad_()
    loss(leaf).backward()
    assert leaf.grad is not None
    for corner in range(4):
        step = torch.zeros_like(vertices)
        step[corner, 0] = 2.0  # mm at 100 mm: 0.02 pixel
        slope = float(loss(vertices + step) - loss(vertices - step)) / 4.0
        assert float(leaf.grad[corner, 0]) == pytest.approx(slope, rel=0.02, abs=2e-4)


def test_an_outline_moves_to_its_target() -> None:
    topology, mesh = ellipsoid(20, 20)
    renderer = make_renderer(topology, silhouette=True)
    texture = torch.ones(1, 3, 4, 4)
    target = renderer.render(mesh[None], texture, CAMERA).mask
    offset = torch.tensor([40.0, -25.0, 0.0], requires_grad=True)
    optimiser = torch.optim.Adam([offset], lr=2.0)
    for _ in range(60):
        optimiser.zero_grad()
        (renderer.render(mesh[None] + offset, texture, CAMERA).mask - target).square().sum().backward()
        optimiser.step()
    assert float(offset.detach()[:2].abs().max()) < 2.0  # mm; a pixel is 8 mm


def test_without_the_option_masks_are_hard_and_outlines_give_no_gradient() -> None:
    topology, mesh = ellipsoid(20, 20)
    vertices = mesh[None].clone().requires_grad_()
    output = make_renderer(topology).render(vertices, torch.ones(1, 3, 4, 4), CAMERA)
    assert set(output.mask.unique().tolist()) == {0.0, 1.0}
    assert not output.mask.requires_grad
    output.rgb.sum().backward()
    assert vertices.grad is not None
    assert float(vertices.grad.abs().max()) < 1e-5


def test_triangles_through_the_near_plane_stay_hard_but_finite() -> None:
    topology, mesh = ellipsoid(20, 20)
    camera = crossing_camera((30, 40))
    vertices = mesh[None].clone().requires_grad_()
    output = make_renderer(topology, silhouette=True, near=30.0).render(vertices, torch.rand(1, 3, 8, 8), camera)
    (output.rgb.sum() + output.mask.sum()).backward()
    assert vertices.grad is not None
    assert bool(vertices.grad.isfinite().all())


def test_twins_are_the_same_edge_beyond() -> None:
    topology, _ = ellipsoid(8, 8)
    twins = twin_edges(topology.faces)
    assert (twins >= 0).all()  # closed
    for edge, twin in enumerate(twins):
        assert twins[twin] == edge
        ends = [sorted(topology.faces[e // 3, [(e + 1) % 3, (e + 2) % 3]].tolist()) for e in (edge, twin)]
        assert ends[0] == ends[1]
    open_square, _ = plane([[2, 2], [6, 2], [6, 8], [2, 8]], SQUARE)
    assert sorted(twin_edges(open_square.faces).tolist()) == [-1, -1, -1, -1, 1, 5]
