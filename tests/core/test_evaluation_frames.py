"""Which frames and cameras models are judged on, and what is taken away from them."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from lipflow.capture import FrameId, open_capture
from lipflow.checks import InputError
from lipflow.evaluation.evaluating import EvaluationConfig
from lipflow.evaluation.frames import (
    EvaluationFrames,
    FrameCounts,
    FrameSizes,
    evaluation_cameras,
    pack_frames,
    spread_over_expressions,
)
from lipflow.evaluation.impoverished import LEVELS, Level, Means, farthest_order
from lipflow.evaluation.judging import (
    COLUMNS,
    Record,
    judge_surface,
    mean_frame,
    mean_psnr,
    read_records,
    recorded,
    write_records,
)
from lipflow.rendering import make_renderer

SIZES = FrameSizes(32, (48, 32), (30, 40))


def packed(capture_dir: Path, counts: FrameCounts) -> EvaluationFrames:
    states = pack_frames(open_capture(capture_dir), SIZES, counts)
    while True:
        try:
            next(states)
        except StopIteration as stop:
            return stop.value


@pytest.fixture(scope="module")
def frames(tiny_capture_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluationFrames:
    own = tmp_path_factory.mktemp("judged") / tiny_capture_dir.name  # packing writes into the capture
    shutil.copytree(tiny_capture_dir, own)
    return packed(own, FrameCounts(test=5, val=2, train=4))


def test_frames_are_spread_over_the_expressions() -> None:
    ids = [FrameId("long", k) for k in range(90)] + [FrameId("short", k) for k in range(9)]
    chosen = spread_over_expressions(ids, 7)
    assert [id.number for id in chosen if id.segment == "long"] == [0, 30, 59, 89]
    assert [id.number for id in chosen if id.segment == "short"] == [0, 4, 8]
    assert {id.segment for id in spread_over_expressions(ids, 2)} == {"long", "short"}
    assert spread_over_expressions(ids[:3], 5) == ids[:3]


def test_the_cameras_are_the_most_frontal_and_those_to_the_sides(tiny_capture_dir: Path) -> None:
    capture = open_capture(tiny_capture_dir)
    cameras = dict(evaluation_cameras(capture, capture.frames))
    views = {view: capture.cameras[name].in_head_frame(torch.eye(3, 4)).view for view, name in cameras.items()}
    assert set(views) == {"front", "left", "right"}
    assert views["front"][2] > 0.95
    assert views["left"][0] > 0.3  # the wearer's left is +x
    assert views["right"][0] < -0.3


def test_truth_and_what_is_seen_are_of_the_same_frames(frames: EvaluationFrames, tiny_capture_dir: Path) -> None:
    capture = open_capture(tiny_capture_dir)
    test = frames.indices("test")
    assert len(test) == 5
    assert {frames.packed.frames[int(i)] for i in test} <= set(capture.split["test"])
    truth, seen = frames.truth(test, "front"), frames.seen(test)
    torch.testing.assert_close(seen.photo, truth.photo)
    id = frames.packed.frames[int(test[-1])]
    torch.testing.assert_close(truth.vertices[-1], capture.vertices(id))
    own = capture.camera(id, dict(frames.cameras)["left"])
    torch.testing.assert_close(frames.truth(test, "left").camera[4].R, own.R)


def test_only_the_folder_travels_between_processes(frames: EvaluationFrames) -> None:
    assert len(frames.packed) > 0  # mapped by now
    sent = pickle.dumps(frames)
    assert len(sent) < 2000
    again = pickle.loads(sent)
    assert again == frames
    assert len(again.packed) == len(frames.packed)


def test_a_capture_without_held_out_expressions_is_refused(tiny_capture_dir: Path) -> None:
    capture = open_capture(tiny_capture_dir)
    capture.split = {**capture.split, "val": []}
    with pytest.raises(InputError, match=r"split\.json"):
        next(pack_frames(capture, SIZES, FrameCounts()))


def test_the_truth_itself_is_judged_perfect(frames: EvaluationFrames) -> None:
    """A surface with the tracked mesh has no geometric error, and its figures depend on the texture alone."""
    test, renderer = frames.indices("test"), make_renderer(frames.packed.topology)
    vertices = frames.packed.vertices(test)
    textures = frames.packed.batch(test, 0).average_texture
    good = judge_surface(lambda part, _: (vertices[part], textures[part]), frames, renderer, test)
    worse = judge_surface(lambda part, _: (vertices[part] + 1.0, 0.3 * textures[part]), frames, renderer, test)
    assert len(good) == 3 * len(test)
    assert {figure.camera for figure in good} == {"front", "left", "right"}
    assert max(figure.geom_mm for figure in good) == 0
    assert min(figure.geom_mm for figure in worse) == pytest.approx(3**0.5, rel=1e-4)
    std = frames.packed.statistics.vertex_std
    assert worse[0].geom == pytest.approx(3 / std**2, rel=1e-3)
    assert mean_psnr(good) > mean_psnr(worse) + 2
    assert np.mean([a.ssim for a in good]) > np.mean([b.ssim for b in worse])


def test_the_mean_frame_is_the_mean_of_training_frames_only(frames: EvaluationFrames) -> None:
    train, packed = frames.indices("train"), frames.packed
    vertices, texture = mean_frame(frames)(slice(0, 2), frames.truth(train[:2], "front"))
    torch.testing.assert_close(vertices[0], packed.vertices(train).mean(0))
    torch.testing.assert_close(vertices[0], vertices[1])
    textures = packed.batch(train, 0).average_texture
    seen = textures > 0
    torch.testing.assert_close(texture[0][seen.all(0)], textures.mean(0)[seen.all(0)])
    partly = seen.any(0) & ~seen.all(0)
    assert (texture[0][partly] > textures.mean(0)[partly]).all()  # an unseen texel is not a black one


def test_the_ceiling_is_what_was_recorded_drawn_as_a_sensor_sees_it(frames: EvaluationFrames) -> None:
    test, renderer = frames.indices("test"), make_renderer(frames.packed.topology)
    truth = frames.truth(test[:2], "left")
    vertices, texture = recorded(slice(0, 2), truth)
    assert vertices is truth.vertices
    place = frames.packed.cameras_of(int(test[0])).index(dict(frames.cameras)["left"])
    batch = frames.packed.batch(test[:2], place)
    seen = batch.view_texture > 0
    torch.testing.assert_close(texture[seen], batch.view_texture[seen])
    torch.testing.assert_close(texture[~seen], batch.average_texture[~seen])
    ceiling, floor = (judge_surface(s, frames, renderer, test) for s in (recorded, mean_frame(frames)))
    assert mean_psnr(ceiling) > mean_psnr(floor)


def test_records_survive_the_file(tmp_path: Path) -> None:
    record = Record(
        "someone", "dam", 3, 2, "dam/fit", "test", "smile", 17, "left", 31.25, 0.875, 0.5, 1.5, 12.5, "0123456789ab"
    )
    floor = Record("someone", "", None, 2, "mean-frame", "test", "smile", 17, "left", 20.0, 0.5, 1.0, 2.0, 0.0, "")
    write_records(tmp_path / "frames.csv", [record, floor])
    assert (tmp_path / "frames.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    assert read_records(tmp_path / "frames.csv") == [record, floor]
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="columns"):
        read_records(tmp_path / "other.csv")


def test_landmarks_are_dropped_so_that_the_rest_is_spread() -> None:
    points = torch.rand(136, 3, generator=torch.Generator().manual_seed(0))
    order = farthest_order(points)
    assert sorted(order) == list(range(136))
    kept, first = points[list(order[:17])], points[:17]

    def spacing(of: torch.Tensor) -> float:
        return float((torch.cdist(of, of) + torch.eye(len(of)) * 9).min(0).values.min())

    assert spacing(kept) > 2 * spacing(first)
    assert farthest_order(torch.zeros(4, 3))[0] == 0  # points in one place are no trap
    assert sorted(farthest_order(torch.zeros(4, 3))) == [0, 1, 2, 3]


def test_what_is_absent_is_the_mean_to_the_encoder_and_nothing_to_the_energy(frames: EvaluationFrames) -> None:
    test, means = frames.indices("test"), Means.of(frames)
    full = frames.seen(test)
    few = means.impoverish(Level("kpt", "landmarks", 17))(full, test)
    kept = few.weights > 0
    assert int(kept.sum()) == 17
    torch.testing.assert_close(few.keypoints[:, kept], full.keypoints[:, kept])
    torch.testing.assert_close(few.keypoints[:, ~kept], means.keypoints[~kept].expand(len(test), -1, -1))
    fewer = means.impoverish(Level("kpt", "landmarks", 34))(full, test)
    assert (fewer.weights[kept] > 0).all()  # nested

    one = means.impoverish(Level("hmc", "views", 1))(full, test)
    assert float(one.hmc_mask[:, 1:].sum()) == 0
    torch.testing.assert_close(one.hmc[:, 0], full.hmc[:, 0])
    torch.testing.assert_close(one.hmc[:, 1:], means.hmc[1:].expand(len(test), -1, -1, -1))
    assert float(full.hmc_mask[:, 1:].sum()) > 0  # what was given is left as it was


def test_noise_is_the_same_for_every_model_and_known_to_the_energy(frames: EvaluationFrames) -> None:
    test, means = frames.indices("test"), Means.of(frames)
    full = frames.seen(test)
    noisy = means.impoverish(Level("kpt", "noise", 4))(full, test)
    again = means.impoverish(Level("kpt", "noise", 4))(full, test)
    torch.testing.assert_close(noisy.keypoints, again.keypoints)
    assert noisy.keypoint_noise == pytest.approx((0.5**2 + 4**2) ** 0.5)
    height, width = full.keypoint_size
    pixels = (noisy.keypoints - full.keypoints) * torch.tensor([width, height])
    inside = (noisy.keypoints > 0) & (noisy.keypoints < 1)
    assert float(pixels[inside].std()) == pytest.approx(4.0, rel=0.1)
    clean = means.impoverish(Level("kpt", "noise", 0))(full, test)
    torch.testing.assert_close(clean.keypoints, full.keypoints)


def test_levels_begin_with_the_full_input() -> None:
    assert [level.level for level in LEVELS if level.axis == "landmarks"] == [136, 68, 34, 17]
    assert [level.level for level in LEVELS if level.axis == "noise"] == [0, 1, 2, 4]
    assert [level.level for level in LEVELS if level.axis == "views"] == [3, 2, 1]


@pytest.mark.parametrize(
    "options", [{"tables": ()}, {"tables": (1, 6)}, {"counts": FrameCounts(test=0)}, {"rungs": (0,)}, {"rungs": ()}]
)
def test_an_evaluation_of_nothing_is_refused(options: dict) -> None:
    with pytest.raises(InputError):
        EvaluationConfig(**options)


def test_indices_are_those_of_the_pack(frames: EvaluationFrames) -> None:
    parts = [frames.indices(split) for split in ("train", "val", "test")]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(frames.packed)))
