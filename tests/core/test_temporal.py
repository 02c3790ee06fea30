"""The temporal prior: it starts as the avatar's own, learns what the code before tells, and steadies sequences."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lipflow.avatar import Avatar
from lipflow.capture import PackedCapture, open_capture, pack
from lipflow.checks import InputError
from lipflow.cli import main
from lipflow.commands import temporal as temporal_command
from lipflow.evaluation.sequences import (
    METRICS,
    SequenceConfig,
    compare_ways,
    noisy_observations,
    second_difference,
    sequences_of,
    smoothed,
)
from lipflow.fitting import FitConfig, fit
from lipflow.observations import HmcObservation, KeypointObservation
from lipflow.runs import advance, opened
from lipflow.temporal import TemporalPrior, fit_sequence
from lipflow.temporal_training import Sequences, TemporalConfig, train_temporal
from lipflow.training_config import TrainConfig
from support.random_avatar import TINY_HMC, random_avatar, tiny_config

LM = FitConfig(optimiser="lm", iterations=15)
LATENT = 16


def last(states):
    while True:
        try:
            next(states)
        except StopIteration as stop:
            return stop.value


def keypoints_of(avatar: Avatar, z: torch.Tensor, noise: float = 1.0) -> KeypointObservation:
    points = avatar.keypoint_camera.project_normalised(avatar.decode_landmarks(z))
    return replace(KeypointObservation.for_avatar(avatar, points), noise=noise)


# ---- the prior


@pytest.mark.parametrize("prior", ["flow", "gaussian"])
def test_it_starts_as_the_avatars_own_prior_whatever_came_before(prior):
    avatar = random_avatar(tiny_config(prior, "kpt"))
    codes = torch.randn(30, LATENT, generator=torch.Generator().manual_seed(1))
    temporal = TemporalPrior.of(avatar, codes).eval()
    h = avatar.context(torch.stack([keypoints_of(avatar, z).keypoints for z in codes[:5]]))
    own = avatar.prior.log_prob(codes[:5], h)
    for context in (temporal.context(h, codes[5:10]), temporal.context(h, None)):
        torch.testing.assert_close(temporal.prior.log_prob(codes[:5], context), own, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(temporal.prior.start(context), avatar.prior.start(h), rtol=1e-4, atol=1e-4)


def test_an_unknown_code_before_is_as_good_as_none():
    avatar = random_avatar(tiny_config("flow", "kpt"))
    temporal = TemporalPrior.of(avatar, torch.randn(30, LATENT))
    h = torch.randn(3, 32)
    hidden = temporal.context(h, torch.randn(3, LATENT), torch.zeros(3))
    torch.testing.assert_close(hidden, temporal.context(h, None))
    shown = temporal.context(h, torch.randn(3, LATENT))
    assert (shown[:, -1] == 1).all()
    assert not torch.equal(shown, hidden)


def test_an_avatar_that_nothing_drives_has_no_prior_to_widen():
    with pytest.raises(InputError, match="driven by a signal"):
        TemporalPrior.of(random_avatar(tiny_config("standard-normal", None)), torch.zeros(4, LATENT))


def test_what_is_saved_is_loaded(tmp_path):
    avatar = random_avatar(tiny_config("flow", "kpt"))
    temporal = TemporalPrior.of(avatar, torch.randn(30, LATENT))
    torch.nn.init.normal_(temporal.prior.base_prior.head.weight)
    temporal.save(tmp_path / "t.safetensors")
    again = TemporalPrior.load(tmp_path / "t.safetensors")
    context = temporal.context(torch.randn(2, 32), torch.randn(2, LATENT))
    z = torch.randn(2, LATENT)
    torch.testing.assert_close(again.prior.log_prob(z, context), temporal.eval().prior.log_prob(z, context))
    assert again.avatar == temporal.avatar
    (tmp_path / "t.safetensors").write_bytes((tmp_path / "t.safetensors").read_bytes()[:2000])
    with pytest.raises(InputError, match="whole safetensors file"):
        TemporalPrior.load(tmp_path / "t.safetensors")
    avatar.save(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="lipflow-temporal"):
        TemporalPrior.load(tmp_path / "a.safetensors")


# ---- fits of sequences


@pytest.mark.parametrize("start", ["prior", "zero"])
def test_without_a_temporal_prior_every_frame_is_fitted_by_itself(start):
    config = replace(LM, iterations=2, start=start)
    avatar = random_avatar(tiny_config("flow", "kpt"))
    observations = [
        keypoints_of(avatar, torch.randn(LATENT, generator=torch.Generator().manual_seed(k))) for k in (1, 2)
    ]
    states = list(fit_sequence(avatar, observations, config))
    assert [state.frame for state in states] == [0, 1]
    for state, observation in zip(states, observations):
        *_, alone = fit(avatar, observation, config)
        np.testing.assert_allclose(state.z, alone.z, atol=1e-5)
        assert state.iterations == alone.iteration


def test_images_are_compared_under_a_temporal_prior_as_without_it():
    avatar = random_avatar(tiny_config("flow", "hmc"))
    temporal = TemporalPrior.of(avatar, torch.randn(30, LATENT, generator=torch.Generator().manual_seed(1))).eval()
    images = torch.rand(3, *TINY_HMC, generator=torch.Generator().manual_seed(2))
    seen = HmcObservation.for_avatar(avatar, images)
    energies = {}
    for edges in ("smooth", "hard"):
        config = FitConfig(iterations=3, edges=edges)
        (state,), (alone,) = (list(fit_sequence(avatar, [seen], config, temporal=t)) for t in (temporal, None))
        assert state.energy == pytest.approx(alone.energy, rel=1e-4)  # it starts as the avatar's own prior
        energies[edges] = state.energy
    assert energies["smooth"] != pytest.approx(energies["hard"], rel=1e-3)


def test_a_frame_in_which_nothing_is_seen_is_refused():
    avatar = random_avatar(tiny_config("flow", "hmc"))
    images = torch.rand(3, *TINY_HMC)
    with pytest.raises(InputError, match="expected some of the face inside the image"):
        next(fit_sequence(avatar, [HmcObservation.for_avatar(avatar, images, torch.zeros_like(images))]))


def test_a_prior_that_knows_the_code_before_holds_on_to_what_is_no_longer_seen():
    """Landmarks vanish in the second frame: the prior N(z_{t−1}, 0.1²), put there by hand, keeps the face."""
    avatar = random_avatar(tiny_config("gaussian", "kpt"))
    temporal = TemporalPrior.of(avatar, torch.randn(50, LATENT)).eval()
    head = temporal.prior.base_prior.head
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        order = temporal.prior.to_prior(torch.arange(16.0)[None], temporal.context(torch.zeros(1, 32), None))[0][0]
        head.weight[:LATENT, 32 : 32 + LATENT] = torch.diag(temporal.spread)[order.long()]
        head.bias[:LATENT] = temporal.mean[order.long()]
        head.bias[LATENT:] = -2.3
    z = torch.randn(LATENT, generator=torch.Generator().manual_seed(4))
    seen = keypoints_of(avatar, z, noise=0.05)
    blind = replace(seen, weights=torch.zeros(136))
    first, second = fit_sequence(avatar, [seen, blind], LM, temporal=temporal)
    np.testing.assert_allclose(second.z, first.z, atol=1e-3)
    alone = list(fit_sequence(avatar, [seen, blind], LM))
    assert np.abs(alone[1].z - alone[0].z).max() > 0.05


def test_a_prior_of_another_avatar_is_refused():
    avatar = random_avatar(tiny_config("gaussian", "kpt"))
    temporal = TemporalPrior.of(avatar, torch.randn(5, LATENT))
    other = random_avatar(tiny_config("gaussian", "kpt"))
    other.record = {"capture": "ann", "config_hash": "0123"}
    with pytest.raises(InputError, match="one of this avatar"):
        next(fit_sequence(other, [keypoints_of(other, torch.zeros(LATENT))], temporal=temporal))


# ---- training


class Wandering:
    """A capture of one face that wanders: keypoints show half of its code, and z_t is close to z_{t−1}."""

    def __init__(self, avatar: Avatar, frames: int = 2060, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        walk = np.zeros((frames, LATENT), np.float32)
        for t in range(1, frames):
            walk[t] = 0.97 * walk[t - 1] + 0.24 * rng.normal(size=LATENT)
        self.codes, self.avatar = torch.from_numpy(walk), avatar

    def sequences(self, part: slice) -> Sequences:
        """Encoded, as if Q were sharp."""
        mu = self.codes[part]
        before = torch.arange(len(mu)) - 1
        return Sequences(self, np.arange(part.start, part.stop), before, mu, torch.full_like(mu, -3.0))  # type: ignore[arg-type]

    landmarks = property(lambda self: self.avatar.landmarks)
    keypoint_camera = property(lambda self: self.avatar.keypoint_camera)

    def vertices(self, frames: np.ndarray) -> torch.Tensor:
        return self.avatar.decode_mesh(self.codes[torch.from_numpy(frames)])


@pytest.fixture(scope="module")
def wandering() -> Wandering:
    avatar = random_avatar(tiny_config("gaussian", "kpt"))
    avatar.prior.head.weight.zero_()  # N(0, I), whatever drives it: there is something to learn from h_t and z_{t−1}
    avatar.prior.head.bias.zero_()
    return Wandering(avatar)


def trained(
    wandering: Wandering, monkeypatch: pytest.MonkeyPatch, **changes: object
) -> tuple[TemporalPrior, list[float]]:
    parts = {"train": slice(0, 2000), "val": slice(2000, 2060)}
    monkeypatch.setattr(
        Sequences, "encoded", staticmethod(lambda avatar, packed, split: packed.sequences(parts[split]))
    )
    config = replace(TemporalConfig(steps=300, learning_rate=6e-3, validate_every=50, keypoint_noise=3.0), **changes)
    steps = train_temporal(wandering.avatar, wandering, config)  # type: ignore[arg-type]
    readings = []
    while True:
        try:
            readings.append(next(steps).validation)
        except StopIteration as stop:
            return stop.value, readings


def test_what_came_before_is_learnt_and_steadies_a_noisy_sequence(wandering, monkeypatch):
    temporal, with_memory = trained(wandering, monkeypatch)
    control, without = trained(wandering, monkeypatch, forget=1.0, steps=60)
    assert min(with_memory) < min(without) - 0.2  # nats a dimension
    avatar, codes = wandering.avatar, wandering.codes[2000:2060]
    truth = avatar.decode_mesh(codes)
    found = {}
    for name, prior in (("frame", None), ("control", control), ("temporal", temporal)):
        states = fit_sequence(avatar, noisy_observations(avatar, truth, 1.0, 5), LM, temporal=prior)
        vertices = avatar.decode_mesh(torch.stack([torch.from_numpy(state.z) for state in states]))
        error = float((vertices - truth).norm(dim=-1).mean())
        found[name] = error, float(second_difference(vertices - truth).mean())
    assert found["temporal"][0] < 0.9 * min(found["frame"][0], found["control"][0])
    assert found["temporal"][1] < 0.7 * min(found["frame"][1], found["control"][1])


def test_training_is_the_same_every_time_and_keeps_the_best(wandering, monkeypatch):
    first, readings = trained(wandering, monkeypatch, steps=12, validate_every=4)
    second, _ = trained(wandering, monkeypatch, steps=12, validate_every=4)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))
    assert len(set(readings)) == 4  # before the first step, and three times since
    ruined, _ = trained(wandering, monkeypatch, steps=4, validate_every=4, learning_rate=0.5)
    untouched = TemporalPrior.of(wandering.avatar, wandering.codes[:2000])
    assert torch.equal(ruined.prior.base_prior.head.weight, untouched.prior.base_prior.head.weight)


# ---- figures


def test_the_second_difference_is_that_of_the_vertices():
    t = torch.arange(6.0)[:, None, None]
    assert second_difference(t * torch.ones(6, 4, 3)).abs().max() < 1e-6
    torch.testing.assert_close(second_difference(t**2 * torch.ones(6, 4, 3)), torch.full((4,), 2 * 3**0.5))


def test_smoothing_is_causal():
    codes = torch.tensor([[0.0], [1.0], [1.0]])
    torch.testing.assert_close(smoothed(codes, 0.5), torch.tensor([[0.0], [0.5], [0.75]]))
    torch.testing.assert_close(smoothed(codes, 0.0), codes)


def test_noise_has_the_stated_size_and_comes_from_the_seed():
    avatar = random_avatar(tiny_config("gaussian", "kpt"))
    meshes = avatar.decode_mesh(torch.zeros(8, LATENT))
    clean = torch.stack([o.keypoints for o in noisy_observations(avatar, meshes, 1e-6, 0)])
    noisy = torch.stack([o.keypoints for o in noisy_observations(avatar, meshes, 2.0, 0)])
    height, width = avatar.keypoint_camera.size
    assert ((noisy - clean) * torch.tensor([width, height])).std().item() == pytest.approx(2.0, rel=0.1)
    again = torch.stack([o.keypoints for o in noisy_observations(avatar, meshes, 2.0, 0)])
    assert torch.equal(noisy, again)


@pytest.fixture(scope="module")
def capture_dir(tiny_capture_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = tmp_path_factory.mktemp("sequences") / "ann"
    shutil.copytree(tiny_capture_dir, own)
    return own


@pytest.fixture(scope="module")
def run_dir(capture_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = {"texture": 32, "photo": (48, 32), "hmc": (30, 40)}
    packed: PackedCapture = last(pack(open_capture(capture_dir), **sizes))
    folder = tmp_path_factory.mktemp("runs") / "seed-0"
    folder.mkdir()
    config = TrainConfig.of("lip-flow-kpt", "tiny", steps=2, batch=2)
    for _ in advance(opened(folder, config, packed, torch.device("cpu"), None), folder):
        pass
    return folder


def test_the_command_trains_and_compares(run_dir, capture_dir, tmp_path):
    options = ["--noise", "1", "--steps", "2", "--out", str(tmp_path)]
    status = main(["temporal", str(run_dir), "--capture", str(capture_dir), *options])
    packed = PackedCapture(next((capture_dir / "packed").iterdir()))
    assert sequences_of(packed, "test")
    assert status == 0
    body = json.loads((tmp_path / "temporal.json").read_text())
    assert [row["name"] for row in body["rows"]] == ["frame", "smoothed-20", "smoothed-40", "control", "temporal"]
    for row in body["rows"]:
        assert all(row[metric]["mean"] > 0 for metric in METRICS)
    assert body["rows"][0]["paired"] is None
    TemporalPrior.load(tmp_path / "temporal.safetensors")


def test_a_stopped_comparison_goes_on_with_the_priors_that_are_trained(run_dir, capture_dir, tmp_path, monkeypatch):
    trained = []

    def training(*args):
        trained.append(args[2].forget)
        return train_temporal(*args)

    def stopped(*args):
        raise KeyboardInterrupt

    command = ["temporal", str(run_dir), "--capture", str(capture_dir), "--noise", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(temporal_command, "train_temporal", training)
    monkeypatch.setattr(temporal_command, "compare_ways", stopped)
    for options, count in ((["--steps", "2"], 2), (["--steps", "2"], 2), (["--steps", "3"], 4)):
        assert main([*command, *options]) == 130
        assert len(trained) == count
    (tmp_path / "control.safetensors").write_bytes(b"cut")
    assert main([*command, "--steps", "3"]) == 130
    assert len(trained) == 5
    assert trained[-1] == 1.0


def test_mistakes_are_one_line():
    for bad in ({"forget": 1.5}, {"steps": 0}, {"keypoint_noise": -1.0}, {"seed": 2**64}):
        with pytest.raises(InputError):
            TemporalConfig(**bad)
    for noise in ((), (1.0, math.nan), (math.inf,)):
        with pytest.raises(InputError, match="noise: expected some numbers above 0"):
            SequenceConfig(noise=noise)
    with pytest.raises(InputError, match="keypoints drive"):
        next(compare_ways(random_avatar(tiny_config("gaussian", "hmc")), None, {}))  # type: ignore[arg-type]
