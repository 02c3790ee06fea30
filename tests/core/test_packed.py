"""Packs: the same pictures as the capture's at another size, whole or absent, resumable, reused."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from lipflow.capture import HeadsetAugmentation, MultifaceCapture, PackedCapture, hmc_images, images, open_capture, pack
from lipflow.capture.base import FrameId
from lipflow.capture.packing import PackProgress
from lipflow.checks import InputError
from support.tiny_capture import write_tiny_capture

SMALL = {"texture": 16, "photo": (24, 16), "hmc": (30, 40)}


def run(steps: Iterator[PackProgress]) -> PackedCapture:
    """The pack that a generator of progress returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.fixture(scope="module")
def capture(tiny_capture_dir: Path) -> MultifaceCapture:
    return open_capture(tiny_capture_dir)


@pytest.fixture(scope="module")
def packed(capture: MultifaceCapture, tmp_path_factory: pytest.TempPathFactory) -> PackedCapture:
    return run(
        pack(capture, folder=tmp_path_factory.mktemp("packs") / "tiny", texture=32, photo=(48, 32), hmc=(30, 40))
    )


def test_at_the_capture_s_own_size_nothing_changes(capture: MultifaceCapture, packed: PackedCapture) -> None:
    assert packed.frames == capture.frames
    assert {part: [packed.frames[i] for i in packed.split(part)] for part in capture.split} == capture.split
    for k, which in ((4, 0), (15, 1), (23, 2)):
        id, name = packed.frames[k], packed.cameras_of(k)[which]
        batch = packed.batch([k], which)
        torch.testing.assert_close(batch.vertices[0], capture.vertices(id))
        torch.testing.assert_close(batch.average_texture[0], capture.average_texture(id))
        torch.testing.assert_close(batch.view_texture[0], capture.texture(id, name))
        torch.testing.assert_close(batch.photo[0], capture.photo(id, name))
        torch.testing.assert_close(batch.mask[0], capture.mask(id, name))
        expected = capture.camera(id, name).project(capture.vertices(id))
        torch.testing.assert_close(batch.camera.project(batch.vertices)[0], expected, atol=1e-3, rtol=1e-4)
        assert batch.hmc is not None
        assert batch.hmc_mask is not None
        view = hmc_images(capture, id, size=(30, 40))
        torch.testing.assert_close(batch.hmc[0], view.hmc, atol=0.5 / 255 + 1e-6, rtol=0)
        assert torch.equal(batch.hmc_mask[0], view.mask)
        assert capture.landmarks is not None
        assert batch.keypoints is not None
        marks = packed.keypoint_camera.project_normalised(capture.vertices(id)[capture.landmarks.index])
        torch.testing.assert_close(batch.keypoints[0], marks)
        assert 0 < batch.keypoints.min() < batch.keypoints.max() < 1


def test_what_describes_the_capture_travels_with_the_pack(capture: MultifaceCapture, packed: PackedCapture) -> None:
    np.testing.assert_array_equal(packed.topology.faces, capture.topology.faces)
    np.testing.assert_array_equal(packed.topology.uv_faces, capture.topology.uv_faces)
    assert packed.landmarks == capture.landmarks
    assert packed.statistics.vertex_std == capture.statistics.vertex_std
    np.testing.assert_array_equal(packed.statistics.texture_mean, capture.statistics.texture_mean)
    assert packed.hmc_cameras is not None
    assert packed.hmc_cameras.size == (30, 40)
    assert len(packed.hmc_cameras) == 3
    assert packed.keypoint_camera.size == capture.photo_size


def test_every_camera_gets_its_turn(capture: MultifaceCapture, packed: PackedCapture) -> None:
    seen = [name for k in range(len(packed)) for name in packed.cameras_of(k)]
    assert {seen.count(name) for name in capture.cameras} == {len(packed) * 3 // 4}
    assert all(len(set(packed.cameras_of(k))) == 3 for k in range(len(packed)))


@pytest.mark.parametrize("texture", [16, 48])
def test_at_another_size_pictures_and_cameras_agree(capture: MultifaceCapture, tmp_path: Path, texture: int) -> None:
    ids = capture.frames[::8]
    packed = run(pack(capture, folder=tmp_path / "pack", ids=ids, texture=texture, photo=(24, 20), hmc=None))
    assert packed.frames == ids
    batch = packed.batch(range(len(ids)))
    assert batch.hmc is None
    assert batch.hmc_mask is None
    assert packed.hmc_cameras is None
    assert batch.average_texture.shape == (3, 3, texture, texture)
    assert packed.statistics.texture_mean.shape == (3, texture, texture)
    name = packed.cameras_of(0)[0]
    expected = images.resize(capture.frame(ids[0]).photos[name], (24, 20))
    torch.testing.assert_close(batch.photo[0], torch.from_numpy(expected).float() / 255)
    column, row = (batch.camera.project(batch.vertices)[0][:, :2].round().long()).T
    assert batch.mask[0][row.clamp(0, 23), column.clamp(0, 19)].mean() > 0.85
    whole = capture.average_texture(ids[0])
    inner = slice(texture // 4, -texture // 4)
    same = torch.nn.functional.interpolate(whole[None], (texture, texture), mode="bilinear", antialias=True)[0]
    assert (batch.average_texture[0] - same)[:, inner, inner].abs().max() < 0.05
    used = torch.from_numpy(packed.statistics.texture_valid)
    assert (batch.average_texture[0].amax(0)[used] > 0).all()
    assert ((batch.average_texture[0] > 0).any(0) == used).all()


def test_batches_draw_cameras_and_views_by_their_generator(packed: PackedCapture) -> None:
    def make(seed: int):
        generator = torch.Generator().manual_seed(seed)
        return packed.batch(range(12), augmentation=HeadsetAugmentation(), generator=generator)

    one, same, other = make(1), make(1), make(2)
    assert one.hmc is not None
    assert other.hmc is not None
    assert torch.equal(one.photo, same.photo)
    assert torch.equal(one.hmc, same.hmc)
    assert not torch.equal(one.hmc, other.hmc)
    assert not torch.equal(one.photo, other.photo)
    plain = packed.batch(range(12))
    assert torch.equal(plain.photo, packed.batch(np.arange(12), torch.zeros(12, dtype=torch.long)).photo)
    assert plain.hmc is not None
    assert plain.hmc_mask is not None
    assert (plain.hmc[plain.hmc_mask == 0] == 0).all()


def test_slop_variants_differ_from_the_plain_view(packed: PackedCapture) -> None:
    stored = np.load(packed.folder / "hmc.npy", mmap_mode="r")
    assert stored.shape[:3] == (24, 3, 3)
    change = np.abs(stored[:, 1:].astype(int) - stored[:, :1]).mean(axis=(2, 3, 4))
    assert (change > 0.5).all()


def test_an_interrupted_pack_goes_on_and_ends_the_same(
    capture: MultifaceCapture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lipflow.capture.packing._FLUSH", 5)
    whole = run(pack(capture, folder=tmp_path / "whole", **SMALL))
    steps = pack(capture, folder=tmp_path / "again", **SMALL)
    for progress in steps:
        if progress.done == 13:
            break
    steps.close()
    assert not (tmp_path / "again").exists()
    with pytest.raises(InputError, match="expected the description of a pack"):
        PackedCapture(tmp_path / "again")
    first = next(steps := pack(capture, folder=tmp_path / "again", **SMALL))
    assert first.done == 10
    resumed = run(steps)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "whole"]
    for file in sorted(whole.folder.iterdir()):
        if file.suffix == ".npy":
            assert file.read_bytes() == (resumed.folder / file.name).read_bytes(), file.name


@pytest.mark.parametrize("stopped", [False, True])
def test_of_two_that_pack_the_same_at_once_one_waits(
    capture: MultifaceCapture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    """As of two processes: a lock is of whoever opened the folder. Once the first has stopped, the other goes on."""
    monkeypatch.setattr("lipflow.capture.packing._LOOK_SECONDS", 0.01)
    first, second = (pack(capture, folder=tmp_path / "pack", **SMALL) for _ in range(2))
    assert next(first).done == 0
    next(first)
    for _ in range(3):
        assert next(second).done == 0  # the first has not written down what it has done
    if stopped:
        first.close()
    else:
        assert len(run(first)) == 24
        written = (tmp_path / "pack" / "photos.npy").stat().st_ino
    packed = run(second)
    assert len(packed) == 24
    assert stopped or (packed.folder / "photos.npy").stat().st_ino == written
    assert packed.batch(range(24), 0).vertices.abs().amax((1, 2)).min() > 10
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


def test_its_room_on_the_disk_is_taken_at_once(capture: MultifaceCapture, tmp_path: Path) -> None:
    """Arrays are mapped into memory: on a disk that fills up later, a write there would kill the process."""
    steps = pack(capture, folder=tmp_path / "pack", **SMALL)
    next(steps)
    arrays = list((tmp_path / ".pack.partial").glob("*.npy"))
    assert len(arrays) == 10
    for file in arrays:
        assert 512 * file.stat().st_blocks >= file.stat().st_size, file.name
    steps.close()


def test_a_disk_without_room_is_said(
    capture: MultifaceCapture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", refuse)
    with pytest.raises(InputError, match=r"GiB of free space, got .*; pack fewer frames.*LIPFLOW_PACKS"):
        next(pack(capture, folder=tmp_path / "pack", **SMALL))


def test_a_finished_pack_is_reused_and_another_is_not_overwritten(capture: MultifaceCapture, tmp_path: Path) -> None:
    ids = capture.frames[:3]
    first = run(pack(capture, folder=tmp_path / "pack", ids=ids, **SMALL))
    written = (first.folder / "photos.npy").stat().st_mtime_ns
    (progress,) = list(pack(capture, folder=tmp_path / "pack", ids=ids, **SMALL))
    assert (progress.done, progress.total) == (3, 3)
    assert (first.folder / "photos.npy").stat().st_mtime_ns == written
    with pytest.raises(InputError, match="another pack"):
        run(pack(capture, folder=tmp_path / "pack", ids=ids, **{**SMALL, "texture": 8}))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("keep me")
    with pytest.raises(InputError, match="description of a pack"):
        run(pack(capture, folder=tmp_path / "other", ids=ids, **SMALL))
    assert (tmp_path / "other" / "letter.txt").read_text() == "keep me"


def test_by_default_it_lies_in_the_capture(tmp_path: Path) -> None:
    capture = open_capture(write_tiny_capture(tmp_path / "capture", frames=6))
    packed = run(pack(capture, ids=capture.frames[:1], **SMALL))
    assert packed.folder.parent == tmp_path / "capture" / "packed"


def test_packs_of_captures_that_cannot_be_written_to_lie_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = open_capture(write_tiny_capture(tmp_path / "capture", frames=6))
    monkeypatch.setenv("LIPFLOW_PACKS", str(tmp_path / "packs"))
    packed = run(pack(capture, ids=capture.frames[:1], **SMALL))
    assert packed.folder.parent == tmp_path / "packs" / "capture"
    assert not (tmp_path / "capture" / "packed").exists()
    assert run(pack(capture, ids=capture.frames[:1], **SMALL)).folder == packed.folder


def test_damaged_frames_are_skipped_and_said(tmp_path: Path) -> None:
    root = write_tiny_capture(tmp_path / "capture", frames=6)
    bad = root / "tracked_mesh" / "E003_Brows" / "000106.bin"
    bad.write_bytes(b"short")
    capture = open_capture(root)
    packed = run(pack(capture, folder=tmp_path / "pack", **SMALL))
    assert FrameId("E003_Brows", 106) not in packed.frames
    assert len(packed) == 5
    assert len(packed.split("train")) == 2
    assert str(bad) in packed.skipped[0]
    torch.testing.assert_close(packed.batch([2]).vertices[0], capture.vertices(packed.frames[2]))
    said = [state.skipped for state in pack(capture, folder=tmp_path / "pack", **SMALL)]
    assert said[-1] == packed.skipped  # a pack that is there says it, too
    for file in root.glob("tracked_mesh/*/*.bin"):
        file.write_bytes(b"short")
    with pytest.raises(InputError, match="frames that can be read"):
        run(pack(open_capture(root), folder=tmp_path / "none", **SMALL))


def test_a_frame_that_was_repaired_is_added(tmp_path: Path) -> None:
    root = write_tiny_capture(tmp_path / "capture", frames=6)
    bad = sorted(root.glob("tracked_mesh/*/*.bin"))[1:3]
    whole = [file.read_bytes() for file in bad]
    for file in bad:
        file.write_bytes(b"short")
    folder = tmp_path / "pack"
    before = run(pack(open_capture(root), folder=folder, **SMALL))
    bad[0].write_bytes(whole[0])
    some = run(pack(open_capture(root), folder=folder, **SMALL))
    assert (len(before), len(some)) == (4, 5)
    assert [str(bad[1]) in line for line in some.skipped] == [True]
    bad[1].write_bytes(whole[1])
    folder.chmod(0o555)
    assert len(run(pack(open_capture(root), folder=folder, **SMALL))) == (6 if os.access(folder, os.W_OK) else 5)
    folder.chmod(0o755)
    mended = run(pack(open_capture(root), folder=folder, **SMALL))
    fresh = run(pack(open_capture(root), folder=tmp_path / "fresh", **SMALL))
    assert mended.frames == fresh.frames
    assert mended.skipped == ()
    assert len({before.hash, some.hash, mended.hash}) == 3  # what was made of it is told apart
    assert mended.key == fresh.hash == before.hash
    for part in ("train", "val", "test"):
        np.testing.assert_array_equal(mended.split(part), fresh.split(part))
    a, b = mended.batch(range(6)), fresh.batch(range(6))
    for name in ("vertices", "average_texture", "photo", "mask", "hmc"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name


def test_a_frame_that_two_add_at_once_is_there_once(tmp_path: Path) -> None:
    root = write_tiny_capture(tmp_path / "capture", frames=6)
    bad = min(root.glob("tracked_mesh/*/*.bin"))
    whole = bad.read_bytes()
    bad.write_bytes(b"short")
    run(pack(open_capture(root), folder=tmp_path / "pack", **SMALL))
    bad.write_bytes(whole)
    both = [pack(open_capture(root), folder=tmp_path / "pack", **SMALL) for _ in range(2)]
    for steps in both:
        next(steps)
    hashes = set()
    for steps in both:
        mended = run(steps)
        hashes.add(mended.hash)
        assert len(set(mended.frames)) == len(mended.frames) == 6
    assert len(hashes) == 1


def test_without_masks_and_textures_by_view(tmp_path: Path) -> None:
    """A real download has no masks: the mesh's silhouette serves. Here it has no textures by view, too."""
    root = write_tiny_capture(tmp_path / "capture", frames=6)
    with_masks = run(pack(open_capture(root), folder=tmp_path / "with", texture=32, photo=(48, 32), hmc=None))
    shutil.rmtree(root / "masks")
    for folder in root.glob("unwrapped_uv_1024/*/400*"):
        shutil.rmtree(folder)
    packed = run(pack(open_capture(root), folder=tmp_path / "without", texture=32, photo=(48, 32), hmc=None))
    a, b = packed.batch(range(6)), with_masks.batch(range(6))
    assert torch.equal(a.view_texture, a.average_texture)
    assert (a.mask * b.mask).sum() / torch.maximum(a.mask, b.mask).sum() > 0.85


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"texture": 0}, "texture size"),
        ({"photo": (10**5, 3)}, "photo size"),
        ({"hmc": (0, 3)}, "hmc size"),
        ({"cameras": ["nobody"]}, "got nobody"),
        ({"cameras": []}, "got none"),
        ({"cameras_per_frame": 0}, "cameras per frame: expected 1 or more, got 0"),
        ({"ids": [FrameId("E001_Neutral", 1)]}, "a frame of"),
    ],
)
def test_senseless_options_are_refused(capture: MultifaceCapture, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        next(pack(capture, folder=tmp_path / "pack", **{**SMALL, **options}))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said(capture: MultifaceCapture, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"a folder to write to.*LIPFLOW_PACKS"):
        next(pack(capture, folder=tmp_path / "file" / "pack", **SMALL))


def _manifest(**changes: object):
    def damage(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "manifest.json").write_text("{"),
        lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: (folder / "photos.npy").unlink(),
        lambda folder: (folder / "photos.npy").write_bytes((folder / "photos.npy").read_bytes()[:-100]),
        lambda folder: (folder / "photos.npy").write_bytes(b"not an array"),
        lambda folder: shutil.copy(folder / "masks.npy", folder / "photos.npy"),
        lambda folder: (folder / "about.npz").write_bytes(b"PK"),
        lambda folder: (folder / "about.npz").write_bytes((folder / "about.npz").read_bytes()[:500]),
        lambda folder: (folder / "about.npz").unlink(),
        _manifest(format=99),
        _manifest(rows=[0]),
        _manifest(frames=[["a"]]),
        _manifest(split={}),
        _manifest(config=None),
        _manifest(arrays=[]),
        _manifest(rows=[10**6] * 24),
        _manifest(split={"train": [99], "val": [], "test": []}),
    ],
)
def test_a_damaged_pack_is_refused_in_one_line(packed: PackedCapture, tmp_path: Path, damage) -> None:
    folder = Path(shutil.copytree(packed.folder, tmp_path / "pack"))
    damage(folder)
    with pytest.raises(InputError) as error:
        PackedCapture(folder)
    assert "\n" not in str(error.value)


def test_threads_are_gone_when_a_pack_is_abandoned(capture: MultifaceCapture, tmp_path: Path) -> None:
    steps = pack(capture, folder=tmp_path / "pack", **SMALL)
    next(steps)
    with contextlib.suppress(StopIteration):
        next(steps)
    steps.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pack")]


@pytest.mark.real
def test_the_real_frame_packs(real_capture_dir: Path, tmp_path: Path) -> None:
    """Without masks, landmarks, textures by view or statistics."""
    packed = run(pack(open_capture(real_capture_dir), folder=tmp_path / "pack", texture=256, slop_variants=0))
    batch = packed.batch(packed.split("train"))
    assert batch.vertices.shape == (1, 7306, 3)
    assert batch.photo.shape == (1, 3, 384, 256)
    assert batch.keypoints is None
    assert 0.3 < batch.mask.mean() < 0.7
    assert batch.hmc is not None
    assert batch.hmc.mean() > 0.2
    inside = batch.photo[0, :, batch.mask[0] > 0]
    outside = batch.photo[0, :, batch.mask[0] == 0]
    assert inside.mean() > 2 * outside.mean()  # the mesh's silhouette lies on the face
