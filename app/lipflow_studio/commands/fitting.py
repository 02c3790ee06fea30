"""The fit: what it is driven by, how it runs, where it starts."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lipflow.checks import InputError
from lipflow_studio.commands import command
from lipflow_studio.document import KeypointSet, Source, Status
from lipflow_studio.engine import decode_shape
from lipflow_studio.observing import has_prior, wanted_by

if TYPE_CHECKING:
    from lipflow_studio.session import Session

# What lets a prior be had beside a photograph, by what drives it.
MENDS = {Source.KEYPOINTS: "pin keypoints first", Source.HEADSET: "open headset images first"}
# What the undo menu calls a field of FitConfig.
FIELDS = {
    "optimiser": "the optimiser",
    "iterations": "the iterations",
    "learning_rate": "the learning rate",
    "prior_weight": "λ",
    "likelihood": "the likelihood's use",
    "space": "the space",
    "start": "the start",
    "prior": "the prior",
    "edges": "the edges",
    "tolerance": "the tolerance",
    "pictures_every": "the rate of pictures",
}


def _same_fields(**changes: Any) -> Hashable:
    return tuple(sorted(changes))


@command()
def set_source(session: Session, source: str) -> None:
    """Fit to what is given by its name: KEYPOINTS, HEADSET or FRONTAL."""
    if source not in Source.__members__:
        session.report(InputError("source", expected=" or ".join(Source.__members__), got=repr(source)))
        return
    wanted = Source[source]
    if session.avatar_info is not None and not session.document.offers(wanted):
        expected = f"something open: {wanted.value.lower()}"
        session.report(InputError("source", expected=expected, got="nothing", mend="open it first"))
    elif session.avatar_info is not None and wanted is not session.source:
        session.edit(f"fit to {wanted.value.lower()}", source=wanted)


@command(same=_same_fields)
def set_fit_config(session: Session, **changes: Any) -> None:
    """Change fields of the fit's configuration; a fit goes on with them."""
    config, source = session.fit_config, session.source
    if config is None:
        return
    try:
        after = replace(config, **changes)
        _check_suits(session, changes)
    except (InputError, TypeError) as error:
        session.report(error)
        return
    if after == config:
        return
    names = tuple(sorted(changes))
    text = "change of " + " and ".join(FIELDS[name] for name in names)
    configs = {**session.document.configs, source: after}
    session.edit(text, gesture=("config", source, names), configs=configs)


def _check_suits(session: Session, changes: Mapping[str, Any]) -> None:
    """Whether what is fitted to, and the avatar, take what a configuration is changed to: no fit would run with it.

    Raises:
        InputError: if they do not.
    """
    source, info = session.source, session.avatar_info
    if changes.get("optimiser") == "lm" and source is not Source.KEYPOINTS:
        expected = f"lbfgs or adam for {source.value.lower()}"
        raise InputError("optimiser", expected=expected, got="lm, which is for keypoints")
    if changes.get("prior") == "avatar" and info is not None and not has_prior(session.document):
        expected, wanted = f"standard-normal for {source.value.lower()}", wanted_by(info)
        mend = MENDS[wanted] if wanted is not None and source is Source.FRONTAL else ""
        raise InputError("prior", expected=expected, got=f"that of {info.name}, which nothing drives here", mend=mend)


@command(same=lambda hold: "hold")
def set_hold(session: Session, hold: float) -> None:
    """How strongly landmarks that are not pinned keep their place, 0–1."""
    after = float(np.clip(hold, 0.0, 1.0))
    if after != session.hold:
        session.edit("change of the hold", gesture="hold", hold=after)


@command()
def start_fit(session: Session) -> None:
    """Let the fit run: resume a paused one, or fit what is open again from the current face."""
    paused_within = session.runner.paused and session.fit is not None and session.fit.running
    session.runner.resume()
    if paused_within:
        session.set_status(Status.RUNNING)
    else:
        session.send_observation()


@command()
def pause_fit(session: Session) -> None:
    """Hold a running fit where it is."""
    if session.status is Status.RUNNING:
        session.runner.pause()
        session.set_status(Status.PAUSED)


@command()
def step_fit(session: Session) -> None:
    """One iteration, then pause."""
    if session.keypoints is None:
        return
    session.runner.step()
    if session.fit is None or not session.fit.running:
        session.send_observation()
    session.set_status(Status.PAUSED)


@command()
def reset_fit(session: Session) -> None:
    """Start the fit again where the configuration says: the prior's guess, zero or a sample."""
    if session.keypoints is None:
        return
    session.runner.resume()
    session.edit("restart of the fit", restart=True)


@command()
def show_code(session: Session, code: Sequence[float], text: str = "load a code") -> None:
    """Put a code's face on, with nothing pinned; the next drag goes on from it. ``text`` is what undo calls it."""
    avatar, info = session.avatar, session.avatar_info
    if avatar is None or info is None:
        return
    z = np.asarray(code, np.float32)
    if z.shape != info.start.shape or not np.isfinite(z).all():
        expected = f"{len(info.start)} finite numbers"
        session.report(InputError("code", expected=expected, got=f"{z.size} numbers"))
        return
    landmarks = decode_shape(avatar, info, z, 0).keypoints
    session.edit(text, code=z, keypoints=KeypointSet.at_rest(landmarks), source=Source.KEYPOINTS)


def toggle_fit(session: Session) -> None:
    """Pause a running fit, let any other run: gives the command that does it."""
    if session.status is Status.RUNNING:
        session.pause_fit()
    else:
        session.start_fit()
