"""Sweeps: the order of cells, failures and retries without processes; then real processes, kills included."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from typing import Any

import numba
import pytest
import torch

from lipflow.avatar import Avatar
from lipflow.capture.multiface import open_capture
from lipflow.capture.packed import PackedCapture, pack
from lipflow.checkpoint import load_tensors
from lipflow.checks import InputError
from lipflow.cli import main
from lipflow.commands.evaluate import Evaluate
from lipflow.runs import AVATAR, CHECKPOINT, SAMPLE, advance, claimed, is_finished, opened, steps_done
from lipflow.sweep import Cell, Sweep, SweepState, Workers, cluster, plan, train_cell
from lipflow.training import FORMAT, Training
from lipflow.training_config import TrainConfig
from support.tiny_capture import write_tiny_capture

PACK: dict[str, Any] = {"texture": 32, "photo": (48, 32), "hmc": (30, 40)}  # of the preset "tiny"
STEPS = 20
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_capture(tmp_path_factory.mktemp("sweep") / "someone", frames=12)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the workers have; what they make is compared bit for bit."""
    threads = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    yield
    torch.set_num_threads(threads[0])
    numba.set_num_threads(threads[1])


@pytest.fixture(scope="module")
def packed(capture: Path) -> PackedCapture:
    for _ in pack(open_capture(capture), **PACK):
        pass
    (folder,) = (capture / "packed").iterdir()
    return PackedCapture(folder)


def command(capture: Path, out: Path, *variants: str, steps: int = STEPS) -> list[str]:
    chosen = ["--variants", *variants, "--preset", "tiny", "--steps", str(steps)]
    return ["sweep", str(capture), *chosen, "--out", str(out), "--device", "cpu", "--no-evaluate"]


class TestThePlan:
    def test_a_frozen_dam_comes_along_and_seeds_are_outermost(self, tmp_path: Path) -> None:
        cells = plan([Path("a"), Path("b")], ["dam-reg-kpt", "dam"], [3, 1], tmp_path, "tiny", steps=7)
        of_a = [cell for cell in cells if cell.capture == Path("a")]
        names = ["a/dam/seed-3", "a/dam-reg-kpt/seed-3", "a/dam/seed-1", "a/dam-reg-kpt/seed-1"]
        assert [cell.name for cell in of_a] == names
        assert len(cells) == 8
        assert [cell.base for cell in of_a[:2]] == [None, tmp_path / "a" / "dam" / "seed-3"]
        assert of_a[3].config == TrainConfig.of("dam-reg-kpt", "tiny", seed=1, steps=7)

    @pytest.mark.parametrize(
        ("captures", "variants", "seeds", "says"),
        [
            (["a"], ["dam", "dim"], [0], "variants: expected some of dam, .*, got dim"),
            (["a"], ["dam"], [], "seeds: expected some numbers from 0, got none"),
            (["a"], ["dam"], [-1], "seeds"),
            (["x/a", "y/a"], ["dam"], [0], "captures: expected some folders of different names, got a, a"),
        ],
    )
    def test_refuses(self, captures: list[str], variants: list[str], seeds: list[int], says: str) -> None:
        with pytest.raises(InputError, match=says):
            plan([Path(c) for c in captures], variants, seeds, Path("out"), "tiny")


class Inline(Executor):
    """Runs nothing: what becomes of a cell is looked up. ``None`` finishes it, an exception breaks or fails it."""

    def __init__(self, fate: Callable[[str], str | Exception | None]) -> None:
        self.fate, self.order = fate, list[str]()
        self.pools = 0

    def submit(self, function: Any, /, *arguments: Any, **_: Any) -> Future[Any]:
        cell: Cell = arguments[0]
        self.order.append(cell.config.variant)
        outcome = self.fate(cell.config.variant)
        future: Future[Any] = Future()
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            if outcome is None:
                cell.folder.mkdir(parents=True, exist_ok=True)
                (cell.folder / AVATAR).touch()
            future.set_result(outcome)
        return future

    @contextlib.contextmanager
    def workers(self) -> Iterator[Workers]:
        self.pools += 1
        yield Workers(self, 2)

    def states(self, out: Path, *variants: str) -> list[SweepState]:
        cells = plan([Path("a")], variants, [0], out, "tiny")
        return list(Sweep(cells, {Path("a"): out}).run(self.workers))


def failures(states: list[SweepState]) -> list[tuple[str, bool]]:
    return [(s.failure.cell.config.variant, s.failure.final) for s in states if s.failure is not None]


class TestFailures:
    def test_a_regressor_waits_for_its_dam(self, tmp_path: Path) -> None:
        inline = Inline(lambda _: None)
        cells = plan([Path("a")], ["dam-reg-kpt", "lip-kl-kpt"], [0], tmp_path, "tiny")
        states = list(Sweep(cells[::-1], {Path("a"): tmp_path}).run(inline.workers))
        assert inline.order == ["lip-kl-kpt", "dam", "dam-reg-kpt"]
        assert (states[-1].done, states[-1].cells, states[-1].eta_s) == (3, 3, 0.0)
        assert states[-1].step == states[-1].steps == 3 * 200

    def test_a_failed_cell_is_tried_once_more_at_the_end(self, tmp_path: Path) -> None:
        tried: list[str] = []

        def once(variant: str) -> str | None:
            tried.append(variant)
            return "no luck" if variant == "lip-kl-kpt" and tried.count(variant) == 1 else None

        inline = Inline(once)
        states = inline.states(tmp_path, "lip-kl-kpt", "lip-flow-kpt", "lip-flow-hmc")
        assert inline.order == ["lip-kl-kpt", "lip-flow-kpt", "lip-flow-hmc", "lip-kl-kpt"]
        assert failures(states) == [("lip-kl-kpt", False)]
        assert states[-1].done == 3

    def test_what_fails_twice_is_given_up_with_all_that_freezes_it(self, tmp_path: Path) -> None:
        inline = Inline(lambda variant: "no luck" if variant == "dam" else None)
        states = inline.states(tmp_path, "dam-reg-kpt", "lip-kl-kpt")
        assert failures(states) == [("dam", False), ("dam", True), ("dam-reg-kpt", True)]
        assert [s.failure.reason for s in states if s.failure][-1] == (
            "a/dam/seed-0, which it starts from, did not finish"
        )
        assert states[-1].done == 1

    def test_a_mistake_of_ours_keeps_its_traceback_in_a_file(self, tmp_path: Path) -> None:
        states = Inline(lambda _: ZeroDivisionError("by zero\nand more")).states(tmp_path, "dam")
        assert failures(states) == [("dam", False), ("dam", True)]
        file = tmp_path / "a" / "dam" / "seed-0" / "failure.txt"
        assert states[-1].failure is not None
        assert states[-1].failure.reason == f"ZeroDivisionError: by zero (see {file})"
        assert "ZeroDivisionError: by zero\nand more" in file.read_text()

    def test_of_cells_that_a_crash_took_along_only_the_guilty_one_fails(self, tmp_path: Path) -> None:
        class Crashing(Inline):
            def submit(self, function: Any, /, *arguments: Any, **_: Any) -> Future[Any]:
                self.running = [*getattr(self, "running", []), super().submit(function, *arguments)]
                if self.order[-1] == "lip-kl-kpt":  # takes the whole pool down
                    for future in self.running:
                        future._state, future._exception = "FINISHED", BrokenExecutor()
                return self.running[-1]

            @contextlib.contextmanager
            def workers(self) -> Iterator[Workers]:
                self.running = []
                with super().workers() as workers:
                    yield workers

        inline = Crashing(lambda _: None)
        states = inline.states(tmp_path, "lip-flow-kpt", "lip-kl-kpt", "lip-flow-hmc")
        assert failures(states) == [("lip-kl-kpt", False), ("lip-kl-kpt", True)]
        assert states[-1].done == 2
        assert inline.order == ["lip-flow-kpt", "lip-kl-kpt", "lip-flow-hmc", *["lip-flow-kpt"], *["lip-kl-kpt"] * 2]


class TestARunsFolder:
    def test_belongs_to_one_process(self, tmp_path: Path) -> None:
        with claimed(tmp_path), pytest.raises(InputError, match="expected a folder to itself"), claimed(tmp_path):
            pass
        with claimed(tmp_path):
            pass

    def test_is_cleaned_of_what_a_kill_left_half_written(self, tmp_path: Path) -> None:
        (tmp_path / ".checkpoint.0123abcd.safetensors").write_bytes(b"half")
        (tmp_path / AVATAR).write_bytes(b"whole")
        with claimed(tmp_path):
            assert sorted(file.name for file in tmp_path.iterdir()) == [AVATAR, "process.json"]
        assert [file.name for file in tmp_path.iterdir()] == [AVATAR]

    def test_tells_where_it_stands_and_refuses_another_config(self, packed: PackedCapture, tmp_path: Path) -> None:
        config = TrainConfig.of("lip-kl-kpt", "tiny", steps=3)
        other = TrainConfig.of("lip-kl-kpt", "tiny", steps=4)
        assert not is_finished(tmp_path, config)
        training = opened(tmp_path, config, packed, CPU, None)
        states = advance(training, tmp_path)
        next(states)
        states.close()  # a stop saves
        assert (steps_done(tmp_path, config), is_finished(tmp_path, config)) == (1, False)
        with pytest.raises(InputError, match="the options that it was begun with"):
            is_finished(tmp_path, other)
        resumed = opened(tmp_path, config, packed, CPU, None)
        assert resumed.step == 1
        assert [state.step for state in advance(resumed, tmp_path)] == [2, 3]
        assert (steps_done(tmp_path, config), is_finished(tmp_path, config)) == (3, True)
        with pytest.raises(InputError, match="the options that it was begun with"):
            is_finished(tmp_path, other)

    def test_a_record_from_before_configs_told_the_composition_is_recognised(
        self, packed: PackedCapture, tmp_path: Path
    ) -> None:
        config = TrainConfig.of("lip-kl-kpt", "tiny", steps=1)
        training = Training(config, packed)
        avatar = training.finished_avatar()
        assert (
            avatar.record["config"]["sizes"] | {"driving": "kpt", "prior": "gaussian"}
            == avatar.record["config"]["sizes"]
        )
        avatar.record["config"]["sizes"] |= {"driving": "hmc", "prior": "flow"}
        avatar.save(tmp_path / AVATAR)
        assert is_finished(tmp_path, config)


def test_a_sweep_trains_says_what_failed_and_does_nothing_twice(
    capture: Path,
    packed: PackedCapture,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = tmp_path / "someone"
    broken = runs / "lip-kl-kpt" / "seed-0"
    broken.mkdir(parents=True)
    good = opened(broken, TrainConfig.of("lip-kl-kpt", "tiny", steps=STEPS), packed, CPU, None)
    good.save(broken / CHECKPOINT)
    whole = (broken / CHECKPOINT).read_bytes()
    (broken / CHECKPOINT).write_bytes(whole[:-100])
    with pytest.raises(SystemExit) as stop:
        main(command(capture, tmp_path, "dam-reg-kpt", "lip-kl-kpt"))
    assert stop.value.code == 1
    said = capsys.readouterr()
    lines = [line.strip() for line in said.err.replace("\r", "\n").splitlines() if "FAILED" in line]
    assert len(lines) == 3  # at once, after the second try, and at the end
    assert all("FAILED someone/lip-kl-kpt/seed-0: checkpoint" in line for line in lines)
    assert lines[0].endswith("it will be tried again")
    assert lines[-1].startswith("lipflow: FAILED")
    assert "2 of 3 runs finished" in said.out
    dam, frozen = (Avatar.load(runs / variant / "seed-0" / AVATAR) for variant in ("dam", "dam-reg-kpt"))
    for name, tensor in dam.decoder.state_dict().items():
        assert tensor.equal(frozen.decoder.state_dict()[name]), name

    (broken / CHECKPOINT).write_bytes(whole)  # mended: only this one is trained now
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("dam*/**/*")}
    assert main([*command(capture, tmp_path, "dam-reg-kpt", "lip-kl-kpt"), "--jobs", "1"]) == 0
    assert "3 of 3 runs finished" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in runs.rglob("dam*/**/*")}
    assert is_finished(broken, good.config)

    judged: list[Evaluate] = []
    monkeypatch.setattr(Evaluate, "run", lambda self: judged.append(self))
    assert main([*command(capture, tmp_path, "dam", "lip-kl-kpt"), "--evaluate", "--jobs", "3"]) == 0
    folders = (runs / "dam" / "seed-0", broken)
    assert judged == [Evaluate(folders, (capture,), tmp_path / "report", jobs=3, device="cpu")]
    capsys.readouterr()

    assert main(command(capture, tmp_path, "dam", steps=STEPS + 1)) == 2
    assert "the options that it was begun with" in capsys.readouterr().err


def children(pid: int, name: str) -> list[int]:
    """The processes that ``pid`` started whose command names ``name``."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and name in (folder / "cmdline").read_text():
                found.append(int(folder.name))
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks the workers up under /proc")
def test_a_killed_sweep_loses_little_and_goes_on_to_the_same_result(
    capture: Path, packed: PackedCapture, tmp_path: Path
) -> None:
    steps = 120
    process = subprocess.Popen(
        [sys.executable, "-m", "lipflow.cli", *command(capture, tmp_path, "lip-kl-kpt", steps=steps), "--jobs", "1"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    (cell,) = plan([capture], ["lip-kl-kpt"], [0], tmp_path, "tiny", steps=steps)
    deadline = time.monotonic() + 400
    while not (cell.folder / SAMPLE).is_file():  # of the first step
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers = children(process.pid, "LokyProcess")
    process.kill()
    process.wait(timeout=200)
    (worker,) = workers  # saves and goes by itself
    while Path(f"/proc/{worker}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with claimed(cell.folder):
        assert not list(cell.folder.rglob(".*"))
    assert not is_finished(cell.folder, cell.config)
    assert 0 < steps_done(cell.folder, cell.config) < steps
    assert train_cell(cell, packed.folder, "cpu") is None
    assert is_finished(cell.folder, cell.config)
    whole = Training(cell.config, packed)
    for _ in whole.run():
        pass
    tensors, _ = load_tensors(cell.folder / CHECKPOINT, what="checkpoint", kind=FORMAT)
    assert [k for k, tensor in whole.state_dict()[0].items() if not tensor.equal(tensors[k])] == []


def test_a_cluster_trains_cells(capture: Path, packed: PackedCapture, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="Dask is an optional part")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as local:
        cells = plan([capture], ["dam-reg-kpt"], [0], tmp_path, "tiny", steps=2)
        sweep = Sweep(cells, {capture: packed.folder}, "cpu")
        states = list(sweep.run(lambda: cluster(local.scheduler_address)))
    assert states[-1].done == 2
    assert all(is_finished(cell.folder, cell.config) for cell in cells)


def test_a_cluster_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(InputError, match=r"none installed; pip install 'lipflow-studio\[cluster\]'"),
        cluster("tcp://x:1"),
    ):
        pass
