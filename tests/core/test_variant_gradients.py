"""Every variant learns one frame by heart, and each of its terms moves just the parts that the method says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.capture.headset import HeadsetAugmentation
from lipflow.capture.multiface import open_capture
from lipflow.capture.packed import PackedCapture, pack
from lipflow.training import Training
from lipflow.training_config import TrainConfig
from lipflow.variants import VARIANTS
from support.random_avatar import stir_prior
from support.tiny_capture import write_tiny_capture

PACK: dict[str, Any] = {"texture": 32, "photo": (48, 32), "hmc": (30, 40)}
GROUPS = ("encoder", "decoder", "driver", "flow", "base")  # the last two are the prior's
PICTURED = ("image", "texture", "mesh")
Q_AND_D, PRIOR, GAUSSIAN = {"encoder", "decoder"}, {"driver", "flow", "base"}, {"driver", "base"}

# variant -> (groups that image, texture and mesh move; groups that the latent term moves)
ROUTES: dict[str, tuple[set[str], set[str]]] = {"dam": (Q_AND_D, {"encoder"})}
for _driving in ("hmc", "kpt"):
    _flow = f"lip-flow-{_driving}"
    ROUTES |= {
        f"dam-enc-{_driving}": ({"decoder", *GAUSSIAN}, GAUSSIAN),
        f"dam-reg-{_driving}": (set(), GAUSSIAN),
        f"lip-kl-{_driving}": (Q_AND_D, {"encoder", *GAUSSIAN}),
        # F⁻¹(F(z; h); h) = z: the literal cycle sends the flow nothing.
        _flow: (Q_AND_D, {"encoder", *PRIOR}),
        f"{_flow}-no-cycle": (Q_AND_D, {"encoder", *PRIOR}),
        f"{_flow}-literal": (Q_AND_D, {"encoder", *PRIOR}),
        f"{_flow}-mc-kl": (Q_AND_D, {"encoder", *PRIOR}),
        # The jitter has σp's size; μp plays no part in the way there and back.
        f"{_flow}-jittered": ({*Q_AND_D, *PRIOR}, {"encoder", *PRIOR}),
        f"{_flow}-decode-p": ({*Q_AND_D, *PRIOR}, {"encoder", *PRIOR}),
        f"{_flow}-standard-normal": (Q_AND_D, {"encoder", "driver", "flow"}),
    }


@pytest.fixture(scope="module")
def one_frame(tmp_path_factory: pytest.TempPathFactory) -> PackedCapture:
    """One frame with landmarks, as both drivers need."""
    folder = tmp_path_factory.mktemp("one-frame")
    capture = open_capture(write_tiny_capture(folder / "c", frames=1, split=False, statistics=False))
    for _ in pack(capture, folder=folder / "p", cameras=("400001",), cameras_per_frame=1, **PACK):
        pass
    return PackedCapture(folder / "p")


@pytest.fixture(scope="module")
def dam(one_frame: PackedCapture) -> Avatar:
    """Trained for a moment, so that its codes are somewhere."""
    training = Training(by_heart("dam"), one_frame)
    for _ in training.run():
        pass
    return training.finished_avatar()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors; more threads only wait for one another on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def by_heart(variant: str, **changes: Any) -> TrainConfig:
    """Some dozens of fast steps on inputs without noise."""
    still = {"keypoint_noise": 0.0, "augmentation": HeadsetAugmentation(0.0, 0.0, 0.0)}
    quick = {"steps": 40, "learning_rate": 1e-2, "image_every": 10, "batch": 1, "log_every": 1}
    return TrainConfig.of(variant, "tiny", **{**still, **quick, **changes})


def begun(config: TrainConfig, packed: PackedCapture, dam: Avatar) -> Training:
    return Training(config, packed, base=dam if VARIANTS[config.variant].starts_from else None)


def stirred(variant: str, packed: PackedCapture, dam: Avatar, **changes: Any) -> Training:
    """A run whose flow is no longer the identity that it starts as."""
    training = begun(TrainConfig.of(variant, "tiny", batch=2, **changes), packed, dam)
    stir_prior(training.avatar)
    return training


def terms(training: Training) -> dict[str, Tensor]:
    batch = training.next_batch()
    signal, noise = training.driving_signal(batch), training.noise()
    return training.objective.terms(training.avatar, batch, signal, noise, renderer=training._renderer).losses


def group(parameter: str) -> str:
    part = parameter.split(".")[0]
    if part != "prior":
        return part
    return "flow" if parameter.startswith("prior.transform") else "base"


def moved(training: Training, loss: Tensor) -> set[str]:
    """The groups that ``loss`` moves: those with more than a rounding error of its gradient."""
    parameters = [(name, p) for name, p in training.avatar.named_parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, [p for _, p in parameters], retain_graph=True, allow_unused=True)
    squares = dict.fromkeys(GROUPS, 0.0)
    for (name, _), gradient in zip(parameters, gradients):
        if gradient is not None:
            squares[group(name)] += float(gradient.double().square().sum())
    return {name for name, square in squares.items() if square**0.5 > 1e-4 * sum(squares.values()) ** 0.5}


def test_the_table_is_of_all_variants() -> None:
    assert set(ROUTES) == set(VARIANTS)
    assert len(VARIANTS) == 21


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_which_groups_each_term_moves(variant: str, one_frame: PackedCapture, dam: Avatar) -> None:
    training = stirred(variant, one_frame, dam)
    by_pictures, by_latent = ROUTES[variant]
    found = terms(training)
    assert moved(training, found.pop("latent")) == by_latent
    assert set(found) == (set(PICTURED) if by_pictures else set())
    for name, loss in found.items():
        assert moved(training, loss) == by_pictures, name


@pytest.mark.parametrize("variant", [name for name, row in sorted(VARIANTS.items()) if row.starts_from is None])
def test_one_frame_is_learned_by_heart(variant: str, one_frame: PackedCapture, dam: Avatar) -> None:
    """In 40 steps the loss of texture and mesh falls to a quarter."""
    training = begun(by_heart(variant), one_frame, dam)
    losses = []
    for _ in range(training.config.steps):
        training._train_step()
        losses.append(training._scalars["texture"] + training._scalars["mesh"])
    assert losses[-1] < 0.25 * losses[0]


@pytest.mark.parametrize("variant", [name for name, row in sorted(VARIANTS.items()) if row.starts_from == "dam"])
def test_a_regressor_learns_the_frames_code_and_leaves_its_dam(
    variant: str, one_frame: PackedCapture, dam: Avatar
) -> None:
    """In 40 steps its mean comes within half the way of Q's. Its aim is a sample: a larger batch averages the noise."""
    training = begun(by_heart(variant, batch=32), one_frame, dam)
    before = distance(training)
    for _ in range(training.config.steps):
        training._train_step()
    assert distance(training) < 0.5 * before
    for part in ("encoder", "decoder"):
        own, frozen = getattr(training.avatar, part).state_dict(), getattr(dam, part).state_dict()
        assert all(torch.equal(own[name], frozen[name]) for name in own), part


@torch.no_grad()
def distance(training: Training) -> float:
    """From the prior's guess to Q's mean, in Q."""
    avatar = training.avatar
    batch = training.packed.batch([0])
    h = avatar.context({"hmc": batch.hmc, "kpt": batch.keypoints, None: None}[avatar.driving])
    mu_q = training.objective.posterior(avatar, batch, h)[0]
    return float((avatar.prior.start(h) - mu_q).norm())
