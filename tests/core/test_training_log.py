"""Curves read from TensorBoard logs, half-written and resumed ones too."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from lipflow.training_log import TrainingLog


def write(folder: Path, steps: range, *, purge: int, name: str = "") -> Path:
    with SummaryWriter(str(folder), purge_step=purge, filename_suffix=name) as board:
        for step in steps:
            board.add_scalar("train/loss", 1 / step, step, walltime=100.0 + 2 * step)
            if step % 2 == 0:
                board.add_scalar("held-out/psnr", step, step, walltime=100.0 + 2 * step)
    return max(folder.glob("events.*"), key=lambda file: file.stat().st_mtime_ns)


def test_reads_what_was_written_and_only_what_is_new(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path)
    log.read()
    assert log.taken == 0
    assert (log.curves(), log.step, log.seconds_per_step) == ({}, 0, None)
    write(tmp_path, range(1, 7), purge=1)
    log.read()
    taken = log.taken
    assert taken > 0
    log.read()
    assert log.taken == taken
    curves = log.curves()
    assert curves["train/loss"].steps.tolist() == [1, 2, 3, 4, 5, 6]
    assert curves["train/loss"].values == pytest.approx([1 / s for s in range(1, 7)])
    assert curves["held-out/psnr"].values.tolist() == [2, 4, 6]
    assert log.step == 6
    assert log.seconds_per_step == pytest.approx(2.0)


def test_steps_that_were_lost_to_a_kill_come_again_once(tmp_path: Path) -> None:
    write(tmp_path, range(1, 7), purge=1)
    log = TrainingLog(tmp_path)
    log.read()
    write(tmp_path, range(4, 9), purge=4, name="z")
    log.read()
    assert log.curves()["train/loss"].steps.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_long_log_takes_little_memory_and_its_pace_is_that_of_the_last_moments(tmp_path: Path) -> None:
    """A window that is open for as long as a training goes on shows it all the time."""
    with SummaryWriter(str(tmp_path)) as board:
        for step in range(6000):
            board.add_scalar("train/loss", 0.1 + step, 1000 + step, walltime=step * (1.0 if step < 5900 else 3.0))
    log = TrainingLog(tmp_path)
    tracemalloc.start()
    log.read()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 40 * 6000
    curve = log.curves()["train/loss"]
    assert curve.steps.tolist() == list(range(1000, 7000))
    assert curve.values == pytest.approx([0.1 + step for step in range(6000)])
    assert log.seconds_per_step == pytest.approx(3.0)


@pytest.mark.parametrize("cut", [1, 9, 13, 30])
def test_half_a_record_waits_for_its_other_half(tmp_path: Path, cut: int) -> None:
    file = write(tmp_path, range(1, 4), purge=1)
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut])
    log = TrainingLog(tmp_path)
    log.read()
    before = log.step
    file.write_bytes(whole)
    log.read()
    assert before < 3
    assert log.curves()["train/loss"].steps.tolist() == [1, 2, 3]


@pytest.mark.parametrize("damage", [b"\xff" * 100, b"\x04" + b"\0" * 11 + b"\xff" * 8, b""])
def test_damage_ends_a_file_without_harm(tmp_path: Path, damage: bytes) -> None:
    file = write(tmp_path, range(1, 4), purge=1)
    file.write_bytes(file.read_bytes() + damage)
    log = TrainingLog(tmp_path)
    log.read()
    log.read()
    assert log.curves()["train/loss"].steps.tolist() == [1, 2, 3]
