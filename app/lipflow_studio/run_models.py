"""The model of a run as it is now: its finished avatar, or the one of its latest checkpoint."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import torch

from lipflow.avatar import Avatar
from lipflow.capture import open_capture, pack
from lipflow.capture.packed import PackedCapture
from lipflow.checks import InputError
from lipflow.runs import AVATAR, CHECKPOINT, Holder
from lipflow.steering import SAVE
from lipflow.training import Training
from lipflow.variants import PRESETS
from lipflow_studio.document import AvatarInfo
from lipflow_studio.opening import load_avatar
from lipflow_studio.training_process import Job

_SAVE_S = 60.0  # for a running process to save a checkpoint when it is asked to


def load_model(job: Job, name: str, runs_in: Holder | None, device: torch.device) -> tuple[Avatar, AvatarInfo]:
    """The avatar of a run; of one that is not finished a copy is written into its folder first. Slow.

    Args:
        job: of the run.
        name: what to call it.
        runs_in: the process that trains it and may be asked for a checkpoint.

    Raises:
        InputError: if there is no model yet, or the capture or its pack are gone.
    """
    file = job.folder / AVATAR
    if not file.is_file():
        if runs_in is not None and runs_in.steered:
            _ask_for_checkpoint(job.folder, runs_in.pid)
        file = _copy_of_checkpoint(job)
    avatar, info = load_avatar(file, device)
    return avatar, replace(info, name=name)


def _ask_for_checkpoint(folder: Path, pid: int) -> None:
    """Let a process save what it has and wait for that; a paused one has to do with what it saved last."""
    file = folder / CHECKPOINT
    before, deadline = _changed(file), time.monotonic() + _SAVE_S
    try:
        os.kill(pid, SAVE)
    except ProcessLookupError:
        return
    while _changed(file) == before and time.monotonic() < deadline:
        time.sleep(0.05)


def _copy_of_checkpoint(job: Job) -> Path:
    if not (job.folder / CHECKPOINT).is_file():
        got = "one that has saved nothing yet"
        raise InputError(f"run {job.folder}", expected="a model", got=got, mend="wait for its first steps")
    training = Training.resume(job.folder / CHECKPOINT, _packed(job), "cpu")
    file = job.folder / f"avatar-at-{training.step}.safetensors"
    if not file.is_file():
        training.finished_avatar().save(file, half=True)
    return file


def _packed(job: Job) -> PackedCapture:
    """The pack that the run was trained on; it is not made here, that takes minutes."""
    sizes = PRESETS[job.preset]
    states = pack(
        open_capture(job.capture),
        texture=sizes.avatar.texture,
        photo=sizes.photo,
        hmc=sizes.avatar.driver.size,
        cameras_per_frame=job.cameras_per_frame,
    )
    try:
        progress = next(states)
        if progress.done < progress.total:
            mend = "resume the run, which packs it again"
            raise InputError(f"capture {job.capture}", expected="its pack for this run", got="none", mend=mend)
        next(states)
    except StopIteration as stop:
        return stop.value
    finally:
        states.close()
    raise AssertionError("a whole pack is given back at once")


def _changed(file: Path) -> float:
    return file.stat().st_mtime if file.is_file() else 0.0
