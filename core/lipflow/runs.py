"""A training run in its folder: who may write there, what is written when, and where the run stands.

``run.json`` says what was begun, ``checkpoint.safetensors`` where it stands, ``avatar.safetensors`` that it is
finished; ``logs/`` holds TensorBoard scalars, ``sample.png`` and ``codes.npz`` the latest picture and codes.
``process.json`` is there while a process trains. Every file is replaced whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from lipflow.avatar import Avatar
from lipflow.avatar_file import FORMAT as AVATAR_FORMAT
from lipflow.capture.packed import PackedCapture
from lipflow.checkpoint import load_body
from lipflow.checks import InputError
from lipflow.device import describe_device
from lipflow.distributed import ALONE, Ranks
from lipflow.files import replacing, write_json
from lipflow.locks import lock
from lipflow.serial import config_hash, from_json, to_json
from lipflow.training import FORMAT as TRAINING_FORMAT
from lipflow.training import Training, TrainState
from lipflow.training_config import TrainConfig
from lipflow.training_start import provenance
from lipflow.validation import Snapshot

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

# What a run's folder holds.
RECORD = "run.json"
CHECKPOINT = "checkpoint.safetensors"
AVATAR = "avatar.safetensors"
SAMPLE = "sample.png"
CODES = "codes.npz"
LOGS = "logs"
PROCESS = "process.json"
_SAVE_SECONDS = 60.0  # between two checkpoints
_FLUSH_SECONDS = 2  # between two moments from which others can read the log
_LOOK_SECONDS = 0.2  # between two looks whether a folder has become free


def is_finished(folder: Path, config: TrainConfig) -> bool:
    """Whether the folder holds the avatar that ``config`` makes.

    Raises:
        InputError: if what lies there was made with another config.
    """
    finished = (folder / AVATAR).is_file()
    if finished or (folder / CHECKPOINT).is_file():
        begun = _config_of_avatar(folder) if finished else _config_of_record(folder)
        if begun != config:
            expected, mend = "the options that it was begun with", "give those, or another folder"
            raise InputError(f"run {folder}", expected=expected, got=_apart(begun, config), mend=mend)
    return finished


def steps_done(folder: Path, config: TrainConfig) -> int:
    """How far a run stood when it last wrote something."""
    if (folder / AVATAR).is_file():
        return config.steps
    try:
        step = load_body(folder / CHECKPOINT, what="checkpoint", kind=TRAINING_FORMAT).get("step")
    except InputError:  # not yet there
        return 0
    return step if isinstance(step, int) else 0


@dataclass(frozen=True)
class Holder:
    """The process that trains in a folder."""

    pid: int
    steered: bool  # whether it hears the signals of ``lipflow.steering``


def holder(folder: Path) -> Holder | None:
    """Who trains in a folder on this machine; None where nobody does."""
    try:
        body = json.loads((folder / PROCESS).read_text())
        found = Holder(int(body["pid"]), bool(body["steered"]))
        os.kill(found.pid, 0)
        handle = os.open(folder, os.O_RDONLY)
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return None
    try:
        return None if lock(handle) else found  # a number that is some other process's by now holds nothing
    finally:
        os.close(handle)


@contextlib.contextmanager
def claimed(folder: Path, patience_s: float = 0.0, *, steered: bool = False) -> Iterator[None]:
    """Hold a run's folder, made if need be, for this process alone; what a killed one left half-written is removed.

    The claim ends with the process, however it ends. ``steered`` tells others that it hears their signals.

    Raises:
        InputError: if another process trains there, and still does after ``patience_s`` seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    deadline = time.monotonic() + patience_s
    try:
        while not lock(handle):
            if time.monotonic() > deadline:
                raise InputError(f"run {folder}", expected="a folder to itself", got="one that another process uses")
            time.sleep(_LOOK_SECONDS)
        for name in (CHECKPOINT, AVATAR, RECORD, SAMPLE, CODES, PROCESS):
            stem, suffix = os.path.splitext(name)
            for half in folder.glob(f".{stem}.{'?' * 8}{suffix}"):
                half.unlink(missing_ok=True)
        write_json(folder / PROCESS, {"pid": os.getpid(), "steered": steered})
        try:
            yield
        finally:
            (folder / PROCESS).unlink(missing_ok=True)
    finally:
        os.close(handle)


def opened(
    folder: Path,
    config: TrainConfig,
    packed: PackedCapture,
    device: torch.device,
    base: Avatar | None = None,
    options: Mapping[str, Any] | None = None,
    ranks: Ranks = ALONE,
) -> Training:
    """The run of a folder: a new one, or the one that stopped there. ``options`` of a command go on record."""
    is_finished(folder, config)  # refuses another run's folder
    if (folder / CHECKPOINT).is_file():
        return Training.resume(folder / CHECKPOINT, packed, device, ranks)
    training = Training(config, packed, device, base=base, ranks=ranks)
    if not ranks.is_first:
        return training
    record = {"config": to_json(config), "config_hash": config_hash(config), "capture": packed.name}
    given = {} if options is None else {"options": dict(options)}
    write_json(folder / RECORD, {**record, **given, "device": describe_device(device), **provenance()})
    return training


def advance(training: Training, folder: Path) -> Generator[TrainState, None, None]:
    """Train to the end and write as it goes; a stop writes a checkpoint first, the end the avatar.

    Of several processes the first one writes.

    Raises:
        InputError: if the folder is removed meanwhile; nothing is written there any more.
    """
    if not training.ranks.is_first:
        yield from training.run()
        return
    from torch.utils.tensorboard import SummaryWriter  # slow to import: the studio shows its first face before

    saved = time.monotonic()
    # Scalars of steps that were lost to a kill come again.
    with SummaryWriter(str(folder / LOGS), purge_step=training.step + 1, flush_secs=_FLUSH_SECONDS) as board:
        try:
            for state in training.run():
                if not (folder / RECORD).is_file():
                    raise InputError(
                        f"run {folder}", expected="its folder", got="one that was removed while it trained"
                    )
                _log(board, state, training.config.log_every)
                if state.snapshot is not None:
                    _show(state.snapshot, folder)
                if time.monotonic() - saved > _SAVE_SECONDS:
                    training.save(folder / CHECKPOINT)
                    saved = time.monotonic()
                yield state
        finally:
            # One that was cut within a step is not saved, the last checkpoint stands; nor is one without its record,
            # which could not go on from there.
            if training.is_whole and (folder / RECORD).is_file():
                training.save(folder / CHECKPOINT)
    training.finished_avatar().save(folder / AVATAR, half=True)


def _config_of_avatar(folder: Path) -> TrainConfig | None:
    record = load_body(folder / AVATAR, what="avatar", kind=AVATAR_FORMAT).get("record")
    return _config(record, folder / AVATAR)


def _config_of_record(folder: Path) -> TrainConfig | None:
    try:
        body = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return None
    return _config(body, folder / RECORD)


def _config(body: object, path: Path) -> TrainConfig | None:
    """The config that a record names; None where it names none that this program knows."""
    try:
        return from_json(TrainConfig, body.get("config") if isinstance(body, dict) else None, what=f"{path}, config")
    except InputError:
        return None


def _apart(begun: TrainConfig | None, config: TrainConfig) -> str:
    """How a config differs from the one that a run was begun with."""
    if begun is None:
        return "others than those on record, which this version does not know"
    told = []
    for name, before in vars(begun).items():
        now = getattr(config, name)
        if now != before:
            simple = isinstance(now, str | int | float | None)
            told.append(f"{name} {now} instead of {before}" if simple else f"other {name}")
    return ", ".join(told)


def _show(snapshot: Snapshot, folder: Path) -> None:
    """Write a snapshot where others see it."""
    if snapshot.picture is not None:
        with replacing(folder / SAMPLE) as beside:
            Image.fromarray(snapshot.picture).save(beside)
    codes = {name: getattr(snapshot, name) for name in ("codes_q", "codes_u", "codes_p", "codes_start")}
    with replacing(folder / CODES) as beside:
        np.savez(beside, segments=np.array(snapshot.segments), **codes)


def _log(board: SummaryWriter, state: TrainState, every: int) -> None:
    if state.step % every == 0:
        for name, value in state.scalars.items():
            board.add_scalar(f"train/{name}", value, state.step)
    if state.validated:
        for name, value in (state.validation or {}).items():
            board.add_scalar(f"held-out/{name}", value, state.step)
