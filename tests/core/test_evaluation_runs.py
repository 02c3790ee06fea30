"""Evaluating trained runs: kept, taken up again, and reported where one fails."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numba
import pytest
import torch

from lipflow.capture import PackedCapture, open_capture, pack
from lipflow.checks import InputError
from lipflow.cli import main
from lipflow.evaluation import evaluating
from lipflow.evaluation.evaluating import EvaluationConfig, RunEvaluation, evaluate_run, evaluation_key
from lipflow.evaluation.frames import EvaluationFrames, FrameCounts, pack_frames
from lipflow.evaluation.judging import read_records
from lipflow.evaluation.many_runs import EvaluatedRuns, check_runs, evaluate_runs, one_thread
from lipflow.evaluation.runs import Run
from lipflow.runs import advance, claimed, opened
from lipflow.training_config import TrainConfig
from support.script_module import script_module

CONFIG = EvaluationConfig(
    tables=(1, 3, 4), counts=FrameCounts(test=3, val=1, train=2), rungs=(2,), impoverish=True, impoverished_frames=1
)
CELLS = (("dam", 0), ("lip-flow-kpt", 0), ("lip-flow-kpt", 1))


def last(states):
    while True:
        try:
            next(states)
        except StopIteration as stop:
            return stop.value


@pytest.fixture(scope="module")
def capture_dir(tiny_capture_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = tmp_path_factory.mktemp("evaluated") / "ann"
    shutil.copytree(tiny_capture_dir, own)
    return own


@pytest.fixture(scope="module")
def trained(capture_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of two steps."""
    sizes = {"texture": 32, "photo": (48, 32), "hmc": (30, 40), "cameras_per_frame": 1, "slop_variants": 0}
    packed: PackedCapture = last(pack(open_capture(capture_dir), **sizes))
    out = tmp_path_factory.mktemp("runs") / "ann"
    for variant, seed in CELLS:
        config = TrainConfig.of(variant, "tiny", seed=seed, steps=2, batch=2)
        folder = out / variant / f"seed-{seed}"
        folder.mkdir(parents=True)
        for _ in advance(opened(folder, config, packed, torch.device("cpu"), None), folder):
            pass
    return out


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> list[Run]:
    """The runs, in folders of this test's own."""
    shutil.copytree(trained, tmp_path / "runs", ignore=shutil.ignore_patterns("evaluation"))
    return [Run.open(tmp_path / "runs" / variant / f"seed-{seed}") for variant, seed in CELLS]


@pytest.fixture(scope="module")
def frames(capture_dir: Path, trained: Path) -> EvaluationFrames:
    run = Run.open(trained / "dam" / "seed-0")
    return last(pack_frames(open_capture(capture_dir), run.sizes(), CONFIG.counts))


@pytest.fixture(scope="module")
def evaluated(trained: Path, frames: EvaluationFrames) -> EvaluatedRuns:
    own = [Run.open(trained / variant / f"seed-{seed}") for variant, seed in CELLS]
    return last(evaluate_runs(own, {"ann": frames}, CONFIG))


def test_every_row_and_frame_is_there_once(evaluated: EvaluatedRuns) -> None:
    assert evaluated.failed == ()
    for run, evaluation in evaluated.evaluations:
        lines = read_records(evaluation.frames)
        places = [(line.table, line.row, line.expression, line.frame, line.camera) for line in lines]
        assert len(set(places)) == len(places) == 3 * 3 * 3  # rows, frames, views
        assert {(line.subject, line.variant, line.seed) for line in lines} == {("ann", run.variant.name, run.seed)}
        assert all(line.config_hash == run.config_hash for line in lines)
    assert {line.row for line in lines} == {"lip-flow-kpt/decode-q", "lip-flow-kpt/fit"}


def test_fits_are_chosen_on_the_first_seed_alone(evaluated: EvaluatedRuns) -> None:
    of = {(run.variant.name, run.seed): evaluation for run, evaluation in evaluated.evaluations}
    first, second = of["lip-flow-kpt", 0], of["lip-flow-kpt", 1]
    assert {(s["row"], s["table"]) for s in first.body["search"]} == {("lip-flow-kpt/fit", 3), ("lip-flow-kpt/fit", 4)}
    assert second.body["search"] == []
    assert second.fits == first.fits
    for tried in first.body["search"]:
        best = max(trial["validation_psnr"] for trial in tried["candidates"])
        assert tried["candidates"][tried["chosen"]]["validation_psnr"] == best


def test_fits_are_never_chosen_on_test_frames(
    runs: list[Run], frames: EvaluationFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search whose scores would come from test frames fails."""
    test = set(frames.indices("test").tolist())
    searching: list[bool] = []
    codes, search = evaluating.Judged.codes, evaluating.search

    def watched(self, row, indices, *rest, **options):
        assert not searching or test.isdisjoint(indices.tolist())
        return codes(self, row, indices, *rest, **options)

    def searched(score, space):
        searching.append(True)
        found = search(score, replace(space, candidates=space.candidates[:1]))
        searching.clear()
        return found

    monkeypatch.setattr(evaluating.Judged, "codes", watched)
    monkeypatch.setattr(evaluating, "search", searched)
    evaluation = evaluate_run(runs[0], frames, replace(CONFIG, impoverish=False))
    assert len(evaluation.body["search"]) == 2


def test_impoverished_rows_are_those_of_the_driving_table(evaluated: EvaluatedRuns) -> None:
    _, evaluation = evaluated.evaluations[-1]
    levels = [(entry["axis"], entry["level"]) for entry in evaluation.body["impoverishment"]]
    assert levels == [("landmarks", n) for n in (136, 68, 34, 17)] + [("noise", n) for n in (0, 1, 2, 4)]
    full = evaluation.body["impoverishment"][0]["frames"][0]
    same = [
        line.psnr
        for line in read_records(evaluation.frames)
        if (line.table, line.expression, line.frame) == (3, full["expression"], full["frame"])
    ]
    assert full["psnr"] == pytest.approx(sum(same) / len(same), abs=1e-4)


def test_what_is_done_is_not_done_again(evaluated: EvaluatedRuns, frames: EvaluationFrames) -> None:
    own = [run for run, _ in evaluated.evaluations]
    stamps = [evaluation.frames.stat().st_mtime_ns for _, evaluation in evaluated.evaluations]
    again = last(evaluate_runs(own, {"ann": frames}, CONFIG))
    assert [evaluation.frames.stat().st_mtime_ns for _, evaluation in again.evaluations] == stamps
    keys = {evaluation_key(own[0], frames, config, None) for config in (CONFIG, replace(CONFIG, rungs=(3,)))}
    assert len(keys) == 2


def test_a_run_that_fails_is_told_and_the_others_go_on(runs: list[Run], frames: EvaluationFrames) -> None:
    (runs[1].folder / "avatar.safetensors").write_bytes(b"no avatar")
    cheap = replace(CONFIG, tables=(1,), impoverish=False)
    states = list(evaluate_runs(runs, {"ann": frames}, cheap))
    assert [state.done for state in states] == sorted(state.done for state in states)
    assert states[-1].done == states[-1].total == 3
    first, second = states[-1].failed
    assert "avatar" in first
    assert "first seed" in second
    assert RunEvaluation.read(runs[0].folder / "evaluation") is not None
    assert sorted(path.name for path in runs[1].folder.iterdir() if "evaluation" in path.name) == []


@dataclass(frozen=True)
class Deadly:
    """Frames that end the process that reads them, as the system does where memory runs out."""

    @property
    def packed(self) -> PackedCapture:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_of_runs_that_a_killed_process_took_along_only_the_guilty_one_fails(
    runs: list[Run], frames: EvaluationFrames
) -> None:
    runs[0] = replace(runs[0], subject="bob")
    cheap = replace(CONFIG, tables=(1,), impoverish=False)
    outcome = last(evaluate_runs(runs, {"ann": frames, "bob": Deadly()}, cheap, jobs=2))
    assert outcome.failed == (f"{runs[0].folder}: its process was killed or crashed (out of memory?)",)
    assert [run.folder for run, _ in outcome.evaluations] == [run.folder for run in runs[1:]]


def test_what_a_killed_evaluation_left_is_removed(runs: list[Run], frames: EvaluationFrames) -> None:
    left = runs[0].folder / ".evaluation.0123abcd"
    left.mkdir()
    (left / "frames.csv").write_text("half")
    cheap = replace(CONFIG, tables=(1,), impoverish=False)
    with claimed(runs[0].folder), pytest.raises(InputError, match="another process"):
        evaluate_run(runs[0], frames, cheap)
    assert left.exists()
    evaluate_run(runs[0], frames, cheap)
    assert not left.exists()


def test_one_thread_is_for_the_work_alone() -> None:
    before = torch.get_num_threads(), numba.get_num_threads()
    with pytest.raises(ZeroDivisionError), one_thread():
        assert (torch.get_num_threads(), numba.get_num_threads()) == (1, 1)
        raise ZeroDivisionError
    assert (torch.get_num_threads(), numba.get_num_threads()) == before


def test_an_evaluation_of_another_version_or_half_of_one_is_none(tmp_path: Path) -> None:
    assert RunEvaluation.read(tmp_path) is None
    (tmp_path / "evaluation.json").write_text(json.dumps({"format": "lipflow-run-evaluation", "version": 99}))
    assert RunEvaluation.read(tmp_path) is None
    (tmp_path / "evaluation.json").write_text("{")
    assert RunEvaluation.read(tmp_path) is None


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda folder: (folder / "run.json").unlink(), "run.json"),
        (lambda folder: (folder / "run.json").write_text("[]"), "the record of a training"),
        (lambda folder: (folder / "avatar.safetensors").unlink(), "let its training end"),
    ],
)
def test_folders_that_are_no_finished_run_are_refused(
    runs: list[Run], damage: Callable[[Path], None], line: str
) -> None:
    damage(runs[0].folder)
    with pytest.raises(InputError, match=line):
        Run.open(runs[0].folder)


def test_runs_that_cannot_stand_side_by_side_are_refused(runs: list[Run], frames: EvaluationFrames) -> None:
    with pytest.raises(InputError, match="expected one, got"):
        check_runs([runs[0], runs[0]])
    larger = replace(runs[1], config=replace(TrainConfig.of("lip-flow-kpt", "small"), seed=5))
    with pytest.raises(InputError, match="models of one size"):
        check_runs([runs[0], larger])
    with pytest.raises(InputError, match="--capture"):
        next(evaluate_runs(runs, {"bob": frames}, CONFIG))


def test_the_command_refuses_what_makes_no_sense(
    trained: Path, capture_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["evaluate", str(trained), "--capture", str(capture_dir), "--out", str(tmp_path / "report")]
    namesake = shutil.copytree(capture_dir, tmp_path / "elsewhere" / capture_dir.name)
    twice = ["--capture", str(capture_dir), str(namesake)]
    small = ["--photo", "5", "9"]  # SSIM's window is mirrored at the picture's border
    for wrong in (["--tables", "1,x"], ["--tables", "9"], ["--jobs", "0"], ["--frames", "0"], small, twice):
        assert main([*given, *wrong]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert main(["evaluate", *given[2:]]) == 2
    assert capsys.readouterr().err == "lipflow: runs: expected at least one, got none\n"
    assert main(["evaluate", str(tmp_path), "--capture", str(capture_dir), "--out", str(tmp_path / "report")]) == 2
    assert not (tmp_path / "report").exists()


def test_optimisers_are_compared_on_validation_frames_of_runs_for_headset_images(
    runs: list[Run], capture_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with script_module("optimisers") as script:
        ways = {name: replace(way, iterations=2) for name, way in script.WAYS.items()}
        monkeypatch.setattr(script, "WAYS", ways)
        folders = [str(run.folder) for run in runs[:2]]
        monkeypatch.setattr("sys.argv", ["optimisers.py", *folders, "--capture", str(capture_dir), "--frames", "1"])
        assert script.main() == 2
    printed = capsys.readouterr()
    rows = [line.split("|")[1:-1] for line in printed.out.splitlines() if line.startswith("| ") and "way" not in line]
    assert [row[0].strip() for row in rows] == list(ways)
    assert all(float(cell) > 0 for row in rows for cell in row[1:-1])  # the last is a time
    assert "lip-flow-kpt" in printed.err.splitlines()[-1]
