"""Tensors and a JSON body in one safetensors file: written atomically, never pickled, checked when read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lipflow.checks import InputError
from lipflow.files import replacing

KEY = "lipflow"  # of the JSON body in the file's metadata
DIGEST = "blake2b"  # in the body: of all else in the file; files that were written before there was one have none
# safetensors' words for what the system refused.
REFUSED = re.compile(r"(?P<words>[^:]*) \(os error (?P<number>\d+)\)")


def save_tensors(path: Path, tensors: dict[str, Tensor], body: dict[str, Any]) -> None:
    """Write tensors (of any layout and device) with ``body``; the old file stays until the new one is whole.

    Raises:
        OSError: if the place cannot be written to, or is full.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps({**body, DIGEST: _digest(plain, body)}, allow_nan=False)
    with replacing(path) as beside, _system_errors():
        save_file(plain, beside, metadata={KEY: text})


def _digest(tensors: dict[str, Tensor], body: dict[str, Any]) -> str:
    """What tells a file from one with a byte changed; safetensors itself notices only changed sizes."""
    digest = hashlib.blake2b(json.dumps(body).encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextlib.contextmanager
def _system_errors() -> Iterator[None]:
    """What the system refused is an OSError, as it is everywhere else."""
    try:
        yield
    except SafetensorError as error:
        refused = REFUSED.search(str(error))
        if refused is None:
            raise
        raise OSError(int(refused["number"]), refused["words"].strip()) from error


def load_tensors(path: Path, *, what: str, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file that ``save_tensors`` wrote with ``body["format"] == kind``; floats must be finite.

    Raises:
        InputError: one line, if the file is missing, truncated, changed, of another kind, or holds NaN or infinity.
    """
    tensors, body, written = _read(path, what, kind, with_tensors=True)
    if written is not None and written != _digest(tensors, body):
        got, mend = "a damaged file: its checksum is another", "copy it anew from where it was whole"
        raise InputError(f"{what} {path}", expected="what was saved", got=got, mend=mend)
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise InputError(f"{what} {path}, {key}", expected="finite numbers", got="NaN or infinity")
    return tensors, body


def load_body(path: Path, *, what: str, kind: str) -> dict[str, Any]:
    """Read only the JSON body of such a file, however large its tensors are.

    Raises:
        InputError: one line, if the file is missing, truncated or of another kind.
    """
    return _read(path, what, kind, with_tensors=False)[1]


def _read(
    path: Path, what: str, kind: str, *, with_tensors: bool
) -> tuple[dict[str, Tensor], dict[str, Any], object | None]:
    """Tensors, body, and the digest that the file says it has."""
    name = f"{what} {path}"
    try:
        # For torch's tensors the library opens the file twice, and it may have been replaced between.
        with safe_open(path, framework="pt" if with_tensors else "np") as file:
            metadata = file.metadata() or {}
            body = json.loads(metadata.get(KEY, "null"))
            keys = file.keys() if with_tensors else ()
            tensors = {key: file.get_tensor(key) for key in keys}
    except FileNotFoundError as error:
        raise InputError(name, expected="a file", got="none there") from error
    except (OSError, RuntimeError, SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
        reason = (str(error).splitlines() or ["nothing readable"])[0]
        raise InputError(name, expected="a whole safetensors file", got=reason) from error
    if not isinstance(body, dict) or body.get("format") != kind:
        found = body.get("format") if isinstance(body, dict) else None
        raise InputError(name, expected=f"a {kind} file", got=found or "a safetensors file from elsewhere")
    return tensors, body, body.pop(DIGEST, None)


def take(tensors: dict[str, Tensor], key: str, shape: tuple[int | None, ...], dtype: torch.dtype, what: str) -> Tensor:
    """The tensor called ``key``, checked for its shape (None: any size) and kind, as ``dtype``."""
    if key not in tensors:
        raise InputError(f"{what}, {key}", expected="a tensor", got="none there")
    tensor = tensors[key]
    fits = tensor.dim() == len(shape) and all(w in (None, n) for w, n in zip(shape, tensor.shape))
    same_kind = tensor.is_floating_point() == dtype.is_floating_point and not tensor.is_complex()
    if not fits or not same_kind:
        expected = f"{dtype} {['?' if n is None else n for n in shape]}"
        raise InputError(f"{what}, {key}", expected=expected, got=f"{tensor.dtype} {list(tensor.shape)}")
    return tensor.to(dtype)
