"""What the fit is given: the document's keypoints or images as observations. A new source is one row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from lipflow.fitting import FitConfig
from lipflow.observations import FrontalObservation, HmcObservation, KeypointObservation, Observation
from lipflow_studio.document import AvatarInfo, Document, Source
from lipflow_studio.dragging import DraggedKeypoints

PICTURES_EVERY = 3  # iterations of a headset fit between two shown renders
DRIVES = {Source.KEYPOINTS: "kpt", Source.HEADSET: "hmc"}  # the kind of signal that a source is, if it is one
# Why nothing drives the prior beside a photograph, by what would.
NOT_GIVEN = {"kpt": "No keypoint is pinned to drive the prior", "hmc": "No headset images are open to drive the prior"}


def observation_of(document: Document, device: torch.device) -> Observation:
    """What the document's avatar is to be fitted to.

    Raises:
        InputError: if the avatar does not take it.
    """
    return OBSERVATIONS[document.source](document, device)


def driver(document: Document, source: Source | None = None) -> Source | None:
    """What conditions the avatar's prior while the document's source, or this one, is fitted to; None: nothing does.

    It is the source itself, or beside a photograph, which drives none, what else is open: the headset images, or the
    keypoints if some are pinned.
    """
    source = document.source if source is None else source
    wanted = None if document.info is None else wanted_by(document.info)
    if wanted is source or (source is Source.FRONTAL and wanted is not None and document.gives(wanted)):
        return wanted
    return None


def wanted_by(info: AvatarInfo) -> Source | None:
    """The kind of signal that drives an avatar; None: nothing does."""
    return next((source for source, kind in DRIVES.items() if kind == info.driving), None)


def has_prior(document: Document, source: Source | None = None) -> bool:
    """Whether the avatar's own prior can be had under a source: something conditions it, or nothing needs to."""
    return document.info is None or document.info.driving is None or driver(document, source) is not None


def with_config(document: Document, device: torch.device, before: Document | None = None) -> Document:
    """The document with a configuration for its source: its own, or else the one that suits the observation.

    The prior of a photograph's fit follows what was opened or put away since ``before``: the avatar's own where it is
    driven now and was not, N(0, I) the other way round. What was chosen meanwhile stays.
    """
    if document.info is None:
        return document
    photographs = document.configs.get(Source.FRONTAL)
    if photographs is not None and before is not None and before.info is document.info:
        driven = has_prior(document, Source.FRONTAL)
        if driven is not has_prior(before, Source.FRONTAL):
            photographs = replace(photographs, prior="avatar" if driven else "standard-normal")
            document = replace(document, configs={**document.configs, Source.FRONTAL: photographs})
    if document.config is not None:
        return document
    config = replace(FitConfig.for_observation(observation_of(document, device)), pictures_every=PICTURES_EVERY)
    if not has_prior(document):
        config = replace(config, prior="standard-normal")
    return replace(document, configs={**document.configs, document.source: config})


def prior_in_words(document: Document) -> str:
    """What the prior of the document's fit is, in a sentence; empty where nothing is open."""
    info, config, given = document.info, document.config, driver(document)
    if info is None or config is None:
        return ""
    if not has_prior(document):
        missing = NOT_GIVEN.get(info.driving or "") if document.source is Source.FRONTAL else None
        missing = missing or f"{info.name} has no prior for {document.source.value.lower()}"
        return f"{missing}: fitted under N(0, I)"
    if config.prior == "standard-normal":
        return "Fitted under N(0, I)"
    by = "" if given is None else f", driven by the {given.value.lower()}"
    return f"Fitted under the prior of {info.name}{by}"


def _keypoints(document: Document, device: torch.device) -> KeypointObservation:
    keypoints, avatar = document.keypoints, document.avatar
    assert keypoints is not None
    assert avatar is not None
    assert avatar.keypoint_camera is not None  # describe() has seen to it
    given = torch.from_numpy(keypoints.given).to(device)
    weights = torch.from_numpy(keypoints.weights(document.hold)).to(device)
    pinned = torch.from_numpy(keypoints.pinned).to(device)
    return DraggedKeypoints(given, avatar.keypoint_camera, weights, pinned=pinned)


def _headset(document: Document, device: torch.device) -> HmcObservation:
    assert document.headset is not None
    assert document.avatar is not None
    return HmcObservation.for_avatar(document.avatar, torch.from_numpy(document.headset.images).to(device))


def _frontal(document: Document, device: torch.device) -> Observation:
    frontal = document.frontal
    assert frontal is not None
    camera = replace(frontal.camera, K=frontal.camera.K.to(device), R=frontal.camera.R.to(device))
    camera = replace(camera, t=frontal.camera.t.to(device))
    by = driver(document)
    driven_by = None if by is None else DRIVERS[by](document, device)
    return FrontalObservation(torch.from_numpy(frontal.image).to(device), camera, driven_by=driven_by)


DRIVERS: dict[Source, Callable[[Document, torch.device], KeypointObservation | HmcObservation]] = {
    Source.KEYPOINTS: _keypoints,
    Source.HEADSET: _headset,
}


OBSERVATIONS: dict[Source, Callable[[Document, torch.device], Observation]] = {**DRIVERS, Source.FRONTAL: _frontal}
