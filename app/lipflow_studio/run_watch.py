"""Looking at run folders from a thread: what is there, where each run stands, and the curves of the one that is shown.

Nothing here trains or decides: a run is what its folder says, whoever trains it. The generator runs in a Worker.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from PIL import Image
from safetensors import SafetensorError, safe_open

from lipflow.avatar_file import FORMAT as AVATAR_FORMAT
from lipflow.checkpoint import load_body
from lipflow.checks import InputError
from lipflow.latent_space import Projection
from lipflow.runs import AVATAR, CHECKPOINT, CODES, LOGS, RECORD, SAMPLE, Holder, holder, steps_done
from lipflow.serial import from_json
from lipflow.training_config import TrainConfig
from lipflow.training_log import Curve, TrainingLog
from lipflow_studio.document import ByteArray, FloatArray
from lipflow_studio.workers import Waiting

LOOK_S = 1.0  # between two looks
DEPTH = 4  # folders below the one that is searched
OUTPUT = "train.log"  # in a run's folder: what its process said
_TAIL = 2000  # bytes of it that are read
_SAID_BY = "lipflow: "  # before a mistake's line
_BAR = re.compile(r"\d+%\|")  # how far something is
_DRAWN = re.compile(r"^(?P<what>[^|]*: )?\s*\d+%\|[^|]*\|\s*(?P<count>\d+/\d+) \[.*$")  # the whole of one


class RunState(Enum):
    """What a run is doing."""

    QUEUED = "Waiting"
    PREPARING = "Preparing"
    RUNNING = "Training"
    PAUSED = "Paused"
    STOPPED = "Stopped"
    FINISHED = "Finished"
    FAILED = "Failed"


@dataclass(frozen=True)
class RunFacts:
    """A run as its folder tells it."""

    folder: Path
    capture: str  # its name
    config: TrainConfig
    options: Mapping[str, Any] = field(hash=False)  # of the command that began it; none where it kept none
    state: RunState
    step: int
    eta_s: float | None  # seconds to go, while it trains
    note: str  # why it failed
    holder: Holder | None  # the process that trains it


@dataclass(frozen=True, eq=False)
class Plane:
    """Codes in the plane of their two largest variances."""

    codes: FloatArray  # [n, 2]
    prior: FloatArray  # [n, 2] the prior's guess for each
    kinds: tuple[int, ...]  # [n] number of the expression
    share: float  # of the variance that the plane shows


@dataclass(frozen=True, eq=False)
class RunView:
    """What is shown of one run."""

    folder: Path
    curves: Mapping[str, Curve]
    sample: ByteArray | None  # [H, 3W, 3] photo, reconstruction, the prior's guess
    p: Plane | None
    q: Plane | None


@dataclass(frozen=True)
class Watch:
    """What to look at: a folder of runs, some further ones, and the one to show."""

    root: Path | None = None
    known: tuple[Path, ...] = ()
    chosen: Path | None = None


@dataclass(frozen=True, eq=False)
class Seen:
    """What is there."""

    runs: tuple[RunFacts, ...]
    view: RunView | None


def watch_runs(watch: Watch) -> Generator[Seen | Waiting, Watch | None, None]:
    """Looks about once a second, or when it is told what to look at; yields what changed."""
    eye = _Eye()
    before: Seen | None = None
    while True:
        seen = eye.look(watch)
        if before is None or seen.runs != before.runs or seen.view is not before.view:
            before = seen
            message = yield seen
            if message is not None:
                watch = message
                continue
        message = yield Waiting(LOOK_S)
        watch = message or watch


def find_runs(root: Path) -> Iterator[Path]:
    """Run folders up to ``DEPTH`` levels below ``root``, in order."""
    for folder, below, files in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        if RECORD in files:
            yield Path(folder)
        if RECORD in files or depth >= DEPTH:
            below.clear()
        below[:] = sorted(name for name in below if not name.startswith("."))


def last_words(folder: Path) -> str:
    """What a run's process said at its end; "" where that is only how far it was: it did not end by itself."""
    line = _last_line(folder)
    return "" if _BAR.search(line) else line


def last_line(folder: Path, since: int = 0) -> str:
    """The last line that a run's process wrote, a progress bar in words; "" where it wrote none after the first
    ``since`` bytes, which are of processes before it."""
    return _DRAWN.sub(r"\g<what>\g<count>", _last_line(folder, since))


def _last_line(folder: Path, since: int = 0) -> str:
    try:
        with (folder / OUTPUT).open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(since, stream.tell() - _TAIL))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines()]
    return next((line for line in reversed(lines) if line), "").removeprefix(_SAID_BY)


class _Eye:
    """Remembers what it read: a file that did not change is not read again."""

    def __init__(self) -> None:
        self._records: dict[Path, tuple[float, tuple[str, TrainConfig, Mapping[str, Any]] | None]] = {}
        self._steps: dict[Path, tuple[float, int]] = {}
        self._logs: dict[Path, TrainingLog] = {}
        self._view: RunView | None = None
        self._taken = 0  # records of the log that the view shows
        self._pictured: tuple[float, ...] = ()

    def look(self, watch: Watch) -> Seen:
        found = [] if watch.root is None else list(find_runs(watch.root))
        folders = dict.fromkeys([*watch.known, *found])
        runs = tuple(facts for folder in folders if (facts := self._facts(folder)) is not None)
        return Seen(runs, None if watch.chosen is None else self._shown(watch.chosen))

    def _facts(self, folder: Path) -> RunFacts | None:
        record = self._record(folder)
        if record is None:
            return None
        capture, config, options = record
        held = holder(folder)
        step, eta, note = 0, None, ""
        if (folder / AVATAR).is_file():
            state, step = RunState.FINISHED, config.steps
        elif held is not None:
            state = RunState.PAUSED if _rests(held.pid) else RunState.RUNNING
            log = self._log(folder)
            log.read()
            step, pace = log.step, log.seconds_per_step
            eta = None if pace is None else pace * (config.steps - step)
        elif (folder / CHECKPOINT).is_file():
            state, step = RunState.STOPPED, self._saved_step(folder, config)
        else:
            state, note = RunState.FAILED, last_words(folder)
        return RunFacts(folder, capture, config, options, state, step, eta, note, held)

    def _record(self, folder: Path) -> tuple[str, TrainConfig, Mapping[str, Any]] | None:
        """Capture, config and options of a run; None where its record is none that this program knows."""
        file = folder / RECORD
        changed = _changed(file)
        if folder not in self._records or self._records[folder][0] != changed:
            try:
                body = json.loads(file.read_text())
                config = from_json(TrainConfig, body["config"], what="config")
                options = body.get("options")
                found = (str(body.get("capture")), config, options if isinstance(options, dict) else {})
            except (OSError, ValueError, TypeError, KeyError, InputError):
                found = None
            self._records[folder] = (changed, found)
        return self._records[folder][1]

    def _saved_step(self, folder: Path, config: TrainConfig) -> int:
        changed = _changed(folder / CHECKPOINT)
        if folder not in self._steps or self._steps[folder][0] != changed:
            self._steps[folder] = (changed, steps_done(folder, config))
        return self._steps[folder][1]

    def _log(self, folder: Path) -> TrainingLog:
        if folder not in self._logs:
            self._logs[folder] = TrainingLog(folder / LOGS)
        return self._logs[folder]

    def _shown(self, folder: Path) -> RunView:
        """The view of a run; the same object as before where nothing is new."""
        log, pictured = self._log(folder), tuple(_changed(folder / name) for name in (SAMPLE, CODES, AVATAR))
        old = self._view if self._view is not None and self._view.folder == folder else None
        log.read()
        is_new = old is None or log.taken != self._taken
        if old is not None and pictured == self._pictured:
            if not is_new:
                return old
            sample, p, q = old.sample, old.p, old.q
        else:
            sample, (p, q) = _sample(folder / SAMPLE), _planes(folder)
        curves = log.curves() if old is None or is_new else old.curves
        self._taken, self._pictured = log.taken, pictured
        self._view = RunView(folder, curves, sample, p, q)
        return self._view


def _changed(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _rests(pid: int) -> bool:
    """Whether a process is stopped, where the system tells (Linux)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
    except (OSError, IndexError):
        return False


def _sample(file: Path) -> ByteArray | None:
    try:
        with Image.open(file) as picture:
            return np.asarray(picture.convert("RGB")).copy()
    except (OSError, ValueError):
        return None


def _planes(folder: Path) -> tuple[Plane | None, Plane | None]:
    """P and Q of a run's codes, each in its own plane."""
    for read in (_codes_of_snapshot, _codes_of_avatar):  # only the first knows the prior's guesses
        try:
            u, prior_u, q, prior_q, segments = read(folder)
            _, kinds = np.unique(segments, return_inverse=True)
            return _plane(u, prior_u, kinds), _plane(q, prior_q, kinds)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, SafetensorError, InputError):
            continue
    return None, None


def _codes_of_snapshot(folder: Path) -> tuple[np.ndarray, ...]:
    with np.load(folder / CODES, allow_pickle=False) as codes:
        return tuple(codes[name] for name in ("codes_u", "codes_p", "codes_q", "codes_start", "segments"))


def _codes_of_avatar(folder: Path) -> tuple[np.ndarray, ...]:
    """Those that a finished avatar carries."""
    segments = load_body(folder / AVATAR, what="avatar", kind=AVATAR_FORMAT)["segments"]
    with safe_open(folder / AVATAR, framework="np") as file:
        q, u = (file.get_tensor(f"samples/{name}").astype(np.float32) for name in "zu")
    return u, u[:0], q, q[:0], np.array(segments)


def _plane(codes: FloatArray, prior: FloatArray, kinds: np.ndarray) -> Plane:
    seen = Projection.of(codes, 2)
    numbers = tuple(int(kind) for kind in kinds)
    return Plane(seen.to_plane(codes), seen.to_plane(prior), numbers, float(seen.share.sum()))
