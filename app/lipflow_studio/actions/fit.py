"""The Fit menu."""

from __future__ import annotations

from lipflow_studio.actions.row import ActionRow, has_avatar
from lipflow_studio.commands.fitting import toggle_fit
from lipflow_studio.parts.posterior import Posterior

ROWS = (
    ActionRow(
        "F&it",
        "run",
        "Run or pause",
        ("Space",),
        toggle_fit,
        "Fit to what is observed; pause a fit that runs",
        enabled=has_avatar,
    ),
    ActionRow(
        "F&it",
        "step",
        "Step",
        (".",),
        lambda s: s.step_fit(),
        "One iteration, then pause",
        enabled=has_avatar,
    ),
    ActionRow(
        "F&it",
        "restart",
        "Restart",
        ("Ctrl+R",),
        lambda s: s.reset_fit(),
        "Start again where Start in the Fit panel says",
        enabled=has_avatar,
    ),
    ActionRow("F&it", "separator"),
    ActionRow(
        "F&it",
        "posterior",
        "Sample the posterior",
        ("Shift+U",),
        lambda s: s.part(Posterior).sample(),
        "Find codes that fit as well as the shown one",
        enabled=lambda s: s.document.has_observation,
        needs="There is nothing to fit to: pin a keypoint, or open images",
    ),
)
