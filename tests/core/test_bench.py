"""What the bench compares is the same thing done in two ways; how fast it is, no test says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lipflow.bench import decoder, models
from lipflow.bench.timing import measure_pair
from lipflow.cli import main
from support.random_avatar import random_avatar, tiny_config


def test_the_plain_decoder_decodes_the_same() -> None:
    avatar = random_avatar(tiny_config("flow", "hmc")).for_inference()
    z = torch.randn(3, avatar.config.latent)
    view = torch.nn.functional.normalize(torch.randn(3, 3), dim=-1)
    decoded = avatar.decode(z, view)
    mesh, texture = models.decode_plainly(models.plainly(avatar), z, view)
    torch.testing.assert_close(mesh, decoded.vertices)
    torch.testing.assert_close(texture, decoded.texture, atol=1e-5, rtol=1e-4)


def test_the_large_decoder_is_measured_beside_one_that_gives_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(decoder, "measure_pair", lambda *calls, **_: given.extend(call() for call in calls[:2]))
    decoder.measure(1, vertex_count=5)
    assert len(given) == 2
    for mesh, texture in given:
        assert mesh.shape == (1, 5, 3)
        assert texture.shape == (1, 3, 1024, 1024)
        assert texture.std() > 0


def test_a_pair_is_called_in_turns() -> None:
    calls: list[str] = []
    found = measure_pair(lambda: calls.append("own"), lambda: calls.append("other"), 2, name="a", reference_name="b")
    assert calls == ["own", "other"] * 3
    assert found.ratio == pytest.approx(found.reference_ms / found.median_ms)


def test_a_repeated_pair_reports_a_calls_share() -> None:
    calls: list[str] = []
    found = measure_pair(lambda: calls.append("own"), lambda: calls.append("other"), 2, repeat=2)
    assert calls == (["own"] * 2 + ["other"] * 2) * 3
    assert found.min_ms <= found.median_ms <= found.worst_ms
    assert found.min_ms <= found.mean_ms <= found.worst_ms


def test_drags_are_measured_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "DRAGS", ((3, (0.0, 0.05), 4), (0, (0.02, 0.0), 2)))
    found = models.measure_drags(random_avatar(tiny_config("flow", "kpt")).for_inference())
    assert found.worst_ms >= found.mean_ms > 0


def test_the_bench_writes_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = measure_pair(lambda: None, lambda: None, 1, name="nothing", reference_name="also nothing")
    monkeypatch.setattr("lipflow.bench.renderer.measure", lambda rounds: {"nothing": pair})
    monkeypatch.setattr("lipflow.bench.decoder.measure", lambda rounds: {})
    monkeypatch.setattr("lipflow.bench.models.measure", lambda rounds: {})
    assert main(["bench", "--json", str(tmp_path / "bench.json")]) == 0
    body = json.loads((tmp_path / "bench.json").read_text())
    assert body["measurements"][0]["name"] == "nothing"
    assert body["machine"]["gemm_gflops"] > 0
    assert "also nothing" in capsys.readouterr().out
