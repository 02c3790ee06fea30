"""The CPU renderer against plain torch in float64, and what it promises beside."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import Tensor

from lipflow.camera import Camera
from lipflow.checks import InputError
from lipflow.mesh import Topology
from lipflow.rendering import RenderOutput, make_renderer, render_smoothly, renderer_name, warm_up
from lipflow.rendering.cpu import CpuRenderer
from lipflow.rendering.cpu_backward import group_by_texture_rows
from lipflow.rendering.reference import ReferenceRenderer
from support.renderer_meshes import cameras_around, crossing_camera, ellipsoid, flat_camera, plane

SIZE = (40, 56)


def relative(a: Tensor, b: Tensor) -> float:
    a, b = a.detach().double(), b.detach().double()
    return float((a - b).norm() / b.norm())


def in_double(camera: Camera) -> Camera:
    return Camera(camera.K.double(), camera.R.double(), camera.t.double(), camera.size)


def scene(count: int, textures: int, channels: int = 3, T: int = 32) -> tuple[Topology, Tensor, Tensor]:
    """A noisy ellipsoid (some triangles inside out, some edge-on) and noisy textures."""
    generator = torch.Generator().manual_seed(count + 10 * textures + 100 * channels)
    topology, mesh = ellipsoid(24, 24)
    vertices = mesh + torch.randn(count, *mesh.shape, generator=generator)
    return topology, vertices, torch.rand(textures, channels, T, T, generator=generator)


def render_with_gradients(
    renderer: CpuRenderer | ReferenceRenderer, vertices: Tensor, texture: Tensor, cameras: Camera
) -> tuple[RenderOutput, Tensor, Tensor]:
    vertices, texture = vertices.clone().requires_grad_(), texture.clone().requires_grad_()
    output = renderer.render(vertices, texture, cameras)
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(output.rgb.shape, generator=generator).to(vertices.dtype)
    depth_weights = torch.randn(output.depth.shape, generator=generator).to(vertices.dtype)
    ((output.rgb * weights).sum() + 0.01 * (output.depth * depth_weights).sum()).backward()
    assert vertices.grad is not None
    assert texture.grad is not None
    return output, vertices.grad, texture.grad


@pytest.mark.parametrize("near", [1.0, 30.0])
@pytest.mark.parametrize(("textures", "channels"), [(1, 3), (4, 3), (4, 1), (1, 5)])
def test_images_and_gradients_are_those_of_float64(near: float, textures: int, channels: int) -> None:
    topology, vertices, texture = scene(4, textures, channels)
    around, crossing = cameras_around(3, SIZE), crossing_camera(SIZE)
    cameras = Camera.stack([*(around[i] for i in range(3)), crossing])
    got, got_vertices, got_texture = render_with_gradients(CpuRenderer(topology, near=near), vertices, texture, cameras)
    want, want_vertices, want_texture = render_with_gradients(
        ReferenceRenderer(topology, near=near), vertices.double(), texture.double(), in_double(cameras)
    )
    assert torch.equal(got.index, want.index)
    assert torch.equal(got.mask.double(), want.mask)
    assert relative(got.rgb, want.rgb) < 1e-5
    assert relative(got.depth, want.depth) < 1e-6
    for n in range(4):
        assert relative(got_vertices[n], want_vertices[n]) < 2e-3
    assert relative(got_texture, want_texture) < 2e-3


def test_gradients_hold_where_the_texture_is_clamped_at_its_border() -> None:
    topology, vertices, texture = scene(3, 1)
    stretched = Topology(topology.faces, (topology.uv - 0.3) * 1.8, topology.uv_faces, topology.vertex_count)
    cameras = cameras_around(3, SIZE)
    got = render_with_gradients(CpuRenderer(stretched), vertices, texture, cameras)
    reference = ReferenceRenderer(stretched)
    want = render_with_gradients(reference, vertices.double(), texture.double(), in_double(cameras))
    assert relative(got[0].rgb, want[0].rgb) < 1e-5
    assert relative(got[1], want[1]) < 2e-3
    assert relative(got[2], want[2]) < 2e-3


def test_the_reference_itself_passes_gradcheck() -> None:
    topology, mesh = ellipsoid(5, 5)
    camera = Camera.stack([in_double(cameras_around(1, (6, 8))[0])])
    renderer = ReferenceRenderer(topology)
    vertices = mesh.double()[None].requires_grad_()
    texture = torch.rand(1, 2, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    index = renderer.render(vertices, texture, camera).index

    def images(v: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        output = renderer.render(v, t, camera, index=index)
        return output.rgb, output.depth

    assert torch.autograd.gradcheck(images, (vertices, texture), eps=1e-7, atol=1e-5)


def test_gradients_reach_the_cameras() -> None:
    topology, vertices, texture = scene(2, 1)
    cameras = cameras_around(2, SIZE)
    gradients = []
    for renderer, dtype in ((CpuRenderer(topology), torch.float32), (ReferenceRenderer(topology), torch.float64)):
        t = cameras.t.to(dtype).clone().requires_grad_()
        moved = Camera(cameras.K.to(dtype), cameras.R.to(dtype), t, SIZE)
        output = renderer.render(vertices.to(dtype), texture.to(dtype), moved)
        output.rgb.square().sum().backward()
        assert t.grad is not None
        gradients.append(t.grad)
    assert relative(gradients[0], gradients[1]) < 2e-3


def test_shared_edges_belong_to_one_triangle() -> None:
    generator = np.random.default_rng(0)
    # A fan about a pixel's centre and a grid of corners on pixel centres: all ties of the filling rule.
    points = [[x, y] for y in (2.0, 5.0, 9.0) for x in (1.0, 4.0, 8.0)]
    points[4] = [4.0, 5.0]
    quads = [(0, 1, 4, 3), (1, 2, 5, 4), (3, 4, 7, 6), (4, 5, 8, 7)]
    faces = [face for a, b, c, d in quads for face in ([a, b, c], [a, c, d])]
    for _ in range(5):
        topology, vertices = plane(points, faces)
        whole = CpuRenderer(topology).render(vertices[None], torch.ones(1, 1, 4, 4), flat_camera((12, 12)))
        drawn = torch.zeros(12, 12)
        for face in range(len(faces)):
            one = Topology(topology.faces[face : face + 1], topology.uv, topology.uv_faces[face : face + 1], 9)
            drawn += CpuRenderer(one).render(vertices[None], torch.ones(1, 1, 4, 4), flat_camera((12, 12))).mask[0]
        assert torch.equal(drawn, whole.mask[0])
        assert drawn.max() == 1
        assert drawn[3:8, 2:7].min() == 1
        points[4] = list(generator.uniform([2.5, 3.5], [6.0, 7.0]))


def test_a_pixel_sees_its_centre_and_uv_follow_perspective() -> None:
    # A rectangle that recedes: its middle on screen is nearer than its middle in space.
    topology = Topology.checked([[0, 1, 2], [0, 2, 3]], [[0, 0], [1, 0], [1, 1], [0, 1]], [[0, 1, 2], [0, 2, 3]], 4)
    vertices = torch.tensor([[-10.0, 8, 10], [90, 8, 90], [90, -8, 90], [-10, -8, 10]])
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    K = torch.tensor([[10.0, 0, 10], [0, 10, 3], [0, 0, 1]])
    output = CpuRenderer(topology).render(vertices[None], ramp, Camera(K, torch.eye(3), torch.zeros(3), (7, 21)))
    column = 15  # the ray x = 0.5 z meets x = -10 + 100 s, z = 10 + 80 s at s = 0.25
    assert float(output.depth[0, 3, column]) == pytest.approx(30, abs=1e-4)
    assert float(output.rgb[0, 0, 3, column]) == pytest.approx((0.25 * 64 - 0.5) / 63, abs=1e-5)


def test_the_first_texture_row_is_at_the_top_of_uv() -> None:
    topology, vertices = plane([[0, 0], [9, 0], [9, 9], [0, 9]], [[0, 1, 2], [0, 2, 3]])
    texture = torch.arange(100.0).reshape(1, 1, 10, 10)
    image = CpuRenderer(topology).render(vertices[None], texture, flat_camera((9, 9))).rgb[0, 0]
    # uv = pixel / 10: pixel 0 is the texture's corner, pixel 1 lies between texels 0 and 1.
    assert float(image[0, 0]) == 0
    assert float(image[1, 1]) == pytest.approx(5.5)
    assert float(image[3, 5]) == pytest.approx(25 + 4.5)


def test_a_smooth_render_holds_the_share_of_each_pixel_that_is_covered() -> None:
    left, right, top, bottom = 1.2, 6.7, 2.0, 5.4  # pixel centres are whole numbers: pixel 1 reaches from 0.5 to 1.5
    topology, vertices = plane([[left, top], [right, top], [right, bottom], [left, bottom]], [[0, 1, 2], [0, 2, 3]])
    camera, white = flat_camera((9, 9)), torch.ones(1, 1, 4, 4)
    image = render_smoothly(CpuRenderer(topology), vertices[None], white, camera, samples=20)[0, 0]
    edges = torch.arange(10.0) - 0.5
    across = (edges[1:].clamp(left, right) - edges[:-1].clamp(left, right))[None]
    down = (edges[1:].clamp(top, bottom) - edges[:-1].clamp(top, bottom))[:, None]
    torch.testing.assert_close(image, down * across, atol=0.06, rtol=0)
    once = render_smoothly(CpuRenderer(topology), vertices[None], white, camera, samples=1)[0, 0]
    torch.testing.assert_close(once, CpuRenderer(topology).render(vertices[None], white, camera).rgb[0, 0])


@pytest.mark.parametrize("scene_camera", [cameras_around(1, SIZE)[0], crossing_camera(SIZE)])
def test_culling_changes_nothing_on_a_closed_mesh_seen_from_outside(scene_camera: Camera) -> None:
    topology, mesh = ellipsoid(24, 24)
    texture = torch.rand(1, 3, 16, 16)
    both, front = (make_renderer(topology, cull=cull).render(mesh[None], texture, scene_camera) for cull in (0, 1))
    assert bool((both.mask > 0).any())
    assert torch.equal(both.index, front.index)
    assert torch.equal(both.rgb, front.rgb)
    inside_out = Topology(topology.faces[:, ::-1].copy(), topology.uv, topology.uv_faces[:, ::-1].copy(), len(mesh))
    back = make_renderer(inside_out, cull=True).render(mesh[None], texture, scene_camera)
    assert float((back.depth - front.depth).max()) > 10  # only its far side is left


def test_everything_nearer_than_the_near_plane_is_left_out() -> None:
    topology, mesh = ellipsoid(24, 24)
    camera = crossing_camera(SIZE)
    near = CpuRenderer(topology, near=60.0).render(mesh[None], torch.ones(1, 3, 4, 4), camera)
    assert float(near.depth[near.mask > 0].min()) >= 60
    every = CpuRenderer(topology, near=1.0).render(mesh[None], torch.ones(1, 3, 4, 4), camera)
    assert float(every.mask.mean()) == 1
    assert float(every.depth.min()) < 60


def test_results_do_not_depend_on_chance_threads_or_memory_layout() -> None:
    import numba

    topology, vertices, texture = scene(3, 1)
    cameras = cameras_around(3, SIZE)
    first = render_with_gradients(CpuRenderer(topology, silhouette=True), vertices, texture, cameras)
    again = render_with_gradients(CpuRenderer(topology, silhouette=True), vertices, texture, cameras)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        serial = render_with_gradients(CpuRenderer(topology, silhouette=True), vertices, texture, cameras)
    finally:
        numba.set_num_threads(threads)
    last = texture.to(memory_format=torch.channels_last)
    layout = render_with_gradients(CpuRenderer(topology, silhouette=True), vertices, last, cameras)
    for other in (again, serial, layout):
        assert torch.equal(first[0].rgb, other[0].rgb)
        assert torch.equal(first[1], other[1])
        assert torch.equal(first[2], other[2])


def test_two_threads_at_once_draw_what_one_draws() -> None:
    topology, vertices, texture = scene(3, 3)
    cameras = cameras_around(3, SIZE)
    renderer = CpuRenderer(topology)
    want = render_with_gradients(renderer, vertices, texture, cameras)
    wrong: list[int] = []
    finished: list[int] = []

    def work() -> None:
        for _ in range(15):
            output, vertices_grad, texture_grad = render_with_gradients(renderer, vertices, texture, cameras)
            same = torch.equal(output.rgb, want[0].rgb) and torch.equal(vertices_grad, want[1])
            if not (same and torch.equal(texture_grad, want[2])):
                wrong.append(1)
        finished.append(1)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert len(finished) == 2
    assert not wrong


def test_one_texture_or_camera_serves_all_meshes() -> None:
    topology, vertices, texture = scene(2, 1)
    camera = cameras_around(3, SIZE)[1]
    renderer = CpuRenderer(topology)
    shared, shared_vertices, shared_texture = render_with_gradients(renderer, vertices, texture, camera)
    own = render_with_gradients(renderer, vertices, texture.expand(2, -1, -1, -1), camera.expand(2))
    assert torch.equal(shared.rgb, own[0].rgb)
    assert relative(shared_vertices, own[1]) < 1e-6
    assert relative(shared_texture[0], own[2].sum(0)) < 1e-5


@pytest.mark.parametrize("silhouette", [False, True])
def test_broken_meshes_do_not_crash(silhouette: bool) -> None:
    topology, mesh = ellipsoid(12, 12)
    cameras = cameras_around(6, SIZE)
    vertices = mesh.repeat(6, 1, 1)
    vertices[0, 7], vertices[1, 8], vertices[2, 9] = float("nan"), float("inf"), 1e30
    vertices[3] = 0.0  # all in one point
    vertices[4] = vertices[4] @ torch.diag(torch.tensor([1.0, 1.0, 0.0]))  # flat
    vertices[5, :, 2] += 5000  # behind the camera
    renderer = CpuRenderer(topology, silhouette=silhouette)
    output, _, texture_grad = render_with_gradients(renderer, vertices, torch.rand(1, 3, 8, 8), cameras)
    assert bool(output.rgb.isfinite().all())
    assert bool(texture_grad.isfinite().all())
    assert float(output.mask[0].mean()) > 0.1  # the rest of the mesh is there
    assert float(output.mask[3].sum()) == 0
    assert float(output.mask[5].sum()) == 0


def test_triangles_at_the_camera_itself_do_not_crash() -> None:
    topology = Topology.checked([[0, 1, 2]], [[0, 0], [1, 0], [0, 1]], [[0, 1, 2]], 3)
    camera = flat_camera((8, 8))
    corners = torch.tensor([[[0.0, 0, 0], [50, 0, 10], [0, 50, 10]], [[0, 0, -5], [0, 0, 0], [0, 1, -1]]])
    output = CpuRenderer(topology).render(corners, torch.rand(1, 3, 4, 4), camera)
    assert bool(output.rgb.isfinite().all())
    assert float(output.mask[1].sum()) == 0


def test_any_texture_size_down_to_one_texel() -> None:
    topology, vertices, _ = scene(1, 1)
    for T in (1, 2, 3):
        texture = torch.full((1, 3, T, T), 0.25)
        output, _, grad = render_with_gradients(CpuRenderer(topology), vertices, texture, cameras_around(1, SIZE))
        assert torch.allclose(output.rgb, 0.25 * output.mask[:, None])
        assert bool(grad.isfinite().all())


@pytest.mark.parametrize("T", [1, 2, 7, 64, 1024])
def test_groups_of_triangles_keep_to_their_own_texture_rows(T: int) -> None:
    topology, _ = ellipsoid(40, 40)
    corner_uv = topology.uv[topology.uv_faces]
    order, starts = group_by_texture_rows(corner_uv, T)
    assert sorted(order.tolist()) == list(range(len(topology.faces)))
    groups = len(starts) - 2
    band = -(-T // groups)
    rows = np.clip(corner_uv[:, :, 1] * T - 0.5, 0, T - 1)
    for group in range(groups):
        members = rows[order[starts[group] : starts[group + 1]]]
        if len(members):
            assert members.min() >= group * band
            assert min(members.max() + 1, T - 1) < (group + 2) * band


def test_wrong_shapes_are_told_in_one_line() -> None:
    topology, vertices, texture = scene(2, 1)
    cameras = cameras_around(2, SIZE)
    renderer = make_renderer(topology)
    wrong = [
        (vertices[:, :-1], texture, cameras, "vertices"),
        (vertices[0], texture, cameras, "vertices"),
        (vertices, texture[0], cameras, "texture"),
        (vertices, texture[..., :-1], cameras, "texture"),
        (vertices, texture.expand(3, -1, -1, -1), cameras, "texture"),
        (vertices, texture, cameras_around(3, SIZE), "cameras"),
        (vertices, texture, Camera(cameras.K, cameras.R, cameras.t[0], SIZE), "cameras"),
        (vertices, texture, Camera(cameras.K, cameras.R, cameras.t, (0, 4)), "pixel"),
        (vertices[:0], texture, cameras[0], "mesh"),
    ]
    for v, t, c, word in wrong:
        with pytest.raises(InputError, match=word):
            renderer.render(v, t, c)


def test_warm_up_runs_beside_rendering_and_the_backend_has_a_name() -> None:
    thread = threading.Thread(target=warm_up)
    thread.start()
    topology, vertices, texture = scene(1, 1)
    make_renderer(topology).render(vertices, texture, cameras_around(1, SIZE))
    thread.join(timeout=120)
    assert not thread.is_alive()
    assert "numba" in renderer_name("cpu")
    assert "workqueue" not in renderer_name("cpu")
