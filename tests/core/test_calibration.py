"""Calibration: a posterior that is right covers what it says, one that is not is told so."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lipflow.capture import PackedCapture, open_capture, pack
from lipflow.checks import InputError
from lipflow.cli import main
from lipflow.evaluation.calibration import (
    FILE,
    NOMINAL,
    Calibration,
    CalibrationConfig,
    calibrate,
    calibrate_run,
    decoder_error,
    entries,
    from_json,
    kept_entries,
    places,
    to_json,
)
from lipflow.evaluation.frames import EvaluationFrames, FrameCounts, pack_frames
from lipflow.evaluation.runs import Run
from lipflow.fitting import FitConfig, make_problem
from lipflow.posterior import PosteriorConfig, sample_posterior
from lipflow.runs import advance, opened
from lipflow.training_config import TrainConfig
from support.linear import LATENT, SolvedObservation, straight_avatar

QUICK = CalibrationConfig(frames=2, posterior=PosteriorConfig(samples=24, chains=8, warmup=4, thin=1))


def last(states):
    while True:
        try:
            next(states)
        except StopIteration as stop:
            return stop.value


@pytest.mark.parametrize("overconfident", [False, True])
def test_a_right_posterior_covers_what_it_says_and_a_wrong_one_does_not(overconfident):
    """Truths drawn from the prior, seen through noise; the wrong posterior believes the noise to be a third."""
    avatar = straight_avatar()
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(6, LATENT, generator=generator)
    config = PosteriorConfig(samples=150, sampler="weights", batch=150, textures=False)
    covered = []
    for k in range(60):
        truth = torch.randn(LATENT, generator=generator)
        given = matrix @ truth + 3.0 * torch.randn(6, generator=generator)
        observation = SolvedObservation(matrix, given, noise=1.0 if overconfident else 3.0)
        problem = make_problem(avatar, observation, FitConfig(prior="standard-normal"))
        *_, state = sample_posterior(problem, torch.zeros(LATENT), config, seed=k)
        vertices, weights = avatar.decode_mesh(torch.from_numpy(state.posterior.codes)), state.posterior.weights
        place = places(vertices, torch.from_numpy(weights), avatar.decode_mesh(truth))
        covered.append([float(((place - 0.5).abs() <= p / 2).float().mean()) for p in NOMINAL])
    apart = np.mean(covered, 0) - NOMINAL
    if overconfident:
        assert (apart < -0.05).all()
    else:
        np.testing.assert_allclose(apart, 0, atol=0.035)


def test_the_truths_place_among_weighted_draws():
    draws = torch.tensor([0.0, 1.0, 2.0]).view(3, 1, 1).expand(3, 1, 3)
    truth = torch.tensor([[-1.0, 1.0, 1.5]])
    weights = torch.tensor([0.5, 0.2, 0.3])
    torch.testing.assert_close(places(draws, weights, truth), torch.tensor([[0.0, 0.6, 0.7]]))
    wide = places(draws, weights, truth, torch.full((1, 3), 1e6))
    torch.testing.assert_close(wide, torch.full((1, 3), 0.5), atol=1e-5, rtol=0)
    sharp = places(draws, weights, truth, torch.full((1, 3), 1e-3))
    torch.testing.assert_close(sharp, torch.tensor([[0.0, 0.6, 0.7]]))


# ---- runs


@pytest.fixture(scope="module")
def capture_dir(tiny_capture_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = tmp_path_factory.mktemp("calibrated") / "ann"
    shutil.copytree(tiny_capture_dir, own)
    return own


@pytest.fixture(scope="module")
def runs(capture_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two seeds of one variant and one that headset images drive, of two steps each."""
    sizes = {"texture": 32, "photo": (48, 32), "hmc": (30, 40), "cameras_per_frame": 1, "slop_variants": 0}
    packed: PackedCapture = last(pack(open_capture(capture_dir), **sizes))
    out = tmp_path_factory.mktemp("runs") / "ann"
    made = []
    for variant, seed in (("lip-flow-kpt", 0), ("lip-flow-kpt", 1), ("dam-enc-hmc", 0)):
        folder = out / variant / f"seed-{seed}"
        folder.mkdir(parents=True)
        config = TrainConfig.of(variant, "tiny", seed=seed, steps=2, batch=2)
        for _ in advance(opened(folder, config, packed, torch.device("cpu"), None), folder):
            pass
        made.append(Run.open(folder))
    return made


@pytest.fixture(scope="module")
def frames(capture_dir: Path, runs: list[Run]) -> EvaluationFrames:
    return last(pack_frames(open_capture(capture_dir), runs[0].sizes(), FrameCounts(test=3, val=1, train=2)))


def test_a_run_is_calibrated_once(runs, frames):
    states = list(calibrate(runs[0].avatar(), frames, QUICK))
    assert [(state.done, state.total) for state in states] == [(0, 2), (1, 2), (2, 2)]
    found = last(calibrate_run(runs[0], frames, QUICK))
    assert set(found.coverage) == {"codes", "predictive"}
    assert found.coverage["codes"].shape == (2, len(NOMINAL))
    assert (np.diff(found.coverage["predictive"], axis=1) >= 0).all()
    assert found.histogram["codes"].sum() == pytest.approx(1)
    assert (runs[0].folder / FILE).is_file()
    again = calibrate_run(runs[0], frames, QUICK)
    with pytest.raises(StopIteration) as ended:
        next(again)  # read, not made
    np.testing.assert_allclose(ended.value.value.coverage["codes"], found.coverage["codes"])
    assert next(calibrate_run(runs[0], frames, replace(QUICK, seed=1))).total == 2  # of another seed: made anew
    body = json.loads((runs[0].folder / FILE).read_text())
    del body["coverage"]
    (runs[0].folder / FILE).write_text(json.dumps(body))
    assert next(calibrate_run(runs[0], frames, QUICK)).total == 2  # damaged: made anew


def test_an_avatar_without_an_encoder_has_no_error_of_its_own_to_add(runs, frames):
    avatar = runs[2].avatar()
    assert decoder_error(avatar, frames) is None
    found = last(calibrate(avatar, frames, replace(QUICK, frames=1)))
    assert set(found.coverage) == {"codes"}
    assert found.decoder_mm is None


def test_entries_are_means_over_runs_with_intervals(runs):
    def made(coverage: float) -> Calibration:
        rows = np.full((3, len(NOMINAL)), coverage)
        flat = {"codes": np.full(20, 0.05)}
        return Calibration(("a", "a", "b"), {"codes": rows}, flat, np.ones(3), np.ones(3), np.ones(3), None)

    (entry,) = entries([(runs[0], made(0.4)), (runs[1], made(0.6))])
    assert (entry["variant"], entry["n"], entry["nominal"]) == ("lip-flow-kpt", 6, list(NOMINAL))
    assert all(point["mean"] == pytest.approx(0.5) for point in entry["coverage"])
    assert entry["coverage"][0]["low"] < 0.5 < entry["coverage"][0]["high"]
    json.dumps(entry, allow_nan=False)


def test_what_is_kept_is_read_back():
    rows = np.random.default_rng(0).random((2, len(NOMINAL)))
    first = Calibration(
        ("a", "b"), {"codes": rows}, {"codes": np.ones(20)}, np.array([np.nan, 2]), np.ones(2), np.ones(2), 0.5
    )
    again = from_json(json.loads(json.dumps(to_json(first), allow_nan=False)))
    np.testing.assert_array_equal(again.coverage["codes"], rows)
    np.testing.assert_array_equal(again.ess, first.ess)
    assert again.expressions == ("a", "b")
    with pytest.raises(InputError, match="calibration: expected"):
        from_json({"expressions": []})


def test_the_command_fills_the_results(runs, capture_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(PosteriorConfig, "for_observation", staticmethod(lambda observation: QUICK.posterior))
    body = {"format": "lipflow-evaluation", "version": 1, "calibration": None}
    (tmp_path / "results.json").write_text(json.dumps(body))
    arguments = ["calibrate", str(runs[0].folder), "--capture", str(capture_dir), "--out", str(tmp_path)]
    assert main([*arguments, "--frames", "2"]) == 0
    kept = json.loads((tmp_path / "results.json").read_text())
    assert kept["format"] == "lipflow-evaluation"
    assert [entry["kind"] for entry in kept["calibration"]] == ["codes", "predictive"]
    assert json.loads((tmp_path / FILE).read_text())["entries"] == kept["calibration"]
    (tmp_path / "results.json").write_text("[]")
    assert main([*arguments, "--frames", "2"]) == 2


def test_results_that_are_made_anew_keep_the_calibration_of_the_same_runs(tmp_path):
    path, found = tmp_path / "results.json", [{"variant": "lip-flow-kpt"}]
    own, other = {"variant": "lip-flow-kpt", "seconds": 3.5}, {"variant": "dam", "seconds": 2.5}
    assert kept_entries(path, {"runs": [own]}) is None
    path.write_text(json.dumps({"calibration": found, "runs": [own, other]}))
    assert kept_entries(path, {"runs": [own]}) == found
    assert kept_entries(path, {"runs": [other, own, {**own, "seconds": 4.0}]}) == found
    assert kept_entries(path, {"runs": [other, {**own, "seconds": 4.0}]}) is None  # trained anew
    for nothing in ("", "[]", "{}", json.dumps({"calibration": None, "runs": [own]})):
        path.write_text(nothing)
        assert kept_entries(path, {"runs": [own]}) is None


def test_mistakes_are_one_line():
    for bad in ({"frames": 0}, {"driving": "audio"}, {"seed": -1}):
        with pytest.raises(InputError):
            CalibrationConfig(**bad)
