"""results.json: where an evaluation's figures are, and what a file must be to be read as one."""

from __future__ import annotations

import json
from pathlib import Path

from lipflow.checks import InputError
from lipflow.evaluation.standings import Json

RESULTS = "results.json"
FORMAT, VERSION = "lipflow-evaluation", 1


def read_results(path: Path) -> Json:
    """Read a results.json.

    Raises:
        InputError: if there is none, or it is another kind of file.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        got = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
        raise InputError(f"results {path}", expected="what `lipflow evaluate` wrote", got=got) from error
    check_results(results)
    return results


def check_results(results: Json) -> None:
    """Raises InputError unless these are an evaluation's results that this version reads."""
    found = (results.get("format"), results.get("version")) if isinstance(results, dict) else (type(results).__name__,)
    if found != (FORMAT, VERSION):
        raise InputError("results.json", expected=f"{FORMAT} {VERSION}", got=" ".join(map(str, found)))
