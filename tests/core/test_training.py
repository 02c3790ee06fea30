"""Training: who learns from what, stopping and going on, one frame, and what it refuses."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lipflow import __version__, training_start
from lipflow.avatar import Avatar
from lipflow.capture.multiface import open_capture
from lipflow.capture.packed import PackedCapture, pack
from lipflow.checks import InputError
from lipflow.objective import CYCLES, Latent
from lipflow.serial import from_json
from lipflow.training import Training
from lipflow.training_config import TrainConfig, one_cycle
from lipflow.training_start import mesh_pca
from lipflow.variants import PARTS, VARIANTS
from support.random_avatar import stir_prior
from support.tiny_avatar import tiny_avatar
from support.tiny_capture import write_tiny_capture

PACK: dict[str, Any] = {"texture": 32, "photo": (48, 32), "hmc": (30, 40)}
Q_AND_D, P, ALL = {"encoder", "decoder"}, {"driver", "prior"}, set(PARTS)


@pytest.fixture(scope="session")
def packed(tiny_capture_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> PackedCapture:
    return packed_at(open_capture(tiny_capture_dir), tmp_path_factory.mktemp("pack") / "tiny", **PACK)


@pytest.fixture(scope="session")
def dam(packed: PackedCapture) -> Avatar:
    return Training(config("dam"), packed).finished_avatar()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors; more threads only wait for one another on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def packed_at(capture: Any, folder: Path, **sizes: Any) -> PackedCapture:
    for _ in pack(capture, folder=folder, **sizes):
        pass
    return PackedCapture(folder)


def config(variant: str, **changes: Any) -> TrainConfig:
    return TrainConfig.of(variant, "tiny", **{"steps": 6, "snapshot_every": 100, "log_every": 1, **changes})


def started(variant: str, packed: PackedCapture, dam: Avatar, **changes: Any) -> Training:
    """A run whose flow is no longer the identity that it starts as."""
    training = Training(config(variant, **changes), packed, base=dam if VARIANTS[variant].starts_from else None)
    stir_prior(training.avatar)
    return training


def terms(training: Training) -> dict[str, Tensor]:
    batch = training.next_batch()
    return training.objective.terms(
        training.avatar,
        batch,
        training.driving_signal(batch),
        training.noise(),
        renderer=training._renderer,
    ).losses


def learners(training: Training, loss: Tensor) -> set[str]:
    """The parts that ``loss`` moves: those with more than a rounding error of its gradient."""
    parameters = [(name, p) for name, p in training.avatar.named_parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, [p for _, p in parameters], retain_graph=True, allow_unused=True)
    norms = dict.fromkeys(PARTS, 0.0)
    for (name, _), gradient in zip(parameters, gradients):
        if gradient is not None:
            norms[name.split(".")[0]] += float(gradient.double().square().sum())
    return {part for part, square in norms.items() if square**0.5 > 1e-4 * sum(norms.values()) ** 0.5}


@pytest.mark.parametrize("latent_loss", ["nll", "mc-kl"])
def test_the_flows_other_latent_losses_take_the_same_routes(
    latent_loss: str, packed: PackedCapture, dam: Avatar
) -> None:
    training = started("lip-flow-kpt", packed, dam, latent_loss=latent_loss, sigma_q="free")
    assert learners(training, terms(training)["latent"]) == {"encoder", *P}


class TestTrap3TheFlowCycleIsAnIdentity:
    def test_it_changes_no_reconstruction(self, packed: PackedCapture, dam: Avatar) -> None:
        one, two = (terms(started("lip-flow-kpt", packed, dam, cycle=cycle)) for cycle in ("none", "literal"))
        for name in one:
            torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5)

    def test_a_jittered_cycle_does_carry_signal(self, packed: PackedCapture, dam: Avatar) -> None:
        training = started("lip-flow-kpt", packed, dam, cycle="jittered")
        assert learners(training, terms(training)["texture"]) == ALL
        silent = started("lip-flow-kpt", packed, dam, cycle="jittered", jitter=0.0)
        assert learners(silent, terms(silent)["texture"]) == Q_AND_D

    def test_the_jitter_grows_with_u_so_that_nothing_is_gained_by_its_size(self) -> None:
        """P scaled with all that lies in it, σp too, decodes to the same: else u would grow without end."""
        avatar = tiny_avatar("lip-flow-kpt-jittered").double()  # what cancels is large: float32 leaves some of it
        z, noise = torch.randn(2, 4, avatar.config.latent, dtype=torch.float64)
        h = avatar.context(torch.rand(4, 136, 2, dtype=torch.float64))
        scale = torch.tensor(1.0, requires_grad=True, dtype=torch.float64)

        class Scaled:
            """The prior's flow, followed by a factor."""

            @staticmethod
            def to_decoder(u: Tensor, h: Tensor) -> Tensor:
                return avatar.prior.to_decoder(u / scale, h)

        u, _ = avatar.prior.to_prior(z, h)
        mu, log_sigma = avatar.prior.base(h)
        nothing = torch.zeros(4)
        codes = Latent(mu, log_sigma, z, scale * u, nothing, scale * mu, log_sigma + scale.log())
        CYCLES["jittered"](Scaled(), codes, h, 0.3, noise).square().sum().backward()
        assert abs(float(scale.grad)) < 1e-6 * float(z.square().sum())


@pytest.mark.parametrize("variant", ["lip-flow-hmc", "lip-flow-kpt-decode-p", "dam-reg-kpt", "dam-enc-hmc"])
def test_a_resumed_run_ends_bit_for_bit_the_same(
    variant: str, packed: PackedCapture, dam: Avatar, tmp_path: Path
) -> None:
    base = dam if VARIANTS[variant].starts_from else None
    whole = Training(config(variant, validate_every=2), packed, base=base)
    states = list(whole.run())
    half = Training(config(variant, validate_every=2), packed, base=base)
    list(islice(half.run(), 3))
    half.save(tmp_path / "run.safetensors")
    torch.manual_seed(99)  # the global generator plays no part
    resumed = Training.resume(tmp_path / "run.safetensors", packed)
    assert resumed.step == 3
    later = list(resumed.run())
    assert [s.step for s in later] == [4, 5, 6]
    assert [s.scalars for s in later] == [s.scalars for s in states[3:]]
    assert later[-1].validation == states[-1].validation
    one, two = whole.state_dict()[0], resumed.state_dict()[0]
    assert set(one) == set(two)
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


def test_validation_leaves_the_training_alone(packed: PackedCapture) -> None:
    often, seldom = (Training(config("lip-flow-hmc", validate_every=every), packed) for every in (1, 6))
    for one, two in zip(often.run(), seldom.run()):
        assert one.scalars == two.scalars
        assert one.validated
        assert two.validated is (two.step == 6)
    after, expected = often.state_dict()[0], seldom.state_dict()[0]
    assert [name for name in expected if not torch.equal(after[name], expected[name])] == []


@pytest.mark.parametrize(
    ("steps", "validate_every", "expected"),
    [(10, 1000, 25), (1000, 1000, 50), (4000, 1000, 200), (200_000, 1000, 1000), (4000, 7, 7), (4000, 4000, 200)],
)
def test_a_short_run_is_validated_as_often_as_a_long_one(steps: int, validate_every: int, expected: int) -> None:
    assert config("dam", steps=steps, validate_every=validate_every).validation_steps == expected


def test_a_seed_decides_the_run(packed: PackedCapture) -> None:
    one, two, other = (
        [s.scalars["loss"] for s in islice(Training(config("lip-flow-kpt", seed=seed), packed).run(), 2)]
        for seed in (1, 1, 2)
    )
    assert one == two
    assert one != other


def test_one_frame_under_one_camera_is_learned_by_heart(tmp_path: Path) -> None:
    """Without a split, landmarks, masks or statistics, as a single real frame comes."""
    root = write_tiny_capture(tmp_path / "c", frames=1, split=False, landmarks=False, masks=False, statistics=False)
    single = packed_at(
        open_capture(root),
        tmp_path / "p",
        texture=32,
        photo=(48, 32),
        hmc=None,
        cameras=("400001",),
        cameras_per_frame=1,
    )
    run = Training(config("dam", steps=80, learning_rate=5e-3, lambda_image=0.01, lambda_latent=0.0, batch=2), single)
    states = list(run.run())
    first, last = states[0].scalars, states[-1].scalars
    assert last["texture"] < 0.1 * first["texture"]
    assert last["mesh"] < 0.2 * first["mesh"]
    assert states[-1].validation is None
    assert states[-1].snapshot is not None
    assert states[-1].snapshot.picture is not None


def test_an_epoch_shows_every_frame_once(packed: PackedCapture, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(config("dam", batch=5), packed)
    seen: list[int] = []
    monkeypatch.setattr(packed, "batch", lambda frames, **_: seen.extend(frames.tolist()))
    for _ in range(5):
        training.next_batch()
    assert len(seen) == 25
    for epoch in (seen[:12], seen[12:24]):
        assert sorted(epoch) == packed.split("train").tolist()
    assert seen[:12] != seen[12:24]


def test_states_tell_what_a_viewer_needs(packed: PackedCapture) -> None:
    config_ = config("lip-flow-kpt", steps=4, snapshot_every=2, validate_every=2)
    states = list(Training(config_, packed).run())
    watched = {"loss", "image", "texture", "mesh", "latent", "sigma_q", "sigma_p", "log_abs_det", "gradient_norm"}
    for state in states:
        assert watched <= set(state.scalars)
        assert state.steps == 4
        assert state.scalars["sigma_q"] == 1.0
    assert states[0].validation is None
    assert states[1].validation is not None
    assert [s.validated for s in states] == [False, True, False, True]
    assert {"reconstruction_psnr", "start_psnr", "mesh_mm"} <= set(states[1].validation)
    assert [s.snapshot is not None for s in states] == [True, True, False, True]
    shot = states[-1].snapshot
    assert shot is not None
    assert shot.picture is not None
    assert shot.picture.shape == (48, 96, 3)
    assert shot.codes_q.shape == shot.codes_p.shape == shot.codes_start.shape == (12, 16)
    assert states[-1].eta_s == 0.0
    before = shot.codes_q.copy()
    assert states[0].snapshot is not None
    assert (states[0].snapshot.codes_q != before).any()  # copies: the first is still what it was


@pytest.mark.parametrize("variant", ["dam", "dam-enc-kpt", "lip-flow-hmc"])
def test_a_finished_avatar_carries_its_record_and_samples(variant: str, packed: PackedCapture, tmp_path: Path) -> None:
    training = Training(config(variant, steps=2), packed)
    list(training.run())
    training.finished_avatar().save(tmp_path / "a.safetensors", half=True)
    loaded = Avatar.load(tmp_path / "a.safetensors")
    assert loaded.record["variant"] == variant
    assert loaded.record["seed"] == 0
    assert loaded.record["step"] == 2
    # The record tells how the networks were composed, not what the preset said before a variant had its say.
    composed = from_json(TrainConfig, loaded.record["config"], what="record").sizes
    assert (composed.driving, composed.prior) == (VARIANTS[variant].driving, VARIANTS[variant].prior)
    assert loaded.record["config"]["sizes"]["driving"] == loaded.driving
    assert loaded.record["versions"]["lipflow-studio"] == __version__
    assert len(loaded.record["config_hash"]) == 12
    assert loaded.samples_z is not None
    assert loaded.samples_z.shape == (12, 16)
    assert set(loaded.samples_segment) == {"E001_Neutral", "E002_Smile", "E003_Brows"}
    assert loaded.keypoint_camera is not None


def test_a_frozen_dam_stays_as_it_was(packed: PackedCapture, dam: Avatar) -> None:
    training = Training(config("dam-reg-kpt"), packed, base=dam)
    list(training.run())
    for part in ("encoder", "decoder"):
        for name, tensor in getattr(dam, part).state_dict().items():
            assert torch.equal(getattr(training.avatar, part).state_dict()[name], tensor), name


def test_the_pca_of_meshes_is_the_svds() -> None:
    meshes = torch.randn(9, 20, 3, dtype=torch.float64)
    components, scales = mesh_pca(meshes, 5)
    centred = (meshes - meshes.mean(0)).flatten(1)
    torch.testing.assert_close(scales, torch.linalg.svdvals(centred)[:5] / 3)
    flat = components.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close((centred @ flat.T).std(0, correction=0), scales)


def test_the_learning_rate_goes_up_and_down() -> None:
    rates = [one_cycle(step, 1000, 1.0) for step in range(1000)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[50] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.005, abs=1e-4)
    assert rates[50:] == sorted(rates[50:], reverse=True)


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            ({"variant": "lip"}, "variant: expected dam or"),
            ({"steps": 0}, "steps: expected 1 or more"),
            ({"lambda_mesh": -1.0}, "lambda_mesh: expected 0 or more"),
            ({"learning_rate": 0.0}, "learning_rate: expected more than 0, got 0.0"),
            ({"clip": -1.0}, "clip: expected more than 0, got -1.0"),
            ({"learning_rate": float("nan")}, "learning_rate: expected more than 0, got nan"),
            ({"learning_rate": float("inf")}, "learning_rate: expected more than 0, got inf"),
            ({"keypoint_noise": float("inf")}, "keypoint_noise: expected 0 or more, got inf"),
            ({"lambda_latent": float("nan")}, "lambda_latent: expected 0 or more, got nan"),
            ({"seed": -1}, "seed: expected 0 to 2147483647, got -1"),
            ({"seed": 2**64}, "seed: expected 0 to 2147483647, got 18446744073709551616"),
        ],
    )
    def test_config(self, changes: dict[str, Any], text: str) -> None:
        with pytest.raises(InputError, match=text):
            replace(TrainConfig(), **changes)
        with pytest.raises(InputError, match="preset: expected tiny or"):
            TrainConfig.of("dam", "huge")

    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            ({"latent_loss": "kl"}, "latent_loss: expected one that a flow's density has"),
            ({"latent_loss": "l2"}, "latent_loss: expected kl or"),
            ({"cycle": "round"}, "cycle: expected none or"),
            ({"sigma_q": "half"}, "config.sigma_q"),
        ],
    )
    def test_choices(self, changes: dict[str, Any], text: str, packed: PackedCapture) -> None:
        with pytest.raises(InputError, match=text):
            Training(config("lip-flow-kpt", **changes), packed)

    def test_what_does_not_fit_together(self, packed: PackedCapture, dam: Avatar, tmp_path: Path) -> None:
        with pytest.raises(InputError, match='a trained "dam" avatar to freeze, got none; train dam first'):
            Training(config("dam-reg-kpt"), packed)
        driven = Training(config("lip-kl-kpt"), packed).finished_avatar()
        with pytest.raises(InputError, match="an avatar driven by kpt"):
            Training(config("dam-reg-kpt"), packed, base=driven)
        with pytest.raises(InputError, match="textures packed at 384², the model's size, got 32²"):
            Training(TrainConfig(), packed)
        root = write_tiny_capture(tmp_path / "c", frames=6, landmarks=False)
        bare = packed_at(open_capture(root), tmp_path / "p", texture=32, photo=(48, 32), hmc=None)
        with pytest.raises(InputError, match="landmarks to drive with"):
            Training(config("lip-flow-kpt"), bare)
        with pytest.raises(InputError, match="headset images to drive with"):
            Training(config("lip-flow-hmc"), bare)

    def test_a_gradient_that_is_not_finite(self, packed: PackedCapture) -> None:
        training = Training(config("dam"), packed)
        with torch.no_grad():
            training.avatar.decoder.code.bias[0] = torch.inf
        with pytest.raises(InputError, match=r"a finite gradient, got .* in step 1; try a lower learning rate"):
            next(training.run())

    def test_other_checkpoints(self, packed: PackedCapture, tmp_path: Path) -> None:
        training = Training(config("lip-flow-kpt"), packed)
        list(islice(training.run(), 1))
        path = tmp_path / "run.safetensors"
        training.save(path)
        whole = path.read_bytes()
        for size in (0, 8, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:size])
            with pytest.raises(InputError, match="a whole safetensors file"):
                Training.resume(path, packed)
        training.finished_avatar().save(path)
        with pytest.raises(InputError, match="a lipflow-training file, got lipflow-avatar"):
            Training.resume(path, packed)
        tensors, body = training.state_dict()
        with pytest.raises(InputError, match="a run with this config"):
            Training(config("lip-flow-kpt", seed=5), packed).load_state_dict(tensors, body)
        with pytest.raises(InputError, match=r"on this pack.*begin anew in another folder"):
            training.load_state_dict(tensors, {**body, "capture": "another"})
        for name in tensors:
            with pytest.raises(InputError, match=name):
                training.load_state_dict({k: v for k, v in tensors.items() if k != name}, body)


@pytest.mark.real
def test_the_real_frame_trains(real_capture_dir: Path, tmp_path: Path) -> None:
    single = packed_at(open_capture(real_capture_dir), tmp_path / "p", texture=32, photo=(96, 64), hmc=None)
    run = Training(config("dam", steps=60, lambda_image=1.0, lambda_texture=0.0, lambda_latent=0.0, batch=2), single)
    states = list(run.run())
    assert states[-1].scalars["image"] < 0.9 * states[0].scalars["image"]


def test_an_avatar_of_other_statistics_is_unharmed_by_a_still_capture(tmp_path: Path) -> None:
    """One frame has no spread: the statistics' standard deviations get a floor, so nothing is divided by zero."""
    root = write_tiny_capture(tmp_path / "c", frames=1, split=False, statistics=False)
    single = packed_at(open_capture(root), tmp_path / "p", texture=32, photo=(48, 32), hmc=(30, 40))
    for variant in ("lip-flow-kpt", "lip-flow-hmc"):
        training = Training(config(variant, steps=2), single)
        assert training.avatar.statistics.vertex_std >= 0.5
        assert all(torch.isfinite(torch.tensor(list(s.scalars.values()))).all() for s in training.run())


def test_the_revision_is_the_sources_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of a repository in which the source merely lies, as in an environment inside another project."""
    monkeypatch.delenv("LIPFLOW_REVISION", raising=False)

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(
            ["git", "-C", tmp_path, *who, *arguments], check=True, capture_output=True, text=True
        ).stdout

    git("init")
    (tmp_path / "other.txt").write_text("")
    (tmp_path / "lib").mkdir()
    source = tmp_path / "lib" / "training_start.py"
    source.write_text("")
    monkeypatch.setattr(training_start, "__file__", str(source))
    git("add", "other.txt")
    git("commit", "-m", "another project")
    assert training_start.provenance()["revision"] == "unknown"
    git("add", "lib")
    git("commit", "-m", "the source")
    assert training_start.provenance()["revision"] == git("rev-parse", "--short=12", "HEAD").strip()
