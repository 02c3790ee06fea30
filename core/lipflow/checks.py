"""Checks of what comes in: one line that says what, expected, got, and the mend."""

from __future__ import annotations

from typing import Any

LARGEST_SEED = 2**31 - 1


class InputError(ValueError):
    """A mistake in what the user gave: its message is one complete line for a person to read.

    The command line prints it and exits with 2; the studio shows it in its banner. Anything else that is raised
    is our mistake and keeps its traceback.
    """

    def __init__(self, what: str, *, expected: object, got: object, mend: str = "") -> None:
        super().__init__(f"{what}: expected {expected}, got {got}" + (f"; {mend}" if mend else ""))
        self.what = what
        self.mend = mend


def check_shape(bound: dict[str, int], **arrays: tuple[Any, str]) -> None:
    """Check the shapes of arrays against patterns and bind their letters across arguments and calls.

    ``check_shape(sizes := {}, vertices=(v, "B V 3"), z=(z, "B Z"))`` binds B, V, Z in ``sizes``. A number in a
    pattern must be met exactly; ``...`` at the front takes any leading dimensions.

    Raises:
        InputError: ``z: expected [B, Z], got [4, 256] (with B=2, V=7306)``.
    """
    for name, (array, pattern) in arrays.items():
        shape = tuple(int(n) for n in array.shape)
        symbols = pattern.split()
        open_front = symbols[:1] == ["..."]
        wanted = symbols[1:] if open_front else symbols
        tail = shape[len(shape) - len(wanted) :] if open_front else shape
        matches = len(tail) == len(wanted)
        if matches:
            trial = dict(bound)
            matches = all(_matches(symbol, size, trial) for symbol, size in zip(wanted, tail))
        if not matches:
            known = ", ".join(f"{k}={v}" for k, v in bound.items() if k in wanted)
            raise InputError(
                name,
                expected=f"[{', '.join(symbols)}]",
                got=f"{list(shape)}" + (f" (with {known})" if known else ""),
            )
        bound.update(trial)


def check_values(*wanted: tuple[str, bool, str, object]) -> None:
    """Check a config's values: rows of what, whether it is right, what is expected, and what was given.

    Raises:
        InputError: for the first that is not right.
    """
    for what, right, expected, got in wanted:
        if not right:
            raise InputError(what, expected=expected, got=got)


def check_seed(seed: int) -> None:
    """Check that random numbers can be drawn by a seed, by torch and by numpy.

    Raises:
        InputError: if it is negative or too large.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise InputError("seed", expected=f"0 to {LARGEST_SEED}", got=seed)


def _matches(symbol: str, size: int, bound: dict[str, int]) -> bool:
    if symbol.isdigit():
        return int(symbol) == size
    return bound.setdefault(symbol, size) == size
