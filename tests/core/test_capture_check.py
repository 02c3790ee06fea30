"""The check of a capture: it passes what fits together and says what does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lipflow.capture import check_capture, images, open_capture
from lipflow.capture.check import match
from lipflow.checks import InputError
from lipflow.cli import main
from support.tiny_capture import write_tiny_capture


@pytest.fixture(scope="module")
def clear_capture_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos large enough that silhouettes are not all boundary."""
    return write_tiny_capture(tmp_path_factory.mktemp("clear"), frames=6, texture=64, photo=(144, 96))


def test_a_capture_that_fits_together_has_no_problems(clear_capture_dir: Path, tmp_path: Path) -> None:
    report = check_capture(clear_capture_dir, tmp_path / "report")
    assert report.problems == ()
    assert report.missing == ()
    assert len({view.camera for view in report.views}) == 4
    for view in report.views:
        assert view.inside == 1
        assert view.overlap is not None
        assert view.overlap > 0.95
        assert view.psnr > 27
        assert all(0.9 < gain < 1.2 for gain in view.gain)
        assert view.overlay is not None
        assert images.image_size(view.overlay) == (144, 96)
        assert view.comparison is not None
        assert images.image_size(view.comparison) == (144, 3 * 96)
        photo = open_capture(clear_capture_dir).photo(*_parts(view.frame), view.camera).sqrt() * 0.6
        drawn = torch.from_numpy(images.read_rgb(view.overlay)).float() / 255
        changed = ((drawn - photo).abs() > 0.1).any(dim=0)
        assert 0.05 < changed.float().mean() < 0.9
    stored = json.loads((tmp_path / "report" / "report.json").read_text())
    assert stored["views"][0]["psnr"] == report.views[0].psnr
    assert f"{report.views[0].psnr:.2f} dB" in "\n".join(report.lines())


def _parts(frame: str):
    from lipflow.capture import FrameId

    segment, number = frame.split("/")
    return (FrameId(segment, int(number)),)


def test_it_writes_nothing_unless_asked(clear_capture_dir: Path) -> None:
    before = sorted(clear_capture_dir.rglob("*"))
    report = check_capture(clear_capture_dir, views=1)
    assert len(report.views) == 1
    assert report.views[0].overlay is None
    assert sorted(clear_capture_dir.rglob("*")) == before


@pytest.fixture
def damaged(clear_capture_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clear_capture_dir, tmp_path / "capture"))


def test_meshes_in_metres_are_noticed(damaged: Path) -> None:
    for file in [*damaged.glob("tracked_mesh/*/*.bin")]:
        (np.fromfile(file, "<f4") / 1000).astype("<f4").tofile(file)
    report = check_capture(damaged, views=2)
    assert len(report.problems) == 2
    assert "silhouette and mask overlap" in report.problems[0]


def test_a_pose_the_wrong_way_round_is_noticed(damaged: Path) -> None:
    for file in damaged.glob("tracked_mesh/*/*_transform.txt"):
        pose = np.loadtxt(file)
        pose[:, 3] = -pose[:, 3] + [0, 150, 0]
        np.savetxt(file, pose)
    report = check_capture(damaged, views=2)
    assert len(report.problems) == 2
    assert any(word in report.problems[0] for word in ("head -> world", "overlap"))


def test_a_texture_upside_down_is_noticed_without_masks(damaged: Path) -> None:
    """A real download has no masks: the colours alone must show it."""
    shutil.rmtree(damaged / "masks")
    good = check_capture(damaged, views=2)
    for file in damaged.glob("unwrapped_uv_1024/*/average/*.png"):
        images.write_image(file, images.read_rgb(file)[:, ::-1])
    bad = check_capture(damaged, views=2)
    for before, after in zip(good.views, bad.views):
        assert before.overlap is None
        assert after.psnr < before.psnr - 6


def test_damaged_and_missing_files_are_named(damaged: Path) -> None:
    file = next(damaged.glob("images/E001_Neutral/400001/*.png"))
    file.write_bytes(file.read_bytes()[:100])
    (damaged / "vert_var.txt").write_text("none")
    gone = next(damaged.glob("images/EXP_ROM/400003/*.png"))
    gone.unlink()
    report = check_capture(damaged, views=1)
    assert report.views == ()
    assert str(file) in report.problems[0]
    assert "vert_var.txt" in report.problems[1]
    assert str(gone.relative_to(damaged).parent) in report.missing[0]
    text = "\n".join(report.lines())
    assert "PROBLEM" in text
    assert report.missing[0] in text
    with pytest.raises(InputError, match="no such folder"):
        check_capture(damaged / "nowhere")


DAMAGES = {  # of one file each, far from the photos that are looked at
    "a pose in words": ("tracked_mesh/*/*_transform.txt", lambda file: file.write_text("1 0 0 0\n0 one")),
    "a mesh with NaN": ("tracked_mesh/*/*.bin", lambda file: _nan(file)),
    "a short mesh": ("tracked_mesh/*/*.bin", lambda file: file.write_bytes(file.read_bytes()[:-12])),
    "half a photo": ("images/*/*/*.png", lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])),
    "a small photo": ("images/*/*/*.png", lambda file: images.write_image(file, images.read_rgb(file)[:, ::2])),
    "a deep mask": ("masks/*/*/*.png", lambda file: Image.fromarray(np.zeros((144, 96), np.uint16)).save(file)),
    "an empty texture": ("unwrapped_uv_1024/*/4*/*.png", lambda file: file.write_bytes(b"")),
}


def _nan(file: Path) -> None:
    mesh = np.fromfile(file, "<f4")
    mesh[7] = np.nan
    mesh.tofile(file)


@pytest.mark.parametrize("kind", DAMAGES)
def test_one_damaged_file_anywhere_is_found(damaged: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    pattern, harm = DAMAGES[kind]
    file = sorted(damaged.glob(pattern))[1]
    harm(file)
    report = check_capture(damaged, views=1)
    assert len(report.damaged) == 1
    assert str(file) in report.damaged[0]
    assert report.problems == report.damaged
    assert "damaged: 1" in "\n".join(report.lines())


def test_many_damaged_files_are_counted_and_the_first_named(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poses = sorted(damaged.glob("tracked_mesh/*/*_transform.txt"))
    for file in poses:
        file.write_text("")
    report = check_capture(damaged, views=1)
    assert len(report.damaged) == len(poses) == 6
    assert report.problems[-1] == "1 more files are damaged"
    assert len(report.problems) == 6
    assert main(["capture", "check", str(damaged)]) == 2
    assert str(poses[0]) in capsys.readouterr().err


def test_a_picture_that_reads_well_is_not_damaged(damaged: Path) -> None:
    """Whatever its format, and whatever follows it."""
    first, second = sorted(damaged.glob("images/*/*/*.png"))[:2]
    Image.open(first).save(first, format="BMP")
    second.write_bytes(second.read_bytes() + b"more")
    assert check_capture(damaged, views=1).damaged == ()


def test_a_gain_is_found_and_a_perfect_match_is_infinite_in_practice() -> None:
    rendered = torch.rand(3, 8, 8) * 0.5
    gain = torch.tensor([0.5, 1.0, 1.5])
    found, psnr = match(rendered, rendered * gain[:, None, None], torch.ones(8, 8, dtype=torch.bool))
    torch.testing.assert_close(found, gain)
    assert psnr > 90
    assert match(rendered, rendered, torch.zeros(8, 8, dtype=torch.bool))[1] == 0


@pytest.mark.real
def test_the_real_frame_fits_its_photo(real_capture_dir: Path, tmp_path: Path) -> None:
    report = check_capture(real_capture_dir, tmp_path)
    (view,) = report.views
    assert report.problems == ()
    assert view.inside > 0.95
    assert view.psnr > 29.5
    assert all(0.9 < gain < 1.2 for gain in view.gain)
    assert "unwrapped_uv_1024/*/*/" in report.missing
