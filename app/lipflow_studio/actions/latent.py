"""The Latent menu: samples and keyframes."""

from __future__ import annotations

from lipflow_studio.actions.row import ActionRow, has_avatar
from lipflow_studio.parts.keyframes import Keyframes
from lipflow_studio.parts.latent import Latent

ROWS = (
    ActionRow(
        "&Latent",
        "sample",
        "Sample the prior",
        ("Shift+N",),
        lambda s: s.part(Latent).sample(),
        "Put the face of one draw from the prior on",
        enabled=has_avatar,
    ),
    ActionRow(
        "&Latent",
        "draw",
        "Draw other codes",
        ("Shift+D",),
        lambda s: s.part(Latent).draw(),
        "New dots in the latent view",
    ),
    ActionRow(
        "&Latent",
        "solid",
        "Three dimensions",
        ("Shift+3",),
        lambda s: s.part(Latent).set_options(dimensions=5 - s.part(Latent).options.dimensions),
        "Show the latent spaces in three dimensions",
        checked=lambda s: s.part(Latent).options.dimensions == 3,
    ),
    ActionRow("&Latent", "separator"),
    ActionRow(
        "&Latent",
        "add_key",
        "Add a keyframe",
        ("K",),
        lambda s: s.part(Keyframes).add(),
        "Keep the shown face behind the other keyframes",
        enabled=has_avatar,
    ),
    ActionRow(
        "&Latent",
        "play_keys",
        "Play or stop the keyframes",
        ("Shift+K",),
        lambda s: s.part(Keyframes).toggle(),
        "Move the face from keyframe to keyframe",
        enabled=lambda s: len(s.part(Keyframes).path.keys) > 1,
        needs="There are not yet two keyframes",
    ),
    ActionRow(
        "&Latent",
        "clear_keys",
        "Remove all keyframes",
        (),
        lambda s: s.part(Keyframes).clear(),
        "Take them all out; the shown face stays",
        enabled=lambda s: bool(s.part(Keyframes).path.keys),
        needs="There is no keyframe",
    ),
)
