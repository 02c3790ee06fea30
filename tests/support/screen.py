"""A virtual screen of one's own: windows that nobody looks at share neither focus nor clipboard with other windows."""

from __future__ import annotations

import os
import shutil
import subprocess


class VirtualScreen:
    """An X server without a monitor, 1920×1080 pixels, with OpenGL; it ends when the last program leaves it.

    Attributes:
        name: As DISPLAY has it.
    """

    @staticmethod
    def available() -> bool:
        return shutil.which("Xvfb") is not None

    def __init__(self) -> None:
        read, write = os.pipe()
        options = ["-screen", "0", "1920x1080x24", "+extension", "GLX", "-nolisten", "tcp", "-terminate"]
        self._server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), *options], pass_fds=[write], stderr=subprocess.DEVNULL
        )
        os.close(write)
        with os.fdopen(read) as numbers:  # it tells its number when it is ready
            self.name = f":{numbers.readline().strip()}"

    def close(self) -> None:
        self._server.kill()
        self._server.wait()
