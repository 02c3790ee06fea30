"""The Help menu."""

from __future__ import annotations

from lipflow_studio.actions.row import ActionRow
from lipflow_studio.parts.desk import Desk
from lipflow_studio.parts.hints import Hints
from lipflow_studio.parts.recent import Recent

ROWS = (
    ActionRow(
        "&Help",
        "shortcuts",
        "Keyboard shortcuts",
        ("?", "F1"),
        lambda s: s.part(Desk).show_sheet("shortcuts"),
        "Every key of the menus, and what mouse and keys do in each view",
    ),
    ActionRow(
        "&Help",
        "hints",
        "First hints",
        (),
        lambda s: s.part(Hints).again(),
        "Show the hints of the first start again, one by one",
    ),
    ActionRow(
        "&Help",
        "about",
        "About LiP-Flow Studio",
        (),
        lambda s: s.part(Desk).show_sheet("about"),
        "Versions, where torch computes, what renders and what draws",
    ),
    ActionRow(
        "&Help",
        "licences",
        "Licences",
        (),
        lambda s: s.part(Desk).show_sheet("licences"),
        "Of the studio and of what it is built on",
    ),
    ActionRow(
        "&Help",
        "dismiss",
        "Dismiss the error message",
        ("Esc",),
        lambda s: s.dismiss_problem(),
        "Close the message below the menus",
    ),
    ActionRow(
        "&Help",
        "forget_recent",
        "Forget the recent files",
        (),
        lambda s: s.part(Recent).clear(),
        "Empty the list of File › Open recent; the files stay",
    ),
)
