"""The Session's parts, one row each. A new area with a state of its own is one file and one row."""

from __future__ import annotations

from lipflow_studio.parts.appearance import Appearance
from lipflow_studio.parts.augmentation import Augmentation
from lipflow_studio.parts.base import Part
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.compare import Compare
from lipflow_studio.parts.desk import Desk
from lipflow_studio.parts.export import Export
from lipflow_studio.parts.faces import Faces
from lipflow_studio.parts.files import Files
from lipflow_studio.parts.frame_places import FramePlaces
from lipflow_studio.parts.headset_display import HeadsetDisplay
from lipflow_studio.parts.hints import Hints
from lipflow_studio.parts.keyframes import Keyframes
from lipflow_studio.parts.latent import Latent
from lipflow_studio.parts.log import Log
from lipflow_studio.parts.posterior import Posterior
from lipflow_studio.parts.recent import Recent
from lipflow_studio.parts.recovery import Recovery
from lipflow_studio.parts.scripts import Scripts
from lipflow_studio.parts.sequence import Sequences
from lipflow_studio.parts.training import Training

PARTS: tuple[type[Part], ...] = (
    Log,
    Desk,
    Files,
    Hints,
    Recent,
    Recovery,
    Scripts,
    Faces,
    Latent,
    Keyframes,
    Posterior,
    Captures,
    FramePlaces,
    Sequences,
    Compare,
    Appearance,
    HeadsetDisplay,
    Augmentation,
    Training,
    Export,
)  # in this order: one may listen to those above it

__all__ = ["PARTS", "Part"]
