"""Sequences from files: folders, videos, keypoints in time; whatever else is given is one line."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lipflow.camera import Camera
from lipflow.checks import InputError
from lipflow.keypoint_sequences import KeypointSequence
from lipflow.observation_files import in_camera_order
from lipflow.picture_sequences import SKIPPED, ImageFiles, Video
from lipflow.sequence_files import (
    HeadsetSequence,
    Photograph,
    PhotographSequence,
    is_sequence,
    open_sequence,
)
from support.camera_file import save_camera

SIZE = (24, 32)  # height, width of one camera's image
CAMERAS = ("mouth", "left", "right")
COUNT = 50  # frames of the video
POINTS = np.random.default_rng(0).uniform(size=(5, 136, 2)).astype(np.float32)


def gray(frame: int, camera: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """An image that tells its frame and camera by its level."""
    return np.full(size, 10 + 2 * frame + 70 * camera, np.uint8)


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_video(path: Path, frames: Iterator[np.ndarray], size: tuple[int, int], fps: int = 25) -> Path:
    """Gray frames [h, w], in one group of pictures with others that refer to later ones: jumps have to be right."""
    options = ["-crf", "4", "-g", "250", "-bf", "2"]
    encoder = imageio_ffmpeg.write_frames(
        path, size[::-1], pix_fmt_in="gray", fps=fps, codec="libx264", quality=None, output_params=options,
        macro_block_size=1, ffmpeg_log_level="error",
    )  # fmt: skip
    encoder.send(None)
    for frame in frames:
        encoder.send(np.ascontiguousarray(frame))
    encoder.close()
    return path


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of the three cameras beside each other."""
    frames = (np.concatenate([gray(frame, camera) for camera in range(3)], axis=1) for frame in range(COUNT))
    return write_video(tmp_path_factory.mktemp("videos") / "headset.mp4", frames, (SIZE[0], 3 * SIZE[1]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve frames in sub-folders; by their letters, 10 would come before 2."""
    for camera, name in enumerate(("mouth", "left_eye", "right_eye")):
        for frame in range(12):
            write(tmp_path / "seq" / name / f"shot-{frame}.png", gray(frame, camera))
    return tmp_path / "seq"


class TestFolders:
    def test_of_three_folders_are_read_in_the_order_of_their_numbers(self, folder: Path) -> None:
        assert is_sequence([folder])
        sequence = open_sequence([folder])
        assert isinstance(sequence, HeadsetSequence)
        assert (sequence.kind, sequence.length, sequence.fps, sequence.size) == ("headset", 12, None, SIZE)
        for frame in (0, 2, 10, 11):
            images = sequence.frame(frame)
            assert images.shape == (3, *SIZE)
            assert images.dtype == torch.float32
            for camera in range(3):
                np.testing.assert_array_equal(images[camera].numpy(), gray(frame, camera) / np.float32(255))
        assert sequence.names(10) == ("shot-10.png",) * 3

    def test_of_triples_are_told_apart_by_their_names(self, tmp_path: Path) -> None:
        for frame in range(3):
            for camera, name in enumerate(CAMERAS):
                write(tmp_path / f"take-{frame}-{name}.png", gray(frame, camera))
        sequence = open_sequence([tmp_path])
        assert sequence.length == 3
        assert sequence.names(1) == ("take-1-mouth.png", "take-1-left.png", "take-1-right.png")
        np.testing.assert_array_equal(sequence.frame(2)[1].numpy(), gray(2, 1) / np.float32(255))
        files = sorted(tmp_path.iterdir())
        assert is_sequence(files)
        assert open_sequence(files).names(1) == sequence.names(1)
        assert not is_sequence(files[:3]), "three images are one frame"

    def test_frames_are_read_when_they_are_asked_for(self, folder: Path) -> None:
        sequence = open_sequence([folder])
        (folder / "mouth" / "shot-3.png").unlink()
        sequence.frame(2)
        with pytest.raises(InputError, match=r"shot-3\.png: expected a file, got none"):
            sequence.frame(3)

    def test_photographs_come_with_their_camera(self, tmp_path: Path) -> None:
        camera = Camera(torch.tensor([[50.0, 0, 16], [0, 50, 12], [0, 0, 1]]), torch.eye(3), torch.zeros(3), SIZE)
        save_camera(tmp_path / "camera.json", camera)
        for frame in range(2):
            write(tmp_path / "photos" / f"{frame}.png", np.full((*SIZE, 3), (40 * frame, 60, 80), np.uint8))
        for paths in ([tmp_path / "photos", tmp_path / "camera.json"], [tmp_path / "camera.json", tmp_path / "photos"]):
            assert is_sequence(paths)
            sequence = open_sequence(paths)
            assert isinstance(sequence, PhotographSequence)
            shown = sequence.frame(1)
            assert isinstance(shown, Photograph)
            assert torch.equal(shown.camera.K, camera.K)
            np.testing.assert_allclose(shown.image[:, 0, 0].numpy(), np.array([40, 60, 80]) / 255, atol=1e-6)
        files = [tmp_path / "photos" / "0.png", tmp_path / "camera.json", tmp_path / "photos" / "1.png"]
        assert is_sequence(files)
        assert open_sequence(files).length == 2
        assert not is_sequence(files[:2]), "one photograph and its camera are no sequence"
        inside = tmp_path / "photos" / "camera.json"
        save_camera(inside, camera)
        assert open_sequence([tmp_path / "photos"]).kind == "frontal"
        for frame in range(2):
            (tmp_path / "photos" / f"{frame}.png").rename(tmp_path / "photos" / f"{frame}.jpg")
        ordinary = open_sequence([tmp_path / "photos"]).frame(1)
        np.testing.assert_allclose(ordinary.image[:, 0, 0].numpy(), (np.array([40, 60, 80]) / 255) ** 2, atol=1e-6)

    @pytest.mark.parametrize(
        ("spoil", "line"),
        [
            (lambda f: (f / "left_eye" / "shot-3.png").unlink(), "equally many images of each camera, got 12 of the"),
            (lambda f: write(f / "mouth" / "shot-4.png", gray(4, 0, (20, 30))), "32 × 24 pixels as shot-0.png has"),
            (lambda f: [file.unlink() for file in (f / "mouth").iterdir()], "images of each camera, got none of mouth"),
            (lambda f: (f / "mouth").rename(f / "nose"), "folders mouth, left and right, got none for mouth"),
            (lambda f: (f / "mouth" / "shot-4.png").write_bytes(b"no picture"), "a PNG or JPEG picture"),
            (
                lambda f: [write(file, gray(0, 0, (20, 30))) for file in (f / "mouth").iterdir()],
                "images of one size, got 30 × 20, 32 × 24, 32 × 24",
            ),
        ],
    )
    def test_what_does_not_fit_is_one_line(self, folder: Path, spoil: Callable[[Path], object], line: str) -> None:
        spoil(folder)
        with pytest.raises(InputError, match=line) as told:
            open_sequence([folder])
        assert "\n" not in str(told.value)

    def test_headset_images_come_without_a_camera(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "camera.json").write_text("{}")
        with pytest.raises(InputError, match=r"photographs beside a camera, got headset images and camera\.json"):
            open_sequence([folder, tmp_path / "camera.json"])

    def test_a_frame_that_lacks_a_camera_is_named(self, tmp_path: Path) -> None:
        for frame in range(2):
            for camera, name in enumerate(CAMERAS):
                write(tmp_path / f"take-{frame}-{name}.png", gray(frame, camera))
        (tmp_path / "take-1-left.png").unlink()
        write(tmp_path / "take-7-left.png", gray(7, 1))
        with pytest.raises(InputError, match="three images a frame, got none of left for 'take-1'"):
            open_sequence([tmp_path])
        write(tmp_path / "chin.png", gray(0, 0))
        with pytest.raises(InputError, match=r"each image named after its camera, got chin\.png"):
            open_sequence([tmp_path])

    def test_a_colour_image_is_no_headset_image(self, folder: Path) -> None:
        write(folder / "mouth" / "shot-1.png", np.full((*SIZE, 3), (9, 60, 80), np.uint8))
        with pytest.raises(InputError, match=r"shot-1\.png: expected a grey image"):
            open_sequence([folder]).frame(1)

    def test_folders_of_something_else_are_no_sequence(self, tmp_path: Path) -> None:
        assert not is_sequence([tmp_path])
        with pytest.raises(InputError, match=r"NAME-right, or videos, got none of them"):
            open_sequence([tmp_path])
        with pytest.raises(InputError, match="a folder of images"):
            open_sequence([tmp_path / "absent"])
        with pytest.raises(InputError, match="got nothing"):
            open_sequence([])

    def test_numbers_in_names_are_counted_not_spelt(self, tmp_path: Path) -> None:
        files = [write(tmp_path / name, gray(0, 0)) for name in ("b10.png", "b9.png", "a.png", "B2.png")]
        assert [file.name for file in ImageFiles(files).files] == ["a.png", "B2.png", "b9.png", "b10.png"]


class TestVideos:
    def level(self, image: torch.Tensor) -> float:
        return float(image.mean()) * 255

    def test_three_cameras_beside_each_other_are_taken_apart(self, beside: Path) -> None:
        assert is_sequence([beside])
        sequence = open_sequence([beside])
        assert isinstance(sequence, HeadsetSequence)
        assert (sequence.length, sequence.fps, sequence.size) == (COUNT, 25, SIZE)
        images = sequence.frame(0)
        assert [self.level(image) for image in images] == pytest.approx([10, 80, 150], abs=1)
        assert sequence.names(0)[1] == "left eye, headset.mp4 1"
        sequence.close()

    def test_any_order_of_frames_gives_the_same_ones(self, beside: Path) -> None:
        video = Video(beside)
        inorder = [video.read(frame) for frame in range(COUNT)]
        for frame in (0, COUNT - 1, 3, 3, 4, 4 + SKIPPED + 5, 40, 39, 1):
            np.testing.assert_array_equal(video.read(frame), inorder[frame])
        video.close()

    def test_three_videos_are_told_apart_by_their_names(self, tmp_path: Path) -> None:
        files = [
            write_video(tmp_path / f"{name}.mp4", (gray(frame, camera) for frame in range(4)), SIZE)
            for camera, name in enumerate(CAMERAS)
        ]
        for paths in (files[::-1], [tmp_path]):
            sequence = open_sequence(paths)
            assert [self.level(image) for image in sequence.frame(3)] == pytest.approx([16, 86, 156], abs=1)
            sequence.close()
        write_video(files[1], (gray(frame, 1) for frame in range(3)), SIZE)
        with pytest.raises(InputError, match="equally many images of each camera, got 4 of the mouth, 3 of the left"):
            open_sequence(files)

    def test_what_is_no_video_is_one_line(self, tmp_path: Path, beside: Path) -> None:
        bad = tmp_path / "bad.mp4"
        bad.write_bytes(b"no video" * 100)
        cut = tmp_path / "cut.mov"
        cut.write_bytes(beside.read_bytes()[:400])
        for path, expected in ((bad, "a video"), (cut, "a video"), (tmp_path / "absent.avi", "a file, got none")):
            with pytest.raises(InputError, match=expected) as told:
                open_sequence([path])
            assert "\n" not in str(told.value)

    def test_widths_and_counts_that_do_not_fit_are_said(self, tmp_path: Path, beside: Path) -> None:
        odd = write_video(tmp_path / "odd.mp4", iter([np.zeros((24, 32), np.uint8)] * 2), (24, 32))
        with pytest.raises(InputError, match="width: expected a multiple of 3, got 32"):
            open_sequence([odd])
        with pytest.raises(InputError, match="or 3 videos, got 2 videos"):
            open_sequence([odd, beside])

    def test_a_video_of_photographs_has_a_camera(self, tmp_path: Path, beside: Path) -> None:
        K = torch.tensor([[50.0, 0, 16], [0, 50, 12], [0, 0, 1]])
        file = tmp_path / "camera.json"
        save_camera(file, Camera(K, torch.eye(3), torch.zeros(3), (SIZE[0], 3 * SIZE[1])))
        sequence = open_sequence([beside, file])
        assert (sequence.kind, sequence.length) == ("frontal", COUNT)
        shown = sequence.frame(5)
        assert isinstance(shown, Photograph)
        assert float(shown.image[0, 0, 0]) == pytest.approx((20 / 255) ** 2, abs=1e-3)
        sequence.close()
        save_camera(file, Camera(K, torch.eye(3), torch.zeros(3), SIZE))
        with pytest.raises(InputError, match="32 × 24 pixels as its camera has, got 96 × 24"):
            open_sequence([beside, file])


def with_hole(points: np.ndarray) -> np.ndarray:
    spoilt = points.copy()
    spoilt[2, 7] = np.nan
    return spoilt


class TestKeypoints:
    def csv_of(self, path: Path, header: list[str], columns: dict[str, np.ndarray]) -> Path:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(zip(*(columns[name].tolist() for name in header)))
        return path

    @pytest.fixture
    def columns(self) -> dict[str, np.ndarray]:
        given = {f"{axis}{k}": POINTS[:, k, place] for k in range(136) for place, axis in enumerate("xy")}
        weights = {f"w{k}": np.full(5, k / 8, np.float32) for k in range(136)}
        return {"frame": np.arange(5.0), **given, **weights}

    def test_csv_has_a_frame_a_line_and_any_order_of_columns(
        self, tmp_path: Path, columns: dict[str, np.ndarray]
    ) -> None:
        header = list(np.random.default_rng(1).permutation(list(columns)))
        path = self.csv_of(tmp_path / "points.csv", header, columns)
        assert is_sequence([path])
        sequence = open_sequence([path])
        assert isinstance(sequence, KeypointSequence)
        assert (sequence.length, sequence.fps, sequence.kind) == (5, None, "keypoints")
        np.testing.assert_array_equal(sequence.frame(3).points.numpy(), POINTS[3])
        np.testing.assert_array_equal(sequence.frame(3).weights.numpy(), np.arange(136, dtype=np.float32) / 8)

    def test_csv_without_a_header_goes_on_from_point_to_point(self, tmp_path: Path) -> None:
        path = tmp_path / "bare.csv"
        path.write_text("\n".join(",".join(map(repr, frame.ravel().tolist())) for frame in POINTS))
        assert is_sequence([path])
        np.testing.assert_array_equal(open_sequence([path]).frame(4).points.numpy(), POINTS[4])
        assert open_sequence([path]).frame(4).weights.eq(1).all()

    def test_npz_knows_weights_names_and_frames_a_second(self, tmp_path: Path) -> None:
        names = [f"point {k}" for k in range(136)]
        path = tmp_path / "points.npz"
        np.savez(path, keypoints=POINTS, weights=np.arange(136), names=names[::-1], fps=30)
        sequence = open_sequence([path], landmarks=names)
        assert sequence.fps == 30
        np.testing.assert_array_equal(sequence.frame(1).points.numpy(), POINTS[1, ::-1])
        np.testing.assert_array_equal(sequence.frame(1).weights.numpy(), np.arange(136, dtype=np.float32)[::-1])
        with pytest.raises(InputError, match="landmark names"):
            open_sequence([path], landmarks=[*names[1:], "another"])

    def test_a_single_frames_file_is_no_sequence(self, tmp_path: Path) -> None:
        single = tmp_path / "one.csv"
        single.write_text("x,y\n" + "0.5,0.5\n" * 136)
        assert not is_sequence([single])
        assert not is_sequence([tmp_path / "absent.csv"])
        assert not is_sequence([tmp_path / "keypoints.json"])

    @pytest.mark.parametrize(
        ("arrays", "line"),
        [
            ({"keypoints": POINTS[:, :135]}, r"T × 136 × 2 numbers, T at least 1, got 5 × 135 × 2"),
            ({"keypoints": POINTS[0]}, r"T × 136 × 2 numbers, T at least 1, got 136 × 2"),
            ({"keypoints": POINTS[:0]}, r"T at least 1, got 0 × 136 × 2"),
            ({"keypoints": with_hole(POINTS)}, r"frame 3: .*got \(nan, nan\) for keypoint 7"),
            ({"keypoints": POINTS * 640}, "divide columns by the image's width"),
            ({"keypoints": POINTS, "weights": np.full(136, -1)}, "weights of at least 0, got -1 for keypoint 0"),
            ({"keypoints": POINTS, "weights": np.ones((4, 136))}, "weights of 5 × 136, got 4 × 136"),
            ({"keypoints": POINTS, "fps": 0}, "frames a second, got 0"),
            ({"points": POINTS}, "an array named keypoints, got points"),
            ({"keypoints": np.array(["a"])}, "keypoints of a sequence, got"),
        ],
    )  # fmt: skip
    def test_arrays_that_are_none_are_one_line(self, tmp_path: Path, arrays: dict[str, np.ndarray], line: str) -> None:
        path = tmp_path / "points.npz"
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=line) as told:
            open_sequence([path])
        assert "\n" not in str(told.value)

    def test_missing_columns_and_short_lines_are_named(self, tmp_path: Path, columns: dict[str, np.ndarray]) -> None:
        path = self.csv_of(tmp_path / "points.csv", [name for name in columns if name != "y90"], columns)
        with pytest.raises(InputError, match="columns y0 to y135, got none named y90"):
            open_sequence([path])
        self.csv_of(path, list(columns), columns)
        path.write_text(path.read_text() + "1,2\n")
        with pytest.raises(InputError, match="frame 6: expected 409 numbers, got 2"):
            open_sequence([path])
        self.csv_of(path, list(columns), {**columns, "x1": np.array(["0.5", "0.5", "half", "0.5", "0.5"])})
        with pytest.raises(InputError, match="frame 3: expected numbers, got 'half'"):
            open_sequence([path])

    def test_an_archive_that_unpacks_to_too_much_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "bomb.npz"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed, packed.open("keypoints.npy", "w") as member:
            for _ in range(257):
                member.write(bytes(1 << 20))
        with pytest.raises(InputError, match="once unpacked"):
            open_sequence([path])

    @settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_whatever_bytes_are_keypoints_or_one_line(self, tmp_path: Path, data: st.DataObject) -> None:
        suffix = data.draw(st.sampled_from((".csv", ".npz")))
        whole = io.BytesIO()
        if suffix == ".npz":
            np.savez(whole, keypoints=POINTS)
        else:
            whole.write("\n".join(",".join(f"{x:.3f}" for x in frame.ravel()) for frame in POINTS).encode())
        raw = bytearray(whole.getvalue())
        for _ in range(data.draw(st.integers(0, 6))):
            place = data.draw(st.integers(0, len(raw) - 1))
            raw[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
        path = tmp_path / f"points{suffix}"
        path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw)
        try:
            sequence = open_sequence([path])
        except InputError as error:
            line = str(error)
        else:
            line = "a sequence"
            points = np.stack([sequence.frame(frame).points.numpy() for frame in range(sequence.length)])
            assert points.shape[1:] == (136, 2)
            assert ((points >= 0) & (points <= 1)).all()
        assert "\n" not in line


def test_names_tell_cameras_in_any_order() -> None:
    assert [f.name for f in in_camera_order([Path("a-right.png"), Path("MOUTH.png"), Path("left_eye.png")])] == [
        "MOUTH.png",
        "left_eye.png",
        "a-right.png",
    ]
    unnamed = [Path("1.png"), Path("left.png"), Path("3.png")]
    assert in_camera_order(unnamed) == unnamed
