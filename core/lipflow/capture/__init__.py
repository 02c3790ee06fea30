"""What was recorded: captures in their layouts on disk, headset views made from them, and training packs."""

from lipflow.capture.base import Capture, Frame, FrameId, Statistics
from lipflow.capture.multiface import MultifaceCapture, open_capture

__all__ = ["Capture", "Frame", "FrameId", "MultifaceCapture", "Statistics", "open_capture"]
