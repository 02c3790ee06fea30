"""What the report shows beside its tables: made from runs once, kept without loss, the same each time."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from lipflow.capture import open_capture
from lipflow.checks import InputError
from lipflow.evaluation.codes import Judged
from lipflow.evaluation.exhibits import FILE, Exhibits
from lipflow.evaluation.frames import EvaluationFrames, FrameCounts, FrameSizes, pack_frames
from lipflow.evaluation.judging import judge
from lipflow.evaluation.making_exhibits import ExhibitPlan, fingerprint, make_exhibits
from lipflow.evaluation.protocols import TABLES
from lipflow.evaluation.report import write_report
from lipflow.evaluation.results_file import read_results
from lipflow.evaluation.runs import AVATAR, Run
from lipflow.serial import config_hash
from lipflow.training import Training
from lipflow.training_config import TrainConfig
from lipflow.variants import PRESETS
from support.example_results import example_results, some_exhibits

Result = TypeVar("Result")
PLAN = ExhibitPlan(frames=3, readings=4, inputs=4, codes=6)
TRAINED = ("dam", "dam-reg-hmc", "lip-flow-hmc", "lip-kl-kpt", "lip-flow-kpt")


@dataclass(frozen=True)
class Evaluated:
    results: dict[str, Any]
    runs: list[Run]
    frames: dict[str, EvaluationFrames]


@pytest.fixture(scope="module")
def evaluated(tiny_capture_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """Runs that have not been trained, and made-up results that name them."""
    sizes = PRESETS["tiny"]
    wanted = FrameSizes(sizes.avatar.texture, sizes.photo, sizes.avatar.driver.size)
    frames = end(pack_frames(open_capture(tiny_capture_dir), wanted, FrameCounts(test=6, val=2, train=6)))
    subject, runs, base = frames.packed.name, [], None
    for variant in TRAINED:
        config = TrainConfig.of(variant, "tiny", steps=1)
        avatar = Training(config, frames.packed, base=base).finished_avatar()
        base = avatar if variant == "dam" else base
        folder = tmp_path_factory.mktemp(variant)
        avatar.save(folder / AVATAR, half=True)
        runs.append(Run(folder, subject, config, config_hash(config), "a1b2"))
    results = example_results(tables=(2, 3, 4))
    results["subjects"] = [subject]
    for table in results["tables"]:
        for row in table["rows"]:
            if row["fit"]:
                fit = next(iter(row["fit"].values())) | {"iterations": 5}
                row["fit"] = {subject: fit | {"optimiser": "lm" if table["number"] == 3 else "adam"}}
    return Evaluated(results, runs, {subject: frames})


@pytest.fixture(scope="module")
def made(evaluated: Evaluated) -> Exhibits:
    return end(make_exhibits(evaluated.results, evaluated.runs, evaluated.frames, PLAN))


def end(states: Generator[Any, None, Result]) -> Result:
    """What a generator returns."""
    while True:
        try:
            next(states)
        except StopIteration as stop:
            return stop.value


def test_strips_show_what_was_trained(made: Exhibits) -> None:
    shown = {(strip.table, strip.driving): [panel.variant for panel in strip.panels] for strip in made.strips}
    assert shown[2, "hmc"] == [None, None, "dam", "dam-reg-hmc", "lip-flow-hmc", None]
    assert shown[3, "kpt"] == [None, None, "dam", "lip-kl-kpt", "lip-flow-kpt", None]
    assert shown[4, "hmc"] == [None, None, "dam", "lip-flow-hmc", None]
    for strip in made.strips:
        target, given, *models = strip.panels
        assert target.error is None
        assert given.error is None
        assert given.picture.any()
        for panel in models:
            assert panel.error is not None
            assert panel.picture.shape[:2] == panel.error.shape == target.picture.shape[:2]
        assert models[-1].geom_mm == pytest.approx(0, abs=1e-4)  # the truth itself
        assert models[-1].psnr is not None
        assert models[-1].psnr > max(panel.psnr or 0 for panel in models[:-1])
    assert len({(strip.table, strip.subject, strip.expression, strip.frame) for strip in made.strips}) == len(
        made.strips
    )


def test_a_decoded_face_is_judged_as_the_tables_do(made: Exhibits, evaluated: Evaluated) -> None:
    strip = next(strip for strip in made.strips if strip.table == 2)
    (panel,) = (panel for panel in strip.panels if panel.variant == "dam-reg-hmc")
    (run,) = (run for run in evaluated.runs if run.config.variant == "dam-reg-hmc")
    (row,) = (row for table in TABLES if table.number == 2 for row in table.rows if row.name == "dam-reg-hmc/decode-p")
    judged = Judged(run.avatar(), evaluated.frames[strip.subject])
    places = judged.frames.packed.frames
    index = np.array([k for k, id in enumerate(places) if (id.segment, id.number) == (strip.expression, strip.frame)])
    figures = {figure.camera: figure for figure in judge(judged, judged.codes(row, index), index)}
    assert panel.psnr == pytest.approx(figures[strip.camera.split()[0]].psnr, abs=1e-3)
    assert panel.geom_mm == pytest.approx(figures["front"].geom_mm, abs=1e-4)


def test_curves_run_over_the_fits_of_the_strips(made: Exhibits) -> None:
    assert {(curve.table, curve.variant) for curve in made.curves} == {
        *((2, variant) for variant in ("dam", "lip-flow-hmc")),
        *((3, variant) for variant in ("dam", "lip-kl-kpt", "lip-flow-kpt")),
        *((4, variant) for variant in ("dam", "lip-flow-hmc")),
    }
    for curve in made.curves:
        strips = [strip for strip in made.strips if (strip.table, strip.driving) == (curve.table, curve.driving)]
        for lines in (curve.data_energy, curve.negative_log_prior, curve.psnr):
            assert lines.shape == (len(strips), len(curve.iterations))
            assert np.isfinite(lines).all()
        assert curve.iterations[0] == 0
        assert 1 <= curve.iterations[-1] <= 5
        assert (curve.data_energy > 0).all()
        best = curve.data_energy + curve.negative_log_prior  # λ is 1 in the example
        assert (best[:, -1] <= best[:, 0] + 1e-2).all()


def test_draws_of_every_driven_prior(made: Exhibits) -> None:
    assert [codes.variant for codes in made.codes] == ["lip-flow-hmc", "lip-flow-kpt", "lip-kl-kpt"]
    for codes in made.codes:
        assert codes.p.shape == codes.q.shape == (PLAN.inputs * PLAN.codes, 2)
        assert np.bincount(codes.labels).tolist() == [PLAN.codes] * PLAN.inputs
        assert codes.one_space == codes.variant.startswith("lip-kl")
        assert -1 <= codes.silhouette_q <= 1
    clusters = made.clusters()
    assert [one["codes"] for one in clusters] == [PLAN.codes] * 3
    assert clusters[2]["silhouette"]["p"] == clusters[2]["silhouette"]["q"]


def test_the_same_runs_give_the_same_exhibits_and_a_file_keeps_them(
    made: Exhibits, evaluated: Evaluated, tmp_path: Path
) -> None:
    again = end(make_exhibits(evaluated.results, evaluated.runs, evaluated.frames, PLAN))
    made.save(tmp_path / "a.npz")
    again.save(tmp_path / "b.npz")
    a, b = (np.load(tmp_path / name, allow_pickle=False) for name in ("a.npz", "b.npz"))
    assert a.files == b.files
    for name in a.files:
        np.testing.assert_array_equal(a[name], b[name])
    _same(Exhibits.load(tmp_path / "a.npz"), made)


def _same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for left, right in zip(a, b):
            _same(left, right)
    elif hasattr(a, "__dict__"):
        for name in vars(a):
            _same(getattr(a, name), getattr(b, name))
    else:
        assert a == b


@pytest.mark.parametrize("damage", ["truncated", "foreign", "text", "lacking"])
def test_damaged_exhibits_are_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / FILE
    some_exhibits().save(path)
    whole = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "foreign":
        np.savez(path, about=np.array('{"format": "other", "version": 1}'))
    elif damage == "text":
        path.write_text("no archive")
    else:
        with np.load(path) as stored:
            np.savez(path, **{name: stored[name] for name in stored.files if name != "strips.0.panels.0.picture"})
    with pytest.raises(InputError, match="exhibits") as caught:
        Exhibits.load(path)
    assert "\n" not in str(caught.value)


def test_a_report_makes_its_exhibits_once(evaluated: Evaluated, tmp_path: Path) -> None:
    write = lambda results: list(write_report(results, evaluated.runs, evaluated.frames, tmp_path, PLAN))  # noqa: E731
    tables = [table for table in evaluated.results["tables"] if table["number"] == 3]
    small = {**evaluated.results, "tables": tables, "impoverishment": [], "search": [], "calibration": None}
    states = write(small)
    assert states[-1].done == states[-1].total
    first = (tmp_path / FILE).read_bytes()
    assert read_results(tmp_path / "results.json")["clusters"] == Exhibits.load(tmp_path / FILE).clusters()
    page = (tmp_path / "report.html").read_bytes()
    assert write(small) == []  # nothing is fitted again
    assert (tmp_path / "report.html").read_bytes() == page
    other = {**small, "runs": [{**run, "config_hash": "other"} for run in small["runs"]]}
    assert fingerprint(other, PLAN) != fingerprint(small, PLAN)
    assert fingerprint(small, replace(PLAN, codes=7)) != fingerprint(small, PLAN)
    (tmp_path / FILE).write_bytes(first[:100])
    assert write(small)  # what is damaged is made again
    assert Exhibits.load(tmp_path / FILE).source == fingerprint(small, PLAN)
