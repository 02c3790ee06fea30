"""Xlib ends the process, from whichever thread uses it first, when the display is gone: here it asks before."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator

from PySide6.QtWidgets import QApplication

LIBRARY = "libX11.so.6"
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


@contextlib.contextmanager
def noticed(application: QApplication, lost: Callable[[], None]) -> Iterator[None]:
    """While the block runs, call ``lost`` in any thread that has used Xlib in vain (OpenGL does).

    ``lost`` must not return, for Xlib does not cope with that. Where Qt notices first, it ends the event loop and this
    is not called; neither is it where there is no X11, or an Xlib older than 1.7.
    """
    display = getattr(application.nativeInterface(), "display", lambda: 0)()
    try:
        if application.platformName() != "xcb" or not display:
            raise OSError("another window system")
        xlib = ctypes.CDLL(LIBRARY)
        on_error, on_exit = xlib.XSetIOErrorHandler, xlib.XSetIOErrorExitHandler
        words = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p)  # in place of its own on stderr: none
    except (OSError, AttributeError):
        yield
        return
    on_error.argtypes, on_error.restype = [ctypes.c_void_p], ctypes.c_void_p
    on_exit.argtypes, on_exit.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p], None
    handler = _Handler(lambda display, data: lost())
    before = on_error(words)
    on_exit(display, ctypes.cast(handler, ctypes.c_void_p), None)
    try:
        yield
    finally:
        on_exit(display, None, None)
        on_error(before)
