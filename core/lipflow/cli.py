"""The command line: ``lipflow doctor | capture | train | sweep | evaluate | report | calibrate | temporal | …``.

Each command is a frozen dataclass in ``lipflow.commands`` whose fields are its options; tyro makes the parser from
them. Exit status 0 only when the job was done, 2 for bad input with one line that says what to mend.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol, get_args

import tyro
from tyro.conf import OmitSubcommandPrefixes, arg, subcommand

from lipflow.checks import InputError
from lipflow.commands.bench import Bench
from lipflow.commands.calibrate import Calibrate
from lipflow.commands.capture import Check, Synthesize
from lipflow.commands.doctor import Doctor
from lipflow.commands.evaluate import Evaluate
from lipflow.commands.fit import Fit
from lipflow.commands.fit_sequence import FitSequence
from lipflow.commands.report import Report
from lipflow.commands.sweep import SweepCommand
from lipflow.commands.temporal import Temporal
from lipflow.commands.train import Train
from lipflow.commands.uncertainty import Uncertainty


class Command(Protocol):
    """What every command offers."""

    def run(self) -> None: ...


@dataclass(frozen=True)
class Capture:
    """Make or check a capture (a folder in the Multiface layout)."""

    command: Annotated[
        Annotated[Synthesize, subcommand("synthesize")] | Annotated[Check, subcommand("check")], arg(name="")
    ]
    """What to do with the capture."""

    def run(self) -> None:
        self.command.run()


Commands = (
    Annotated[Doctor, subcommand("doctor")]
    | Annotated[Capture, subcommand("capture")]
    | Annotated[Train, subcommand("train")]
    | Annotated[SweepCommand, subcommand("sweep")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Report, subcommand("report")]
    | Annotated[Calibrate, subcommand("calibrate")]
    | Annotated[Temporal, subcommand("temporal")]
    | Annotated[Fit, subcommand("fit")]
    | Annotated[FitSequence, subcommand("fit-sequence")]
    | Annotated[Uncertainty, subcommand("uncertainty")]
    | Annotated[Bench, subcommand("bench")]
)


# What the parser says of a mistake, and how this project does.
_WORDING = (
    (
        r"^Error parsing (\S+): no type matching (?:\{None\}\|)?\{?(.*?)\}? could be instantiated from \[(.*?)\]\..*",
        r"\1: expected \2, got \3",
    ),
    (r"^Error parsing (\S+): invalid literal for int\(\) with base 10: (.*)", r"\1: expected a whole number, got \2"),
    (r"^Error parsing (\S+): could not convert string to float: (.*)", r"\1: expected a number, got \2"),
    (r"^Error parsing ", ""),
    (r"^invalid choice (.*) for argument '(\S+)'\. Expected one of \((.*?),?\)\.", r"\2: expected one of \3, got \1"),
    (r"^Missing value for argument '(\S+)'\. Expected (.*) values?\.", r"\1: expected \2 of its values, got fewer"),
    (r"^Missing from lipflow ?[a-z -]*: ", "missing "),
    (r"^Unrecognized options: ", "not understood: "),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            command: Command = tyro.cli(
                Commands,
                prog="lipflow",
                description="Drivable face avatars with learned inference-time priors.",
                args=arguments,
                config=(OmitSubcommandPrefixes,),
            )
    except SystemExit as stop:
        if not stop.code:  # help
            raise
        sys.stderr.write(f"lipflow: {_in_one_line(said.getvalue())}; see {_help(arguments)}\n")
        return 2
    except BrokenPipeError:  # whoever reads the help has read enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more
        return 0
    try:
        command.run()
    except InputError as error:
        sys.stderr.write(f"lipflow: {error}\n")
        return 2
    except OSError as error:
        # A full disk, a read-only folder: the user's to mend, and nothing is left half-written.
        sys.stderr.write(f"lipflow: {error.filename or 'file'}: {error.strerror or error}\n")
        return 2
    except KeyboardInterrupt as stop:
        told = str(stop) or "what can be resumed goes on with the same command (train: and --resume)"
        sys.stderr.write(f"lipflow: stopped; {told}\n")
        return 130
    return 0


def _in_one_line(box: str) -> str:
    """What the parser prints in a box of several lines, drawn in dashes where the terminal knows no others: its parts
    that say what is wrong, without those on the help."""
    rows = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip("│| ") for line in box.splitlines()]
    text = " ".join(row for row in rows if not row.startswith(("╭", "╰", "+")))
    parts = [" ".join(part.split()) for part in re.split("[─-]{4,}", text)]
    told = [part for part in parts if part and not part.startswith(("Argument helptext", "For full helptext"))]
    for pattern, ours in _WORDING:
        told = [re.sub(pattern, ours, part) for part in told]
    return "; ".join(part.rstrip(".") for part in told)


def _help(arguments: Sequence[str]) -> str:
    """The command that explains what was meant."""
    known = {kind.__metadata__[0].name for kind in get_args(Commands)}
    return " ".join(["lipflow", *(name for name in arguments[:1] if name in known), "--help"])


if __name__ == "__main__":
    sys.exit(main())
