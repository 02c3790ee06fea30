"""How the headset view shows what each camera saw beside what is rendered for it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from PySide6.QtCore import Signal

from lipflow.checks import InputError
from lipflow.serial import from_json
from lipflow_studio.commands import command
from lipflow_studio.parts.base import Part

if TYPE_CHECKING:
    from lipflow_studio.session import Session


@dataclass(frozen=True)
class Mode:
    """A way to compare what a camera saw with what is rendered for it."""

    title: str
    tip: str
    keys: tuple[str, ...] = ()


MODES = {
    "side": Mode("Side by side", "Input, render and their difference beside each other"),
    "flicker": Mode("Flicker", "Input and render take turns in one place: what differs moves", ("H",)),
    "split": Mode(
        "Split", "One picture, the input left of a line and the render right of it; drag the line", ("Shift+H",)
    ),
    "difference": Mode("Difference", "The absolute difference alone, large"),
}
RATES = (0.5, 8.0)  # Hz, of the flicker


@dataclass(frozen=True)
class Display:
    """What is drawn of a headset camera."""

    mode: str = "side"  # a key of MODES
    rate: float = 2.0  # Hz: how often a second input and render take turns
    divider: float = 0.5  # left of this share of the width the input is seen, right of it the render

    def __post_init__(self) -> None:
        lowest, highest = RATES
        for name, right, expected in (
            ("mode", self.mode in MODES, " or ".join(MODES)),
            ("rate", _is_within(self.rate, lowest, highest), f"{lowest:g} to {highest:g} Hz"),
            ("divider", _is_within(self.divider, 0, 1), "0 to 1"),
        ):
            if not right:
                raise InputError(name, expected=expected, got=repr(getattr(self, name)))


def _is_within(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _same_drag(**changes: Any) -> Hashable:
    return None if "mode" in changes else tuple(sorted(changes))


class HeadsetDisplay(Part):
    """No edit of the document, as the 3D view's camera is none; sessions keep it."""

    name: ClassVar[str] = "headset"

    display_changed = Signal(object)  # Display

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.display = Display()

    @command(same=_same_drag)
    def set_display(self, **changes: Any) -> None:
        """Change ``mode``, ``rate`` or ``divider``."""
        try:
            self._put(replace(self.display, **changes))
        except (InputError, TypeError) as error:
            self.session.report(error)

    def saved(self) -> Mapping[str, Any]:
        return asdict(self.display)

    def restore(self, saved: Mapping[str, Any]) -> None:
        self._put(from_json(Display, dict(saved), what="session, headset"))

    def _put(self, display: Display) -> None:
        if display != self.display:
            self.display = display
            self.display_changed.emit(display)
