"""A run's folder is looked at while another process writes to it."""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from lipflow.files import write_json
from lipflow.runs import LOGS, RECORD, claimed
from lipflow.serial import to_json
from lipflow.training_config import TrainConfig
from lipflow_studio.run_watch import RunState, Seen, Watch, watch_runs
from lipflow_studio.workers import Waiting


def test_curves_grow_with_the_log_of_the_run_that_trains(tmp_path: Path) -> None:
    """They stood: where the run stands was read from the same log before, and nothing was new any more."""
    watch = watch_runs(Watch(known=(tmp_path,), chosen=tmp_path))
    with claimed(tmp_path), SummaryWriter(str(tmp_path / LOGS)) as board:
        write_json(tmp_path / RECORD, {"capture": "a capture", "config": to_json(TrainConfig.of("dam", "tiny"))})
        for step in (1, 2, 3):
            board.add_scalar("train/loss", 1.0, step)
            board.flush()
            seen = next(found for found in watch if not isinstance(found, Waiting))
            assert isinstance(seen, Seen)
            assert seen.view is not None
            assert [(run.state, run.step) for run in seen.runs] == [(RunState.RUNNING, step)]
            assert seen.view.curves["train/loss"].steps.tolist() == list(range(1, step + 1))
        assert isinstance(next(watch), Waiting)  # nothing is new
    watch.close()
