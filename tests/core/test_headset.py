"""Headset views: where the cameras look, what they see, and that equal generators make equal images."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lipflow.capture import HeadsetAugmentation, MultifaceCapture, hmc_images, keypoint_camera, open_capture
from lipflow.capture.headset import (
    Headset,
    TexelMap,
    augmented,
    headset_cameras,
    hmc_tone,
    mean_head_pose,
    slopped,
    without_highlights,
)
from lipflow.capture.synthetic.head import HeadRig
from lipflow.capture.synthetic.identity import make_identity
from lipflow.checks import InputError
from support.tiny_capture import write_tiny_capture

SIZE = (60, 80)


@pytest.fixture(scope="module")
def capture(tiny_capture_dir: Path) -> MultifaceCapture:
    return open_capture(tiny_capture_dir)


@pytest.fixture(scope="module")
def headset(capture: MultifaceCapture) -> Headset:
    return Headset(capture, size=SIZE)


@pytest.mark.parametrize("with_landmarks", [True, False])
def test_each_camera_sees_its_region_and_not_the_others(capture: MultifaceCapture, with_landmarks: bool) -> None:
    mean = capture.statistics.vertex_mean
    marks = capture.landmarks if with_landmarks else None
    cameras = headset_cameras(mean, marks, SIZE)
    if marks is not None:
        lids = mean[marks.index[list(marks.groups["lids"])]]
        mouth = mean[marks.index[list(marks.groups["lips"])]].mean(0)
        left, right = (lids[side * lids[:, 0] > 0].mean(0) for side in (1, -1))
    else:  # where they are on a head with such a nose
        mouth, left, right = np.array([[0, -34, 87], [32, 28, 77], [-32, 28, 77]])
    regions = torch.tensor(np.stack([mouth, left, right]), dtype=torch.float32)
    for k, camera in enumerate(cameras[i] for i in range(3)):
        column, row, depth = camera.project(regions).unbind(-1)
        inside = (depth > 0) & (column > 0) & (column < SIZE[1] - 1) & (row > 0) & (row < SIZE[0] - 1)
        assert inside.nonzero().flatten().tolist() == [k]
    assert cameras.centre[0, 1] < mouth[1] - 20  # from below
    assert cameras.centre[1, 0] > left[0] + 20  # from the wearer's left temple
    torch.testing.assert_close(cameras.centre[1] * torch.tensor([-1.0, 1, 1]), cameras.centre[2], atol=3.0, rtol=0)


@pytest.mark.parametrize("with_landmarks", [True, False])
def test_no_eye_is_in_the_picture_of_the_mouth(with_landmarks: bool) -> None:
    rig = HeadRig.load()
    for seed in range(4):
        vertices = rig.neutral(make_identity(seed)).vertices
        marks = rig.landmarks
        lids = torch.from_numpy(vertices[np.r_[rig.loops["lid_left"], rig.loops["lid_right"]]])
        camera = headset_cameras(vertices, marks if with_landmarks else None)[0:1]
        assert (camera.project(lids)[0, :, 1] < -0.5).all()  # above the picture, and so is what shows between them
        lips = torch.from_numpy(vertices[marks.index[list(marks.groups["lips"])]])
        row = camera.project(lips)[0, :, 1]
        assert (20 if with_landmarks else 5) < row.min() < row.max() < 160  # and the lips are, with room for the jaw


def test_a_highlight_that_few_views_have_does_not_reach_the_headset(
    capture: MultifaceCapture, headset: Headset
) -> None:
    """Bright spots in two of the four views, one of them the most alike; and a dark spot in one darkens nothing."""
    frame = capture.frame(capture.frames[0], photos=(), textures=headset.needed_textures(capture.frames[0]))
    size = capture.texture_size
    assert len(frame.textures) == 4
    towards = torch.from_numpy(capture.statistics.vertex_mean)
    front = torch.nn.functional.interpolate(TexelMap(capture.topology, size).normals(towards)[None], (size, size))[0, 2]
    spot = (front > 0.9).numpy()  # where all four views look
    seen = np.all([(texture > 0).any(0) for texture in frame.textures.values()], axis=0)
    spot &= seen
    assert spot.sum() > 10
    plain = headset.blend(frame)

    def spotted(*names: str, value: int) -> torch.Tensor:
        textures = {
            name: np.where(spot & (name in names), np.uint8(value), texture) for name, texture in frame.textures.items()
        }
        return headset.blend(replace(frame, textures=textures))

    where = torch.from_numpy(spot)
    views = np.stack([texture[:, spot] / 255 for texture in frame.textures.values()])
    for names in (("400003",), ("400003", "400004")):
        inside = spotted(*names, value=255)[1, :, where].numpy()
        assert (inside > views.min(0) - 0.01).all()
        assert (inside < views.max(0) + 0.01).all()  # nothing of the spots
    darkened = spotted("400001", value=1)[1, :, where] / plain[1, :, where]
    assert darkened.min() > 0.85
    everywhere = spotted(*frame.textures, value=255)[:, :, where]
    torch.testing.assert_close(everywhere, torch.ones_like(everywhere), atol=1e-3, rtol=0)


def test_highlights_are_judged_by_the_views_that_see_a_texel_well() -> None:
    faced = torch.tensor([[0.9, 0.9, 0.9, 0.9], [0.8, 0.8, 0.8, 0.0], [0.7, 0.7, 0.7, 0.0], [0.6, 0.6, 0.01, 0.0]])
    tones = torch.tensor([[200.0, 50, 60, 90], [55.0, 50, 61, 10], [50.0, 52, 200, 10], [52.0, 5, 5, 10]])
    kept = without_highlights(tones[..., None], faced[..., None])[..., 0]
    assert kept[0, 0] < 1e-4
    assert (kept[1:, 0] > 0.3).all()
    assert (kept[:, 1] == 1).all()  # one that is too dark is no measure
    assert (kept[[0, 1], 2] == 1).all()
    assert kept[2, 2] < 1e-4
    assert kept[0, 3] == 1  # nobody else sees it


def test_images_are_the_blended_textures_seen_by_the_cameras(capture: MultifaceCapture, headset: Headset) -> None:
    hmc, cameras, mask = headset.images(capture.frames[0])
    assert hmc.shape == mask.shape == (3, *SIZE)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert (hmc[mask == 0] == 0).all()
    assert (mask.mean(dim=(1, 2)) > 0.4).all()
    assert hmc[mask == 1].min() > 0.05
    assert len(cameras) == 3
    again = hmc_images(capture, capture.frames[0], size=SIZE)
    torch.testing.assert_close(again.hmc, hmc)


def test_views_alike_are_preferred(headset: Headset) -> None:
    """The dome's cameras: frontal, both obliques (400002 at -x), and one below."""
    mouth, left, right = headset.dome_cameras
    assert mouth[0] == "400004"
    assert left[0] == "400003"
    assert right[0] == "400002"


def test_an_open_mouth_shows_in_the_mouth_view_alone(capture: MultifaceCapture, headset: Headset) -> None:
    neutral = headset.images(next(id for id in capture.frames if id.segment == "E001_Neutral")).hmc
    jaws = [id for id in capture.frames if id.segment == "E004_Jaw"]
    jaw = headset.images(min(jaws, key=lambda id: float(capture.vertices(id)[:, 1].min()))).hmc
    change = (neutral - jaw).abs().mean(dim=(1, 2))
    assert change[0] > 2 * change[1:].max()


def test_without_textures_by_view_the_average_serves(tmp_path: Path) -> None:
    root = write_tiny_capture(tmp_path, frames=6)
    for folder in root.glob("unwrapped_uv_1024/*/400*"):
        shutil.rmtree(folder)
    capture = open_capture(root)
    hmc, _, mask = hmc_images(capture, capture.frames[0], size=SIZE)
    assert hmc[mask == 1].min() > 0.05


def test_equal_generators_make_equal_images(capture: MultifaceCapture, headset: Headset) -> None:
    id, augmentation = capture.frames[3], HeadsetAugmentation()

    def make(seed: int) -> torch.Tensor:
        return headset.images(id, augmentation, torch.Generator().manual_seed(seed)).hmc

    assert torch.equal(make(1), make(1))
    assert not torch.equal(make(1), make(2))


def test_no_augmentation_changes_nothing(capture: MultifaceCapture, headset: Headset) -> None:
    plain = headset.images(capture.frames[3])
    none = headset.images(capture.frames[3], HeadsetAugmentation(0.0, 0.0, 0.0), torch.Generator().manual_seed(0))
    torch.testing.assert_close(none.hmc, plain.hmc, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(none.cameras.t, plain.cameras.t)


def test_each_augmentation_does_its_own_part(capture: MultifaceCapture, headset: Headset) -> None:
    id, nothing = capture.frames[3], HeadsetAugmentation(0.0, 0.0, 0.0)
    plain = headset.images(id)

    def make(**amounts: float):
        return headset.images(id, replace(nothing, **amounts), torch.Generator().manual_seed(5))

    lit, behind, moved = make(lighting=1.0), make(background=1.0), make(slop=1.0)
    inside = plain.mask == 1
    assert (lit.hmc[~inside] == 0).all()
    assert (lit.hmc - plain.hmc)[inside].abs().mean() > 0.02
    torch.testing.assert_close(behind.hmc[inside], plain.hmc[inside], atol=1e-5, rtol=1e-5)
    assert behind.hmc[~inside].mean() > 0.01
    assert (moved.mask != plain.mask).any()
    assert torch.equal(lit.mask, plain.mask)


def test_slop_moves_the_cameras_as_one_body(headset: Headset) -> None:
    """Their mutual places and orientations stay; each moves by a few degrees and millimetres."""
    for seed in range(20):
        moved = slopped(headset.cameras, HeadsetAugmentation(), torch.Generator().manual_seed(seed))
        torch.testing.assert_close(
            torch.cdist(moved.centre, moved.centre), torch.cdist(headset.cameras.centre, headset.cameras.centre)
        )
        turns = headset.cameras.R.transpose(1, 2) @ moved.R
        torch.testing.assert_close(turns[0].expand(3, 3, 3), turns, atol=1e-5, rtol=0)
        angle = torch.rad2deg(torch.arccos(((turns[0].trace() - 1) / 2).clamp(-1, 1)))
        assert angle < 3.1
        assert (moved.centre.mean(0) - headset.cameras.centre.mean(0)).norm() < 3.1


def test_augmented_batches_stay_in_range() -> None:
    hmc, mask = torch.rand(4, 3, 30, 40), (torch.rand(4, 3, 30, 40) > 0.5).float()
    out = augmented(hmc, mask, HeadsetAugmentation(3.0, 3.0, 0.0), torch.Generator().manual_seed(0))
    assert 0 <= out.min() <= out.max() <= 1
    assert out[mask == 0].std() > 0.05
    with pytest.raises(InputError, match="mask: expected"):
        augmented(hmc, mask[:, :2], HeadsetAugmentation())


def test_the_tone_is_the_root_of_the_mean_and_has_gradients_in_the_dark() -> None:
    rgb = torch.rand(2, 3, 4, 5, requires_grad=True)
    torch.testing.assert_close(hmc_tone(rgb), rgb.mean(1).sqrt())
    dark = torch.zeros(1, 3, 2, 2, requires_grad=True)
    hmc_tone(dark).sum().backward()
    assert dark.grad is not None
    assert dark.grad.isfinite().all()


def test_the_keypoint_camera_is_the_frontal_one(capture: MultifaceCapture) -> None:
    camera = keypoint_camera(capture)
    expected = capture.cameras["400001"].in_head_frame(mean_head_pose(capture))
    torch.testing.assert_close(camera.t, expected.t)
    assert camera.view[2] > 0.99


def test_without_a_frontal_camera_a_virtual_one_frames_the_head(tmp_path: Path) -> None:
    root = write_tiny_capture(tmp_path, frames=6)
    blocks = (root / "KRT").read_text().split("\n\n")
    (root / "KRT").write_text("\n\n".join(block for block in blocks if not block.startswith(("400001", "400004"))))
    capture = open_capture(root)
    camera = keypoint_camera(capture)
    assert camera.size == capture.photo_size
    points = camera.project_normalised(torch.from_numpy(capture.statistics.vertex_mean))
    assert 0 < points.min() < points.max() < 1
    assert (points.amax(0) - points.amin(0)).max() > 0.6


def test_the_mean_pose_is_a_pose(capture: MultifaceCapture) -> None:
    pose = mean_head_pose(capture)
    torch.testing.assert_close(pose[:, :3] @ pose[:, :3].T, torch.eye(3), atol=1e-5, rtol=0)
    assert torch.linalg.det(pose[:, :3]) > 0
    poses = torch.stack([capture.head_pose(id) for id in capture.frames])
    assert (pose - poses).abs().amax(0).max() < 10


def test_a_pose_that_cannot_be_read_is_left_out_of_the_mean(tmp_path: Path) -> None:
    root = write_tiny_capture(tmp_path, frames=6)
    capture = open_capture(root)
    poses = [root / "tracked_mesh" / id.segment / f"{id.number:06d}_transform.txt" for id in capture.frames]
    poses[2].write_text("1 0 0")
    others = [capture.head_pose(id)[:, 3] for k, id in enumerate(capture.frames) if k != 2]
    torch.testing.assert_close(mean_head_pose(capture)[:, 3], torch.stack(others).mean(0))
    for pose in poses:
        pose.write_text("1 0 0")
    with pytest.raises(InputError, match=f"pose {poses[0]}"):
        mean_head_pose(capture)


def test_normals_over_the_texture_point_outwards(capture: MultifaceCapture) -> None:
    """Against the ellipsoid's analytic normals, away from the nose."""
    size = 32
    texels = TexelMap(capture.topology, size)
    x, y, z = 72.0, 110.0, 88.0
    mean = torch.from_numpy(capture.statistics.vertex_mean)
    normals = texels.normals(mean)
    torch.testing.assert_close(normals.norm(dim=0), torch.ones(size, size))
    split = capture.topology.split
    back = mean[split.vertex][:, 2] < -30
    outwards = torch.nn.functional.normalize(mean[split.vertex] / torch.tensor([x, y, z]) ** 2, dim=-1)
    column = torch.from_numpy(split.uv[:, 0] * size - 0.5).round().long().clamp(0, size - 1)
    row = torch.from_numpy((1 - split.uv[:, 1]) * size - 0.5).round().long().clamp(0, size - 1)
    alike = (normals[:, row, column].T * outwards).sum(-1)[back]
    assert alike.quantile(0.1) > 0.9
    assert alike.mean() > 0.96


@pytest.mark.real
def test_headset_views_of_the_real_frame(real_capture_dir: Path) -> None:
    capture = open_capture(real_capture_dir)
    hmc, _, mask = hmc_images(capture, capture.frames[0])
    assert (mask.mean(dim=(1, 2)) > 0.8).all()
    for view in hmc.numpy():
        assert np.std(view[view > 0]) > 0.02
