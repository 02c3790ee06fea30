"""The command line: ``lipflow doctor | capture | train | sweep | evaluate | report | calibrate | temporal | …``.

Each command is a frozen dataclass in ``lipflow.commands`` whose fields are its options; tyro makes the parser from
them. Exit status 0 only when the job was done, 2 for bad input with one line that says what to mend.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    command: Command = tyro.cli(
        Commands,
        prog="lipflow",
        description="Drivable face avatars with learned inference-time priors.",
        args=arguments,
        config=(OmitSubcommandPrefixes,),
    )
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


if __name__ == "__main__":
    sys.exit(main())
