"""How the report draws: one look a model in every figure, and matplotlib figures as SVG that follows the page's theme.

Colours are Okabe and Ito's (2008), told apart with any colour vision; each model has a marker of its own besides.
Filled markers stand for fitted codes, open ones for codes that were decoded directly.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

WIDTH = 11.75  # inches of a figure over the whole page; the page shows 72 points as 96 pixels

ERROR_COLOURS = "inferno"

# Colours that the page sets by its theme: drawn as these, written as the style sheet's variables.
INK, MUTED, GRID, PAPER = "#010203", "#040506", "#070809", "#0a0b0c"
_THEMED = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)", PAPER: "var(--paper)"}

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "lipflow",  # the same figure gives the same bytes
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "legend.fontsize": 8.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "figure.constrained_layout.w_pad": 0.06,
}


@dataclass(frozen=True)
class Look:
    """How a model is drawn."""

    colour: str
    marker: str
    dashes: str = "-"


# Keys are variants without their driving signal: a model looks the same from headset images and from keypoints.
LOOKS: dict[str, Look] = {
    "dam": Look("#0072b2", "o"),
    "dam-enc": Look("#56b4e9", "^"),
    "dam-reg": Look("#cc79a7", "D"),
    "lip-kl": Look("#e69f00", "s"),
    "lip-flow": Look("#009e73", "o"),
    "lip-flow-no-cycle": Look("#d55e00", "v"),
    "lip-flow-jittered": Look("#d55e00", "<", "-."),
    "lip-flow-decode-p": Look("#d55e00", "P", "--"),
    "lip-flow-standard-normal": Look("#d55e00", "X", ":"),
    "lip-flow-mc-kl": Look("#d55e00", "p", "--"),
    "lip-flow-literal": Look("#d55e00", "d", ":"),
}
OTHER = Look("#8c8c8c", "s", ":")  # floor and ceiling, and what this table does not know


def look_of(variant: str | None) -> Look:
    """The look of a variant; ``None`` is what no model made."""
    if variant is None:
        return OTHER
    return LOOKS.get(re.sub(r"-(hmc|kpt)(?=-|$)", "", variant), OTHER)


def marker_face(look: Look, method: str) -> str:
    """Filled for fitted codes, open for codes that were decoded directly."""
    return look.colour if method.startswith("fit") else PAPER


@contextmanager
def figure(height: float, width: float = WIDTH) -> Iterator[Figure]:
    """A figure of ``width`` × ``height`` inches in the report's manner; draw it and call ``svg`` inside the block."""
    with matplotlib.rc_context(_SETTINGS):
        yield Figure(figsize=(width, height), layout="constrained", facecolor="none")


def svg(drawn: Figure, name: str, description: str) -> str:
    """The figure as inline SVG: sized by the page, coloured by its theme, its ids set apart by ``name``."""
    for axes in drawn.axes:
        axes.set_facecolor("none")
    buffer = io.StringIO()
    drawn.savefig(buffer, format="svg", dpi=160, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1))
    text = re.sub(r'(<image\b[^>]*?)\sid="[^"]*"', r"\1", text)  # equal pictures would have equal ids
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    for drawn_as, variable in _THEMED.items():
        text = text.replace(drawn_as, variable)
    label = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    width = f"max-width:{96 * drawn.get_figwidth():.0f}px"
    return text.replace("<svg", f'<svg role="img" aria-label="{label}" style="{width}"', 1).strip()


def only_horizontal_grid(axes: Axes) -> None:
    axes.grid(False, axis="x")


def only_vertical_grid(axes: Axes) -> None:
    axes.grid(False, axis="y")


def data_uri(picture: np.ndarray) -> str:
    """A picture [H, W, 3], 8 bit, as what an HTML image takes for its address."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def coloured_error(error: np.ndarray) -> np.ndarray:
    """[H, W] 8 bit -> [H, W, 3]."""
    colours = (np.asarray(matplotlib.colormaps[ERROR_COLOURS](np.arange(256)))[:, :3] * 255).round().astype(np.uint8)
    return colours[error]
