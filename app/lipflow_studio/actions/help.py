"""The Help menu."""

from __future__ import annotations

from lipflow_studio.actions.row import ActionRow
from lipflow_studio.parts.desk import Desk
from lipflow_studio.parts.hints import Hints
from lipflow_studio.parts.recent import Recent

ROWS = (
    ActionRow("&Help", "shortcuts", "Keyboard shortcuts", ("?", "F1"), lambda s: s.part(Desk).show_sheet("shortcuts")),
    ActionRow("&Help", "hints", "First hints", (), lambda s: s.part(Hints).again()),
    ActionRow("&Help", "about", "About LiP-Flow Studio", (), lambda s: s.part(Desk).show_sheet("about")),
    ActionRow("&Help", "licences", "Licences", (), lambda s: s.part(Desk).show_sheet("licences")),
    ActionRow("&Help", "dismiss", "Dismiss the error message", ("Esc",), lambda s: s.dismiss_problem()),
    ActionRow("&Help", "forget_recent", "Forget the recent files", (), lambda s: s.part(Recent).clear()),
)
