"""Training on two processes is training on one: the same losses, and the same model but for rounding."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.capture.multiface import open_capture
from lipflow.capture.packed import PackedCapture, pack
from lipflow.checkpoint import load_tensors
from lipflow.checks import InputError
from lipflow.distributed import ALONE, Ranks, joined, shares, totals
from lipflow.runs import AVATAR, CHECKPOINT, LOGS, advance, opened
from lipflow.training import FORMAT, Training
from lipflow.training_config import TrainConfig
from support.tiny_capture import write_tiny_capture

STEPS, BATCH = 20, 5  # rows 2 and 3


@dataclass(frozen=True)
class Unconnected(Ranks):
    """One of several processes whose others are looked at one after the other."""

    def total(self, part: Tensor) -> Tensor:
        return part

    def start_alike(self, tensors: Any) -> None:
        pass


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_capture(tmp_path_factory.mktemp("distributed") / "someone", frames=12)


@pytest.fixture(scope="module")
def packed(capture: Path) -> PackedCapture:
    for _ in pack(open_capture(capture), texture=32, photo=(48, 32), hmc=(30, 40)):
        pass
    (folder,) = (capture / "packed").iterdir()
    return PackedCapture(folder)


def config(variant: str = "lip-flow-hmc-jittered", **changes: Any) -> TrainConfig:
    return TrainConfig.of(variant, "tiny", **{"steps": STEPS, "batch": BATCH, **changes})


def curve(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder / LOGS)).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


# Trains as the command does, and says which of the processes' threads of communication are left at its end.
TRAINED = """
import sys
from pathlib import Path
from lipflow.cli import main
code = main()
threads = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
print("left:", [name for name in threads if "gloo" in name], file=sys.stderr)
sys.exit(code)
"""

# Trains as the command does; the second process alone is told to stop, within its 12th step, and again at once.
STOPPED = """
import os, signal, sys, torch
from lipflow.cli import main
step, done = torch.optim.Adam.step, 0
def heard(*args, **options):
    global done
    result, done = step(*args, **options), done + 1
    if done == 12 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    return result
torch.optim.Adam.step = heard
sys.exit(main())
"""


def on_two(program: list[str], capture: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Train in two processes."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    sizes = ["--preset", "tiny", "--steps", str(STEPS), "--batch", str(BATCH), "--device", "cpu"]
    train = ["train", str(capture), "--variant", config().variant, *sizes, "--out", str(out), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    return subprocess.run([*launch, *program, *train], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def two(capture: Path, packed: PackedCapture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes that nothing disturbed."""
    out = tmp_path_factory.mktemp("together") / "two"
    (out.parent / "trained.py").write_text(TRAINED)
    done = on_two([str(out.parent / "trained.py")], capture, out)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("left: []") == 2, done.stderr  # one that is left can abort the process as it ends
    assert done.stdout.count(AVATAR) == 1  # one of them speaks
    assert "2 processes" in done.stderr
    return out


def test_a_stop_of_one_process_stops_both_and_costs_nothing(two: Path, capture: Path, tmp_path: Path) -> None:
    (tmp_path / "stopped.py").write_text(STOPPED)
    stopped = on_two([str(tmp_path / "stopped.py")], capture, tmp_path / "run")
    assert stopped.returncode != 0
    assert stopped.stderr.count("lipflow: stopped") == 1
    assert load_tensors(tmp_path / "run" / CHECKPOINT, what="checkpoint", kind=FORMAT)[1]["step"] == 12
    resumed = on_two(["-m", "lipflow.cli"], capture, tmp_path / "run", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    own, whole = (load_tensors(run / CHECKPOINT, what="checkpoint", kind=FORMAT)[0] for run in (tmp_path / "run", two))
    assert [name for name in whole if not torch.equal(own[name], whole[name])] == []


def test_two_processes_train_as_one_does(two: Path, packed: PackedCapture, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    whole = opened(tmp_path / "one", config(), packed, torch.device("cpu"), None)
    for _ in advance(whole, tmp_path / "one"):
        pass
    one, both = curve(tmp_path / "one"), curve(two)
    assert set(one) == set(both)
    assert [step for step, _ in both["train/loss"]] == [10, 20]
    for tag, values in one.items():
        assert both[tag] == [(step, pytest.approx(value, rel=2e-4, abs=1e-5)) for step, value in values], tag
    tensors, body = load_tensors(two / CHECKPOINT, what="checkpoint", kind=FORMAT)
    assert body["step"] == STEPS
    own = whole.state_dict()[0]
    # Rounding grows over the steps, where a rectifier opens for one sum and not for the other.
    off = {name: float((tensors[name].double() - value.double()).abs().max()) for name, value in own.items()}
    assert [name for name, value in own.items() if off[name] > 0.03 * float(value.double().abs().max())] == []
    assert Avatar.load(two / AVATAR).record["config"] == whole.finished_avatar().record["config"]


@pytest.mark.parametrize("variant", ["lip-flow-hmc", "lip-flow-kpt"])
def test_the_processes_draw_the_whole_batch_together(variant: str, packed: PackedCapture) -> None:
    def drawn(ranks: Ranks) -> dict[str, Tensor]:
        training = Training(config(variant), packed, ranks=ranks)
        training.next_batch()
        batch = training.next_batch()
        found = {f.name: getattr(batch, f.name) for f in fields(batch)}
        found = {k: v.K if isinstance(v, Camera) else v for k, v in found.items()}
        signal, noise = training.driving_signal(batch), training.noise()
        assert signal is not None
        return {**found, "signal": signal, "noise": noise.transpose(0, 1)}

    whole = drawn(ALONE)
    parts = [drawn(Unconnected(rank, 3)) for rank in range(3)]
    assert [len(part["vertices"]) for part in parts] == [1, 2, 2]
    for name, tensor in whole.items():
        assert torch.equal(torch.cat([part[name] for part in parts]), tensor), name


def test_contributions_add_up_to_the_terms_of_the_whole_batch(packed: PackedCapture) -> None:
    """Also where one process renders nothing, and each sees another number of texels and pixels."""

    @dataclass(frozen=True)
    class Noting(Unconnected):
        """Answers with the counts that are known, after it noted its own."""

        known: tuple[Tensor, ...] = ()
        noted: list[Tensor] = field(default_factory=list)

        def total(self, part: Tensor) -> Tensor:
            self.noted.append(part)
            return torch.stack(self.known).sum(0) if self.known else part

    def contributions(ranks: Ranks) -> dict[str, Tensor]:
        training = Training(config("lip-flow-hmc", image_rows=1), packed, ranks=ranks)
        batch, rendered = training.next_batch(), training._rendered()
        renderer = training._renderer if rendered != 0 else None
        signal, noise = training.driving_signal(batch), training.noise()
        terms = training.objective.terms(training.avatar, batch, signal, noise, renderer=renderer, image_rows=rendered)
        return shares(terms.losses, batch, training.avatar.texture_valid, rendered, ranks)

    alone = [Noting(rank, 2) for rank in range(2)]
    for ranks in alone:
        contributions(ranks)
    known = tuple(ranks.noted[0] for ranks in alone)
    parts = [contributions(Noting(rank, 2, known)) for rank in range(2)]
    assert [("image" in part) for part in parts] == [True, False]
    whole = contributions(ALONE)
    for name, value in whole.items():
        torch.testing.assert_close(sum(part[name] for part in parts if name in part), value, rtol=1e-5, atol=1e-6)
    assert totals(whole, ALONE) == whole


def test_more_processes_than_rows_or_gpus_are_refused(packed: PackedCapture, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="batch: expected a row for each of 6 processes, got 5"):
        Training(config(), packed, ranks=Unconnected(0, 6))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="a GPU for each process, got 1 GPUs"), joined(torch.device("cuda")):
        pass
