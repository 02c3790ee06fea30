"""``lipflow doctor``: what is here, what is missing, and how to get it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.resources import files

import torch

from lipflow.checks import InputError
from lipflow.device import choose_device, describe_device

PACKAGES = (
    "torch",
    "numpy",
    "numba",
    "nflows",
    "scikit-learn",
    "scikit-image",
    "trimesh",
    "imageio-ffmpeg",
    "safetensors",
    "PySide6-Essentials",
    "vispy",
    "pyqtgraph",
    "superqt",
)


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    """What was looked at."""
    good: bool
    """Whether it is as it should be."""
    says: str
    """What was found, or what is missing and how to get it."""


@dataclass(frozen=True)
class Doctor:
    """Print versions, devices, screen and the renderer's backend; say what is missing and how to get it."""

    def run(self) -> None:
        findings = examine()
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            sys.stdout.write(f"{'ok  ' if finding.good else 'MISS'}  {finding.name:<{width}}  {finding.says}\n")
        missing = [finding.name for finding in findings if not finding.good]
        if missing:
            got = f"no {', no '.join(missing)}"
            raise InputError("this machine", expected="all parts", got=got, mend="see the lines marked MISS")


def examine() -> list[Finding]:
    """Look at this machine; touches nothing."""
    findings = [Finding("system", True, f"{platform.platform()}, Python {platform.python_version()}")]
    findings += [_package(name) for name in PACKAGES]
    findings += [probe() for probe in (_device, _renderer, _nvdiffrast, _screen, _assets)]
    return findings


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, f"not installed; pip install {name}")


def _device() -> Finding:
    device = choose_device()
    return Finding("device", True, f"{describe_device(device)} ({os.cpu_count()} cores)")


def _renderer() -> Finding:
    from lipflow.rendering import renderer_name

    return Finding("renderer", True, renderer_name(choose_device()))


def _nvdiffrast() -> Finding:
    if not torch.cuda.is_available():
        return Finding("nvdiffrast", True, "not needed: no GPU that torch can use")
    if importlib.util.find_spec("nvdiffrast") is None:
        return Finding("nvdiffrast", False, "not installed; pip install 'lipflow-studio[cuda]'")
    if shutil.which("nvcc") is None:
        return Finding("nvdiffrast", False, "installed, but it compiles on first use and needs nvcc (the CUDA toolkit)")
    return Finding("nvdiffrast", True, "installed")


def _screen() -> Finding:
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if display or sys.platform in ("darwin", "win32"):
        return Finding("screen", True, display or sys.platform)
    if shutil.which("xvfb-run"):
        return Finding("screen", True, "none; the studio can play its journeys on a virtual one (xvfb-run)")
    return Finding("screen", False, "none, and no virtual one; sudo apt-get install xvfb libgl1-mesa-dri")


def _assets() -> Finding:
    if importlib.util.find_spec("lipflow_assets") is None:
        return Finding("assets", False, "lipflow_assets is not installed; pip install -e . in the repository")
    avatars = files("lipflow_assets") / "avatars"
    names = sorted(entry.name for entry in avatars.iterdir()) if avatars.is_dir() else []
    shipped = [name.removesuffix(".safetensors") for name in names if name.endswith(".safetensors")]
    return Finding("assets", bool(shipped), f"avatars: {', '.join(shipped)}" if shipped else "no avatars; make assets")
