"""The one camera convention, held against hand-computed values and autograd."""

import pytest
import torch

from lipflow.camera import Camera
from lipflow.checks import InputError


def make_camera(dtype=torch.float32) -> Camera:
    camera = Camera.look_at((30.0, 20.0, 900.0), (0.0, 0.0, 0.0), focal=700.0, size=(240, 320))
    return Camera(camera.K.to(dtype), camera.R.to(dtype), camera.t.to(dtype), camera.size)


def test_a_frontal_camera_sees_x_to_the_right_and_y_up():
    camera = Camera.look_at((0.0, 0.0, 1000.0), (0.0, 0.0, 0.0), focal=1000.0, size=(101, 201))
    pixels = camera.project(torch.tensor([[0.0, 0, 0], [10.0, 0, 0], [0, 10.0, 0], [0, 0, 500.0]]))
    torch.testing.assert_close(pixels[0], torch.tensor([100.0, 50.0, 1000.0]))
    torch.testing.assert_close(pixels[1], torch.tensor([110.0, 50.0, 1000.0]))
    torch.testing.assert_close(pixels[2], torch.tensor([100.0, 40.0, 1000.0]))
    assert pixels[3, 2] == 500.0


def test_centre_and_view_come_back_from_look_at():
    camera = make_camera()
    torch.testing.assert_close(camera.centre, torch.tensor([30.0, 20.0, 900.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(camera.view, torch.nn.functional.normalize(torch.tensor([30.0, 20.0, 900.0]), dim=0))


def test_rotation_is_proper():
    R = make_camera().R
    torch.testing.assert_close(R @ R.T, torch.eye(3), atol=1e-6, rtol=0)
    assert torch.linalg.det(R) > 0.999


def test_resizing_keeps_the_image_corners():
    camera = make_camera()
    points = torch.randn(20, 3) * 60
    half = camera.resized((120, 160))
    # A corner-anchored scale by one half: p' + 0.5 = (p + 0.5) / 2
    torch.testing.assert_close(
        half.project(points)[:, :2] + 0.5, (camera.project(points)[:, :2] + 0.5) / 2, atol=1e-3, rtol=1e-5
    )


def test_head_frame_camera_sees_head_points_as_the_world_camera_sees_world_points():
    camera = make_camera()
    angle = torch.tensor(0.3)
    R = torch.tensor([[angle.cos(), 0, angle.sin()], [0, 1, 0], [-angle.sin(), 0, angle.cos()]])
    pose = torch.cat([R, torch.tensor([[5.0], [-8.0], [12.0]])], dim=1)
    points = torch.randn(10, 3) * 50
    world = points @ R.T + pose[:, 3]
    torch.testing.assert_close(camera.in_head_frame(pose).project(points), camera.project(world), atol=1e-3, rtol=1e-5)


def test_batches_agree_with_single_cameras():
    one, two = make_camera(), Camera.look_at((-400.0, 0, 600.0), (0.0, 10, 0), focal=500.0, size=(240, 320))
    batch = Camera.stack([one, two])
    points = torch.randn(2, 7, 3) * 40
    both = batch.project(points)
    torch.testing.assert_close(both[0], one.project(points[0]))
    torch.testing.assert_close(both[1], two.project(points[1]))
    torch.testing.assert_close(batch[1].project(points[1]), both[1])
    assert len(batch) == 2


def test_cameras_of_two_sizes_do_not_stack():
    with pytest.raises(InputError, match="one image size"):
        Camera.stack([make_camera(), make_camera().resized((10, 20))])


def test_projection_gradient():
    camera = make_camera(torch.float64)
    points = (torch.randn(6, 3, dtype=torch.float64) * 50).requires_grad_()
    assert torch.autograd.gradcheck(camera.project, points)
    assert torch.autograd.gradcheck(camera.project_normalised, points)


def test_points_on_the_camera_plane_stay_finite():
    camera = Camera.look_at((0.0, 0.0, 100.0), (0.0, 0.0, 0.0), focal=100.0, size=(10, 10))
    assert torch.isfinite(camera.project(torch.tensor([[3.0, 4.0, 100.0]]))).all()
