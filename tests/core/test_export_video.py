"""Videos read back by another reader: what they show, in which colours, and that an unfinished one leaves nothing."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch

from lipflow.camera import Camera
from lipflow.checks import InputError
from lipflow.colour import to_picture
from lipflow.export_render import head_camera, render_face
from lipflow.export_video import VideoConfig, code_video, turntable, write_video
from lipflow.observations import render_views
from support.random_avatar import random_avatar, tiny_config

SMALL = VideoConfig(size=(64, 48), fps=8, seconds=1.0, hold=0.5)
NEAR = 12  # of 255: what encoding may change in the mean over a face


@pytest.fixture(scope="module")
def avatar():
    return random_avatar(tiny_config("flow", "kpt"))


@pytest.fixture(scope="module")
def codes():
    return torch.randn(3, 16, generator=torch.Generator().manual_seed(3)).numpy()


def read(path: Path) -> tuple[dict, np.ndarray]:
    """What the file says of itself, and its pictures [N, h, w, 3]."""
    reader = imageio_ffmpeg.read_frames(path)
    about = next(reader)
    width, height = about["size"]
    return about, np.stack([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader])


def plain(count: int, colour: tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> Iterator[np.ndarray]:
    return (np.full((*size, 3), colour, np.uint8) for _ in range(count))


def differ(a: np.ndarray, b: np.ndarray) -> float:
    return float(abs(a.astype(float) - b.astype(float)).mean())


def test_a_turntable_goes_all_around(tmp_path, avatar, codes):
    states = list(turntable(tmp_path / "turn.mp4", avatar, codes[0], SMALL))
    assert [(state.done, state.total) for state in states] == [(k, 8) for k in range(1, 9)]
    assert [path.name for path in tmp_path.iterdir()] == ["turn.mp4"]
    about, frames = read(tmp_path / "turn.mp4")
    assert frames.shape == (8, 64, 48, 3)
    assert (about["fps"], about["codec"]) == (8, "h264")
    cameras = [head_camera(avatar.vertex_mean, SMALL.size, 45.0 * k) for k in range(8)]
    renders = [render_face(avatar, torch.from_numpy(codes[0]), camera) for camera in cameras]
    nearest = [int(np.argmin([differ(frame, render) for render in renders])) for frame in frames]
    assert nearest == list(range(8))


def test_codes_are_shown_in_their_order_and_the_last_one_stays(tmp_path, avatar, codes):
    list(code_video(tmp_path / "way.mp4", avatar, codes, SMALL))
    _, frames = read(tmp_path / "way.mp4")
    assert len(frames) == 8 + 4
    camera = head_camera(avatar.vertex_mean, SMALL.size)
    for frame, code in ((0, codes[0]), (7, codes[2]), (11, codes[2])):
        assert differ(frames[frame], render_face(avatar, torch.from_numpy(code), camera)) < NEAR
    between = codes[0] + (codes[1] - codes[0]) * 6 / 7  # frame 3 of 7 steps over 2 legs
    assert differ(frames[3], render_face(avatar, torch.from_numpy(between), camera)) < NEAR


def test_a_single_code_stands_still(tmp_path, avatar, codes):
    list(code_video(tmp_path / "still.mp4", avatar, codes[:1], SMALL))
    assert len(read(tmp_path / "still.mp4")[1]) == 1 + 4


def test_a_picture_stands_beside_in_its_own_colours(tmp_path, avatar, codes):
    orange = np.full((32, 20, 3), (220, 120, 40), np.uint8)
    list(code_video(tmp_path / "beside.mp4", avatar, codes[:1], SMALL, beside=orange))
    _, frames = read(tmp_path / "beside.mp4")
    assert frames.shape[1:] == (64, 48 + 40, 3)
    np.testing.assert_allclose(frames[:, 20:40, 10:30].mean((0, 1, 2)), (220, 120, 40), atol=3)


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (200, 30, 30), (30, 160, 60), (20, 60, 210)])
def test_colours_survive(tmp_path, colour):
    list(write_video(tmp_path / "plain.mp4", plain(3, colour), 3, (64, 48), 10))
    np.testing.assert_allclose(read(tmp_path / "plain.mp4")[1].mean((0, 1, 2)), colour, atol=4)


def test_a_cancelled_video_leaves_nothing_and_an_older_one_as_it_was(tmp_path, avatar, codes):
    writing = turntable(tmp_path / "turn.mp4", avatar, codes[0], SMALL)
    next(writing), next(writing)
    assert len(list(tmp_path.iterdir())) == 1  # beside its place
    writing.close()
    assert not list(tmp_path.iterdir())
    (tmp_path / "turn.mp4").write_text("older")
    writing = turntable(tmp_path / "turn.mp4", avatar, codes[0], SMALL)
    next(writing)
    writing.close()
    assert (tmp_path / "turn.mp4").read_text() == "older"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_disk_that_takes_no_more_is_told_and_leaves_nothing(tmp_path):
    """A limit on the size of files stands for the full disk."""
    noise = np.random.default_rng(0)
    frames = (noise.integers(0, 255, (128, 128, 3), np.uint8) for _ in range(40))
    limits, action = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            list(write_video(tmp_path / "noise.mp4", frames, 40, (128, 128), 10))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, action)
    assert not list(tmp_path.iterdir())


def test_a_place_that_takes_no_file_is_told_by_the_system(tmp_path, avatar, codes):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="file"):
        list(turntable(tmp_path / "file" / "turn.mp4", avatar, codes[0], SMALL))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_encoder_that_ends_without_a_word_is_noticed(tmp_path):
    with pytest.raises(OSError, match="encoder failed"):
        list(write_video(tmp_path / "short.mp4", plain(3, (9, 9, 9)), 5, (64, 48), 10))
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_a_video_is_refused(tmp_path, avatar, codes):
    with pytest.raises(InputError, match=r"expected .mp4, got '.avi'"):
        turntable(tmp_path / "turn.avi", avatar, codes[0])
    with pytest.raises(InputError, match="codes: expected"):
        turntable(tmp_path / "turn.mp4", avatar, codes[0, :5])
    with pytest.raises(InputError, match="codes: expected at least one"):
        code_video(tmp_path / "way.mp4", avatar, codes[:0])
    for changes in ({"size": (63, 48)}, {"size": (64, 8)}, {"fps": 0}, {"seconds": 0.0}, {"hold": -1.0}):
        with pytest.raises(InputError, match="expected"):
            VideoConfig(**changes)
    assert not list(tmp_path.iterdir())


def test_the_whole_head_is_in_view_from_all_sides(avatar):
    for azimuth in (0, 37, 90, 200, 290):
        for size in ((64, 48), (48, 64), (64, 64)):
            pixels = head_camera(avatar.vertex_mean, size, azimuth, 15).project_normalised(avatar.vertex_mean)
            assert pixels.min() > 0
            assert pixels.max() < 1
            assert (pixels.amax(0) - pixels.amin(0)).max() > 0.5
    assert head_camera(avatar.vertex_mean, (64, 64), 90).centre[0] > 100


@pytest.mark.parametrize("eye", [(0, 0, 900), (500, 300, 600), (300, 0, 260), (60, 0, 100), (0, 0, 3000)], ids=str)
def test_nothing_is_missing_where_only_the_faces_part_is_drawn(avatar, codes, eye):
    """In full view, at an angle, cut by the picture's edge, from within, and far away."""
    camera = Camera.look_at(eye, (40, 20, 0), 100.0, (60, 80))
    z = torch.from_numpy(codes[:1])
    with torch.no_grad():
        rgb, _ = render_views(avatar, z, Camera.stack([camera.resized((120, 160))]))
    whole = to_picture(torch.nn.functional.avg_pool2d(rgb[0], 2)[0]).astype(int)
    picture = render_face(avatar, z[0], camera)
    assert whole.max() > 50
    assert abs(picture - whole).max() <= 1 or (abs(picture - whole) > 1).mean() < 1e-3  # a rounded edge


def test_a_camera_that_looks_away_sees_nothing(avatar, codes):
    camera = Camera.look_at((0, 0, 900), (3000, 0, 0), 100.0, (60, 80))
    assert not render_face(avatar, torch.from_numpy(codes[0]), camera).any()
