"""The Multiface loader: what it reads, what it says is missing, and that nothing but InputError comes out of damage."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lipflow.capture import images, open_capture
from lipflow.capture import multiface_parsers as parsers
from lipflow.capture.base import FrameId
from lipflow.checks import InputError
from support.tiny_capture import CAMERAS, SPLIT, write_tiny_capture


@pytest.fixture
def capture_dir(tiny_capture_dir: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_capture_dir, tmp_path / "capture"))


def test_reads_a_whole_capture(tiny_capture_dir: Path) -> None:
    capture = open_capture(tiny_capture_dir)
    assert (len(capture.frames), capture.photo_size, capture.texture_size) == (24, (48, 32), 32)
    assert list(capture.cameras) == list(CAMERAS)
    assert capture.missing == []
    assert {part: {id.segment for id in ids} for part, ids in capture.split.items()} == {
        part: set(segments) for part, segments in SPLIT.items()
    }
    assert capture.landmarks is not None
    assert len(capture.landmarks.ids) == 136
    id = capture.frames[7]
    assert capture.vertices(id).shape == (capture.topology.vertex_count, 3)
    for picture in (capture.photo(id, "400002"), capture.texture(id, "400002"), capture.average_texture(id)):
        assert picture.dtype == torch.float32
        assert 0 <= picture.min() < picture.max() <= 1
    mask = capture.mask(id, "400002")
    assert mask is not None
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    frame = capture.frame(id, photos=("400001",), textures=())
    assert (frame.cameras, list(frame.textures)) == (("400001",), [])
    assert torch.equal(torch.from_numpy(frame.photos["400001"]).float() / 255, capture.photo(id, "400001"))


def test_a_camera_in_the_head_frame_sees_what_it_sees_from_the_world(tiny_capture_dir: Path) -> None:
    capture = open_capture(tiny_capture_dir)
    id = capture.frames[11]
    pose, vertices = capture.head_pose(id), capture.vertices(id)
    world = vertices @ pose[:, :3].T + pose[:, 3]
    for name in capture.cameras:
        torch.testing.assert_close(
            capture.camera(id, name).project(vertices), capture.cameras[name].project(world), atol=2e-3, rtol=1e-4
        )


def test_the_projected_mesh_lies_on_the_mask(tiny_capture_dir: Path) -> None:
    capture = open_capture(tiny_capture_dir)
    for id in capture.frames[::9]:
        for name in capture.cameras:
            column, row = capture.camera(id, name).project(capture.vertices(id)).round().long()[:, :2].T
            mask = capture.mask(id, name)
            assert mask is not None
            assert mask[row, column].mean() > 0.9
            assert mask.mean() < 0.7


def test_the_first_row_of_a_texture_is_the_top(tiny_capture_dir: Path) -> None:
    """The texture, looked up at the eyes' and the mouth's places in the mesh, is dark there as the photo is."""
    capture = open_capture(tiny_capture_dir)
    id, size = capture.frames[0], capture.texture_size
    mesh, texture = capture.topology.split, capture.average_texture(id)
    column, row = mesh.uv[:, 0] * size - 0.5, (1 - mesh.uv[:, 1]) * size - 0.5
    colours = texture[:, row.round().astype(int), column.round().astype(int)]
    pixels = capture.camera(id, "400001").project(capture.vertices(id)).round().long()
    seen = capture.photo(id, "400001")[:, pixels[mesh.vertex, 1], pixels[mesh.vertex, 0]]
    front = torch.from_numpy(capture.vertices(id).numpy()[mesh.vertex, 2] > 50)
    together = np.corrcoef(colours[:, front].flatten(), seen[:, front].flatten())[0, 1]
    assert together > 0.8


def test_statistics_from_files_and_from_frames_agree(tiny_capture_dir: Path, tmp_path: Path) -> None:
    stored = open_capture(tiny_capture_dir).statistics
    computed = open_capture(write_tiny_capture(tmp_path / "bare", statistics=False)).statistics
    np.testing.assert_allclose(computed.vertex_mean, stored.vertex_mean, atol=1e-4)
    np.testing.assert_allclose(computed.texture_mean, stored.texture_mean, atol=0.003)
    assert computed.vertex_std == pytest.approx(stored.vertex_std, rel=1e-3)
    assert computed.texture_std == pytest.approx(stored.texture_std, rel=0.05)
    assert (computed.texture_valid == stored.texture_valid).all()
    assert 0.5 < stored.texture_valid.mean() < 1


def test_one_frame_has_a_usable_spread(tmp_path: Path) -> None:
    statistics = open_capture(write_tiny_capture(tmp_path, frames=1, statistics=False)).statistics
    assert statistics.vertex_std >= 1
    assert statistics.texture_std > 0.01


def test_without_a_split_the_expressions_are_held_out(tmp_path: Path) -> None:
    capture = open_capture(write_tiny_capture(tmp_path, split=False, landmarks=False, masks=False))
    segments = {part: sorted({id.segment for id in ids}) for part, ids in capture.split.items()}
    assert segments["test"] == ["EXP_ROM", "EXP_free_face"]
    assert segments["val"] == ["E004_Jaw"]
    assert len(segments["train"]) == 3
    assert capture.landmarks is None
    assert capture.mask(capture.frames[0], "400001") is None


@pytest.mark.parametrize(
    ("segments", "train", "val", "test"),
    [
        (["a"], ["a"], [], []),
        (["a", "b"], ["a"], ["b"], []),
        (["a", "b", "c"], ["a"], ["c"], ["b"]),
        (["EXP_ROM07", "a"], ["a"], [], ["EXP_ROM07"]),
        (["EXP_ROM07"], ["EXP_ROM07"], [], []),
    ],
)
def test_short_captures_keep_something_to_train_on(
    segments: list[str], train: list[str], val: list[str], test: list[str]
) -> None:
    assert parsers.default_split(segments) == {"train": train, "val": val, "test": test}


def test_statistics_are_computed_without_damaged_frames(tmp_path: Path) -> None:
    root = write_tiny_capture(tmp_path, frames=6, statistics=False)
    whole = open_capture(root)
    meshes = [whole.vertices(id) for id in whole.frames]
    files = [root / "tracked_mesh" / id.segment / f"{id.number:06d}.bin" for id in whole.frames]
    files[4].write_bytes(b"short")
    mean = torch.stack(meshes[:4] + meshes[5:]).mean(0)
    np.testing.assert_allclose(open_capture(root).statistics.vertex_mean, mean, atol=1e-4)
    for file in files:
        file.write_bytes(b"short")
    with pytest.raises(InputError, match=r"mesh .*bytes"):
        _ = open_capture(root).statistics


def test_missing_frames_and_cameras_are_skipped_and_named(capture_dir: Path) -> None:
    first = open_capture(capture_dir).frames[0]
    name = f"{first.number:06d}"
    (capture_dir / "tracked_mesh" / "E002_Smile" / "000112_transform.txt").unlink()
    (capture_dir / "images" / first.segment / "400002" / f"{name}.png").unlink()
    shutil.rmtree(capture_dir / "unwrapped_uv_1024" / "E003_Brows" / "400003")
    for folder in (capture_dir / "images").glob("*/400004"):
        shutil.rmtree(folder)
    capture = open_capture(capture_dir)
    assert len(capture.frames) == 23
    assert FrameId("E002_Smile", 112) not in capture.frames
    assert sorted(capture.missing) == [
        "images/*/400004/",
        f"images/{first.segment}/400002/{name}.png",
        "tracked_mesh/E002_Smile/000112_transform.txt",
        "unwrapped_uv_1024/E003_Brows/400003/",
    ]
    assert capture.photo_cameras(first) == ("400001", "400003")
    assert capture.texture_cameras(first) == tuple(CAMERAS)
    with pytest.raises(InputError, match=r"000112: expected one of the 23 frames"):
        capture.photo_cameras(FrameId("E002_Smile", 112))


def _text(name: str, content: str):
    return lambda root: (root / name).write_text(content)


def _remove(pattern: str):
    def damage(root: Path) -> None:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


OPENING = {
    "no KRT": (_remove("KRT"), "KRT: expected a file"),
    "KRT is binary": (lambda root: (root / "KRT").write_bytes(b"\xff\xfe\x00"), "KRT: expected a text file"),
    "KRT is cut": (
        lambda root: (root / "KRT").write_text((root / "KRT").read_text()[:300]),
        "KRT: expected blocks of 8",
    ),
    "no frame list": (_remove("frame_list.txt"), "frame_list.txt: expected a file"),
    "empty frame list": (_text("frame_list.txt", "\n"), "at least one line SEGMENT FRAME"),
    "frame list climbs": (_text("frame_list.txt", "../up 000100\n"), "line 1: expected SEGMENT FRAME"),
    "frame list of other frames": (
        _text("frame_list.txt", "E001_Neutral 999999\n"),
        "tracked_mesh/E001_Neutral/999999",
    ),
    "no meshes": (_remove("tracked_mesh"), "missing tracked_mesh/E001_Neutral/"),
    "no topology": (_remove("tracked_mesh/*/*.obj"), "expected an OBJ with the topology"),
    "no photos": (_remove("images"), "expected photos in images/"),
    "split is not JSON": (_text("split.json", "{"), "split.json: expected a JSON file"),
    "split by camera": (_text("split.json", '{"full": {"train": ["400001"]}}'), "expected segments of frame_list.txt"),
    "split overlaps": (
        _text("split.json", json.dumps({"full": {"train": ["E001_Neutral"], "test": ["E001_Neutral"]}})),
        "each segment once",
    ),
    "landmarks outside": (
        _text("landmarks.json", json.dumps({"ids": [10**7], "names": ["a"], "groups": {}, "mirror": [0]})),
        "landmarks",
    ),
}


@pytest.mark.parametrize("name", OPENING)
def test_a_capture_that_cannot_be_opened_says_why_in_one_line(capture_dir: Path, name: str) -> None:
    damage, message = OPENING[name]
    damage(capture_dir)
    with pytest.raises(InputError) as error:
        open_capture(capture_dir)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        open_capture(tmp_path / "nowhere")


FRAME_DAMAGE = {
    "mesh cut": ("tracked_mesh/{}/{}.bin", lambda data: data[:-5], "vertices of the topology"),
    "mesh of another topology": ("tracked_mesh/{}/{}.bin", lambda data: data[:1200], "100 vertices"),
    "NaN in the mesh": ("tracked_mesh/{}/{}.bin", lambda data: b"\x00\x00\xc0\x7f" + data[4:], "at vertex 0"),
    "pose cut": ("tracked_mesh/{}/{}_transform.txt", lambda data: data[:30], "rows of"),
    "pose in words": ("tracked_mesh/{}/{}_transform.txt", lambda data: b"a b c d", "expected numbers"),
    "pose scaled": ("tracked_mesh/{}/{}_transform.txt", lambda data: b"2 0 0 0\n0 2 0 0\n0 0 2 0", "orthonormal"),
    "photo cut": ("images/{}/400001/{}.png", lambda data: data[: len(data) // 2], "a whole picture"),
    "photo is text": ("images/{}/400001/{}.png", lambda data: b"not a picture", "a PNG or JPEG picture"),
    "photo is empty": ("images/{}/400001/{}.png", lambda data: b"", "a PNG or JPEG picture"),
    "average texture cut": ("unwrapped_uv_1024/{}/average/{}.png", lambda data: data[:200], "picture"),
}


@pytest.mark.parametrize("name", FRAME_DAMAGE)
def test_a_damaged_frame_is_named_when_it_is_read(capture_dir: Path, name: str) -> None:
    pattern, damage, message = FRAME_DAMAGE[name]
    id = open_capture(capture_dir).frames[5]
    file = capture_dir / pattern.format(id.segment, f"{id.number:06d}")
    file.write_bytes(damage(file.read_bytes()))
    capture = open_capture(capture_dir)
    with pytest.raises(InputError) as error:
        capture.frame(id)
    assert message in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)
    capture.frame(capture.frames[6])


@pytest.mark.parametrize("file", ["vert_var.txt", "tex_var.txt", "vert_mean.bin", "tex_mean.png"])
@pytest.mark.parametrize("content", [b"0", b"nan", b"1 2", b"\xff\xfe"])
def test_damaged_statistics_are_named(capture_dir: Path, file: str, content: bytes) -> None:
    (capture_dir / file).write_bytes(content)
    with pytest.raises(InputError, match=file):
        _ = open_capture(capture_dir).statistics


# Pictures -----------------------------------------------------------------------------------------------------


def test_pictures_of_other_kinds(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for mode in ("L", "RGB", "RGBA", "P", "1"):
        Image.fromarray(grey).convert(mode).save(tmp_path / "a.png")
        assert images.read_rgb(tmp_path / "a.png").shape == (3, 3, 4)
        assert images.read_grey(tmp_path / "a.png").shape == (3, 4)
    Image.fromarray(grey.astype(np.uint16) * 256).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match="8 bits a channel, got mode I"):
        images.read_rgb(tmp_path / "deep.png")
    with pytest.raises(InputError, match=r"expected 5x5 \(HxW\), got 3x4"):
        images.read_rgb(tmp_path / "a.png", size=(5, 5))
    with pytest.raises(InputError, match="expected a file, got none"):
        images.read_rgb(tmp_path / "b.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_too_large_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("1", (9000, 9000)).save(tmp_path / "large.png")
    with pytest.raises(InputError, match="got 9000x9000"):
        images.read_rgb(tmp_path / "large.png")


def test_shrinking_averages_areas_and_keeps_unseen_texels_out(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(1, 256, (3, 8, 6), dtype=np.uint8)
    means = picture.reshape(3, 4, 2, 3, 2).mean((2, 4))
    assert np.abs(images.resize(picture, (4, 3)) - means).max() <= 1  # the two directions round one after the other
    texture = np.full((3, 8, 8), 100, np.uint8)
    texture[:, :, 5:] = 0
    small = images.resize_texture(texture, 4)
    assert (np.abs(small[:, :, :3].astype(int) - 100) <= 1).all()
    assert (small[:, :, 3] == 0).all()
    images.write_image(tmp_path / "new" / "a.png", picture)
    np.testing.assert_array_equal(images.read_rgb(tmp_path / "new" / "a.png"), picture)


# Fuzzing ------------------------------------------------------------------------------------------------------

_words = st.one_of(
    st.floats(width=32).map(str),
    st.integers(-(10**30), 10**30).map(str),
    st.sampled_from(["", "nan", "-inf", "1e999", "400001", "a/b", "..", "0", "1", "\x00", "٣", "1_000"]),
    st.text(max_size=4),
)
_texts = st.lists(st.lists(_words, max_size=5).map(" ".join), max_size=20).map("\n".join)


@given(_texts)
def test_parsers_of_text_survive_anything(text: str) -> None:
    for parse in (parsers.parse_krt, parsers.parse_transform, parsers.parse_frame_list):
        try:
            parse(text)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017
    with contextlib.suppress(InputError):
        assert parsers.parse_variance(text, "var") > 0


KRT = "400001\n500 0 10\n0 500 20\n0 0 1\n0 0 0 0 0\n1 0 0 1\n0 1 0 2\n0 0 1 3\n\n"


@given(st.integers(0, len(KRT) - 1), st.sampled_from(["", "x", " ", "\n", "nan", "9", "-", "1e9", "1e400"]))
def test_one_change_to_a_camera_file_is_refused_or_read(position: int, change: str) -> None:
    text = KRT[:position] + change + KRT[position + 1 :]
    try:
        cameras = parsers.parse_krt(text)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    ((K, R, t),) = ((c.K, c.R, c.t) for c in cameras.values())
    assert np.isfinite(K).all()
    assert np.isfinite(t).all()
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=0.02)


@given(st.binary(max_size=64), st.integers(0, 5))
def test_meshes_survive_any_bytes(data: bytes, count: int) -> None:
    try:
        vertices = parsers.parse_vertices(data, count)
    except InputError:
        return
    assert vertices.shape == (count, 3)
    assert np.isfinite(vertices).all()


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.sampled_from(["a", "b", "full", "train"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["full", "train", "val"]), inner),
)


@given(_json.map(json.dumps) | st.text())
def test_splits_survive_any_json(text: str) -> None:
    try:
        split = parsers.parse_split(text, {"a", "b"})
    except InputError:
        return
    assert split["train"]
    assert set(split["train"]) <= {"a", "b"}


@given(st.integers(0, 10**6), st.integers(0, 255), st.integers(0, 10**6))
def test_damaged_pictures_are_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, cut: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "damaged.png"
    Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)).save(file)
    data = bytearray(file.read_bytes())
    data[at % len(data)] = byte
    if cut % 3 == 0:
        data = data[: cut % len(data)]
    file.write_bytes(bytes(data))
    try:
        images.read_rgb(file)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017


# The real frame -----------------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_real_frame_is_read(real_capture_dir: Path) -> None:
    capture = open_capture(real_capture_dir)
    assert (len(capture.cameras), capture.photo_size, capture.texture_size) == (38, (2048, 1334), 1024)
    assert capture.topology.vertex_count == 7306
    id = capture.frames[0]
    assert capture.photo_cameras(id) == ("400069",)
    pixels = capture.camera(id, "400069").project(capture.vertices(id))
    inside = (pixels[:, :2] >= 0).all(1) & (pixels[:, 0] < 1334) & (pixels[:, 1] < 2048) & (pixels[:, 2] > 0)
    assert inside.float().mean() > 0.95
