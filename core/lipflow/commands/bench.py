"""``lipflow bench``: the speed of renderer, decoder, flow, fits and training step on this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from lipflow.bench import decoder, models, renderer
from lipflow.bench.machine import measure_machine
from lipflow.bench.timing import Measurement
from lipflow.checks import InputError
from lipflow.commands.output import check_output
from lipflow.files import write_json
from lipflow.training_start import provenance


@dataclass(frozen=True)
class Bench:
    """Measure this machine's CPU: each figure beside a plain reference from the same run, as a ratio."""

    json: Path | None = None
    """Also write the figures to this file."""
    rounds: int = 7
    """How often each pair is measured, in turns; medians are reported."""

    def run(self) -> None:
        if self.rounds < 1:
            raise InputError("--rounds", expected="1 or more", got=self.rounds)
        if self.json is not None:
            check_output(self.json.parent)
        machine = measure_machine(torch.device("cpu"))
        sys.stdout.write(
            f"{machine.device}: {machine.gemm_gflops:.0f} GFLOP/s in a float32 matrix product, "
            f"{machine.copy_gb_per_s:.1f} GB/s in a copy\n"
        )
        found: list[Measurement] = []
        parts: tuple[Callable[[int], dict[str, Measurement]], ...] = (renderer.measure, decoder.measure, models.measure)
        for part in parts:
            for measurement in part(self.rounds).values():
                found.append(measurement)
                sys.stdout.write(_line(measurement) + "\n")
                sys.stdout.flush()
        if self.json is not None:
            figures = [asdict(measurement) for measurement in found]
            write_json(self.json, {"machine": asdict(machine), "measurements": figures, **provenance()})


def _line(m: Measurement) -> str:
    spread = f"(mean {m.mean_ms:.2f}, worst {m.worst_ms:.2f})"
    return (
        f"{m.name:<58} {m.median_ms:9.2f} ms {spread:<32} {m.ratio:6.1f} x   {m.reference_name} {m.reference_ms:.1f} ms"
    )
