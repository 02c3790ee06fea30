"""The dome: its recording has the whole layout, is the same again, and goes on where it was stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image

from lipflow.camera import Camera
from lipflow.capture.multiface import open_capture
from lipflow.capture.synthetic.dome import SynthesisConfig, SynthesisProgress, dome_cameras, synthesize
from lipflow.capture.synthetic.expressions import SEGMENTS
from lipflow.capture.synthetic.head import HeadRig
from lipflow.capture.synthetic.identity import make_identity
from lipflow.capture.synthetic.performance import perform, share_out
from lipflow.checks import InputError
from lipflow.rendering import make_renderer

CONFIG = SynthesisConfig(subject=0, frames=4, cameras=3, size=(48, 32), texture=32)


def record(out: Path, config: SynthesisConfig = CONFIG, workers: int | None = None) -> list[SynthesisProgress]:
    return list(synthesize(out, config, workers=workers))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dome") / "capture"
    record(out)
    return out


def test_the_layout_is_complete(recording: Path) -> None:
    files = bytes_of(recording)
    frames = [line.split() for line in files["frame_list.txt"].decode().splitlines()]
    wanted = {
        "KRT", "frame_list.txt", "tex_mean.png", "tex_var.txt", "vert_mean.bin", "vert_var.txt", "landmarks.json",
        "split.json", "synthesis.json", "face_topology.obj",
    }  # fmt: skip
    for segment, number in frames:
        wanted |= {f"tracked_mesh/{segment}/{number}.bin", f"tracked_mesh/{segment}/{number}_transform.txt"}
        wanted.add(f"unwrapped_uv_1024/{segment}/average/{number}.png")
        for camera in ("dome_00", "dome_01", "dome_02"):
            wanted |= {f"{kind}/{segment}/{camera}/{number}.png" for kind in ("images", "masks", "unwrapped_uv_1024")}
    assert set(files) == wanted
    assert len(frames) == CONFIG.frames
    lines = files["KRT"].decode().split("\n")
    assert lines[0] == "dome_00"
    assert lines[8] == ""
    assert lines[9] == "dome_01"


def test_the_loader_reads_it(recording: Path) -> None:
    capture = open_capture(recording)
    assert capture.missing == []
    assert len(capture.frames) == CONFIG.frames
    assert capture.photo_size == CONFIG.size
    assert capture.texture_size == CONFIG.texture
    assert capture.landmarks is not None
    assert len(capture.landmarks.ids) == 136
    assert all(capture.split[part] for part in ("train", "val", "test"))
    covered = capture.statistics.texture_valid
    texture = capture.texture(capture.frames[0], "dome_01")
    assert_array_equal((texture > 0).all(0).numpy(), covered)


def test_the_photo_is_the_mesh_with_its_texture_under_its_camera(recording: Path) -> None:
    capture = open_capture(recording)
    id = capture.split["test"][0]
    renderer = make_renderer(capture.topology)
    for name in capture.cameras:
        camera = capture.camera(id, name)
        double = Camera.stack([camera.resized((2 * CONFIG.size[0], 2 * CONFIG.size[1]))])
        seen = renderer.render(capture.vertices(id)[None], capture.texture(id, name)[None], double)
        rgb = torch.nn.functional.avg_pool2d(seen.rgb, 2)[0]
        assert (rgb - capture.photo(id, name)).abs().max() < 2.5 / 255
        mask = capture.mask(id, name)
        assert mask is not None
        assert 0.2 < float(mask.mean()) < 0.8
        edge = torch.cat([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert float(edge.mean()) < 0.2  # the head is in the picture


def test_the_same_config_gives_the_same_bytes(recording: Path, tmp_path: Path) -> None:
    record(tmp_path / "again", workers=1)
    assert bytes_of(tmp_path / "again") == bytes_of(recording)


def test_a_stopped_recording_goes_on_to_the_same_bytes(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    running = synthesize(out, CONFIG, workers=1)
    for progress in running:
        if progress.stage == "frames" and progress.done == 1:
            break
    running.close()
    assert not (out / "tex_mean.png").exists()
    done = record(out)
    assert done[-1].found >= 1
    assert bytes_of(out) == bytes_of(recording)
    for pattern in ("images/*/dome_01/*.png", "tracked_mesh/*/*.bin", "unwrapped_uv_1024/*/average/*.png"):
        sorted(out.glob(pattern))[-1].unlink()
    (out / "vert_mean.bin").unlink()
    (out / "images" / ".000001.png.4711").write_bytes(b"half a fi")
    assert record(out)[-1].stage == "done"
    assert bytes_of(out) == bytes_of(recording)


def test_views_differ_and_their_mean_is_the_average(recording: Path) -> None:
    capture = open_capture(recording)
    id = capture.frames[0]
    views = torch.stack([capture.texture(id, name) for name in capture.cameras])
    assert (views[0] - views[1]).abs().max() > 4 / 255
    assert (views.mean(0) - capture.average_texture(id)).abs().max() < 1.5 / 255


def test_another_config_in_the_same_folder_is_refused(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="recording of another one"):
        record(recording, replace(CONFIG, subject=1))
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="empty folder"):
        record(tmp_path)
    for wrong in ({"frames": 0}, {"cameras": 0}, {"texture": 8}, {"size": (4, 4)}, {"subject": -1}):
        with pytest.raises(InputError, match="synthesis"):
            record(tmp_path / "new", replace(CONFIG, **wrong))


def test_the_split_holds_out_whole_segments(recording: Path) -> None:
    split = json.loads((recording / "split.json").read_text())["full"]
    parts = [set(split[part]) for part in ("train", "val", "test")]
    assert sum(len(part) for part in parts) == len(set.union(*parts))
    assert set(split["test"]) <= {segment.name for segment in SEGMENTS if segment.part == "test"}
    listed = {line.split()[0] for line in (recording / "frame_list.txt").read_text().splitlines()}
    assert set.union(*parts) == listed


def test_texture_files_hold_linear_values_with_v_1_above(recording: Path) -> None:
    capture = open_capture(recording)
    id = capture.frames[0]
    file = recording / "unwrapped_uv_1024" / id.segment / "average" / f"{id.number:06d}.png"
    stored = np.moveaxis(np.asarray(Image.open(file)), -1, 0)
    assert_array_equal(stored, (capture.average_texture(id) * 255).round().byte().numpy())


def test_frames_are_shared_out_over_all_parts() -> None:
    part = np.array([segment.part for segment in SEGMENTS])
    for frames in (3, 7, 26, 27, 100, 1500):
        counts = np.array(share_out(frames))
        assert counts.sum() == frames
        assert counts.min() >= 0
        assert all(counts[part == name].sum() for name in ("train", "val", "test"))
    assert np.array(share_out(100)).min() >= 1
    assert sum(share_out(1)) == 1


def test_the_performance_is_smooth_and_fixed_by_its_seed() -> None:
    one, again, other = perform(300, 1), perform(300, 1), perform(300, 2)
    for a, b in zip(one, again):
        assert_array_equal(a.expression.units, b.expression.units)
        assert_array_equal(a.head_pose, b.head_pose)
        assert a.mood == b.mood
    assert any((a.expression.units != b.expression.units).any() for a, b in zip(one, other))
    dense = [m for m in perform(8000, 1) if m.segment == "EXP_smile"]
    units = np.stack([m.expression.units for m in dense])
    assert np.abs(np.diff(units, axis=0)).max() < 0.35  # even a blink is spread over frames
    assert units.max() > 0.6
    numbers = [m.number for m in dense]
    assert len(set(numbers)) == len(numbers)
    assert numbers == sorted(numbers)


def test_head_poses_are_small_rotations() -> None:
    poses = np.stack([m.head_pose for m in perform(200, 0)])
    R = poses[:, :, :3]
    np.testing.assert_allclose(R @ R.transpose(0, 2, 1), np.broadcast_to(np.eye(3), R.shape), atol=1e-5)
    angle = np.degrees(np.arccos(np.clip((np.trace(R, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert 1 < angle.max() < 15
    assert np.abs(poses[:, :, 3]).max() < 15


def test_the_hidden_part_follows_the_seen_part_only_loosely() -> None:
    moments = perform(1200, 0)
    units = np.stack([m.expression.units for m in moments])
    hidden = np.column_stack(
        [
            np.stack([m.expression.hidden for m in moments]),
            [m.mood.flush_cheeks for m in moments],
            [m.mood.tone for m in moments],
            [m.expression.gaze[0] for m in moments],
            [m.expression.tongue[1] for m in moments],
        ]
    )
    design = np.column_stack([units, np.ones(len(units))])
    explained = design @ np.linalg.lstsq(design, hidden, rcond=None)[0]
    share = 1 - ((hidden - explained) ** 2).sum(0) / ((hidden - hidden.mean(0)) ** 2).sum(0)
    assert share.max() < 0.75
    assert share[[0, 3]].min() > 0.05  # the masseter and the flush do follow a little


def test_the_hidden_mesh_factors_leave_the_landmarks_where_they_are() -> None:
    from lipflow.capture.synthetic.head import Expression

    rig = HeadRig.load()
    neutral = rig.neutral(make_identity(0))
    rest = rig.pose(neutral, Expression())
    moved = rig.pose(neutral, Expression(tongue=(0.8, 0.6), hidden=np.array([1, 1, 1], np.float32)))
    change = np.linalg.norm(moved - rest, axis=1)
    assert change.max() > 2
    assert change[rig.landmarks.index].mean() < 0.35


def test_dome_cameras_see_the_whole_head_from_the_front_240_degrees() -> None:
    vertices = HeadRig.load().neutral(make_identity(0)).vertices
    for count in (1, 2, 12):
        cameras = dome_cameras(count, (96, 64), vertices)
        assert len(cameras) == count
        for camera in cameras.values():
            pixels = camera.project(torch.from_numpy(vertices))[:, :2]
            assert pixels.min() >= 0
            assert (pixels.max(0).values < torch.tensor([64.0, 96.0])).all()
            azimuth = torch.rad2deg(torch.atan2(camera.centre[0], camera.centre[2] - vertices[:, 2].mean()))
            assert abs(float(azimuth)) < 125
