"""What the fit is given: the document's keypoints or images as observations. A new source is one row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from lipflow.fitting import FitConfig
from lipflow.observations import FrontalObservation, HmcObservation, Observation
from lipflow_studio.document import AvatarInfo, Document, Source
from lipflow_studio.dragging import DraggedKeypoints

PICTURES_EVERY = 3  # iterations of a headset fit between two shown renders
DRIVES = {Source.KEYPOINTS: "kpt", Source.HEADSET: "hmc"}  # the kind of signal that a source is, if it is one


def observation_of(document: Document, device: torch.device) -> Observation:
    """What the document's avatar is to be fitted to.

    Raises:
        InputError: if the avatar does not take it.
    """
    return OBSERVATIONS[document.source](document, device)


def drives(source: Source, info: AvatarInfo) -> bool:
    """Whether the avatar's own prior can be had under this source: it is driven by it, or by nothing."""
    return info.driving in (None, DRIVES.get(source))


def with_config(document: Document, device: torch.device) -> Document:
    """The document with a configuration for its source: its own, or else the one that suits the observation."""
    if document.config is not None or document.info is None:
        return document
    config = replace(FitConfig.for_observation(observation_of(document, device)), pictures_every=PICTURES_EVERY)
    if not drives(document.source, document.info):
        config = replace(config, prior="standard-normal")
    return replace(document, configs={**document.configs, document.source: config})


def _keypoints(document: Document, device: torch.device) -> Observation:
    keypoints, avatar = document.keypoints, document.avatar
    assert keypoints is not None
    assert avatar is not None
    assert avatar.keypoint_camera is not None  # describe() has seen to it
    given = torch.from_numpy(keypoints.given).to(device)
    weights = torch.from_numpy(keypoints.weights(document.hold)).to(device)
    pinned = torch.from_numpy(keypoints.pinned).to(device)
    return DraggedKeypoints(given, avatar.keypoint_camera, weights, pinned=pinned)


def _headset(document: Document, device: torch.device) -> Observation:
    assert document.headset is not None
    assert document.avatar is not None
    return HmcObservation.for_avatar(document.avatar, torch.from_numpy(document.headset.images).to(device))


def _frontal(document: Document, device: torch.device) -> Observation:
    frontal = document.frontal
    assert frontal is not None
    camera = replace(frontal.camera, K=frontal.camera.K.to(device), R=frontal.camera.R.to(device))
    camera = replace(camera, t=frontal.camera.t.to(device))
    return FrontalObservation(torch.from_numpy(frontal.image).to(device), camera)


OBSERVATIONS: dict[Source, Callable[[Document, torch.device], Observation]] = {
    Source.KEYPOINTS: _keypoints,
    Source.HEADSET: _headset,
    Source.FRONTAL: _frontal,
}
