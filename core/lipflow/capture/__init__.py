"""What was recorded: captures in their layouts on disk, headset views made from them, and training packs."""

from lipflow.capture.base import Capture, Frame, FrameId, Statistics
from lipflow.capture.check import CheckReport, check_capture
from lipflow.capture.headset import HeadsetAugmentation, headset_cameras, hmc_images, hmc_tone, keypoint_camera
from lipflow.capture.multiface import MultifaceCapture, open_capture
from lipflow.capture.packed import Batch, PackedCapture, pack
from lipflow.capture.packing import PackProgress

__all__ = [
    "Batch",
    "Capture",
    "CheckReport",
    "Frame",
    "FrameId",
    "HeadsetAugmentation",
    "MultifaceCapture",
    "PackProgress",
    "PackedCapture",
    "Statistics",
    "check_capture",
    "headset_cameras",
    "hmc_images",
    "hmc_tone",
    "keypoint_camera",
    "open_capture",
    "pack",
]
