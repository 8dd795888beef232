"""What the inspection writes down of one file; imports little, because every reading process imports it."""

import hashlib
import warnings
from typing import Any

import numpy as np

from model_aggregation.data.appearance import APPEARANCE_COLUMNS, describe_appearance
from model_aggregation.data.decoding import (
    USUAL_READING,
    ReadingRule,
    count_frames,
    decode_bytes,
    pixel_limit,
    read_bytes,
)
from model_aggregation.data.dicom import is_dicom, patient_of
from model_aggregation.errors import DataError

RECORD_NUMBERS = ("width", "height", "frames", "bytes", "value_range", "exif_orientation")
KILLS_DECODER = "kills the decoder: the process that read it died twice, from damage in it or for want of memory"
_TEXTS = ("mode", "format", "content_hash", "pixel_hash", "dicom_patient", "remark", "error")


def describe_file(path: str, rule: ReadingRule = USUAL_READING) -> dict[str, Any]:
    """Return all columns of the inspection for one file; an unreadable file is described, not raised."""
    row = _unreadable()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            data = read_bytes(path)
            row |= {"bytes": len(data), "content_hash": hashlib.sha256(data).hexdigest()}
            row |= _describe_pixels(data, path, rule) | {"readable": True}
        except DataError as reason:
            row["error"] = reason.message.removeprefix(f"{path}: ")
    row["remark"] = "; ".join(dict.fromkeys(str(warning.message) for warning in caught))
    return row


def describe_killer() -> dict[str, Any]:
    """Return what :func:`describe_file` would, for a file whose decoder ends the process instead."""
    return _unreadable() | {"error": KILLS_DECODER}


def _unreadable() -> dict[str, Any]:
    texts: dict[str, Any] = dict.fromkeys(_TEXTS, "")
    return texts | dict.fromkeys(RECORD_NUMBERS) | dict.fromkeys(APPEARANCE_COLUMNS) | {"readable": False}


def _describe_pixels(data: bytes, path: str, rule: ReadingRule) -> dict[str, Any]:
    decoded = decode_bytes(data, path, channels=3, rule=rule)
    width, height = decoded.image.size
    pixels = hashlib.sha256(f"{width}x{height}:".encode("ascii"))
    pixels.update(np.ascontiguousarray(decoded.image).data)
    extremes: Any = decoded.image.getextrema()
    with pixel_limit(rule.most_pixels):
        frames = count_frames(data)
    return {
        "width": width,
        "height": height,
        "mode": decoded.mode,
        "format": decoded.format,
        "frames": frames,
        "pixel_hash": pixels.hexdigest(),
        "value_range": max(high - low for low, high in extremes),
        "exif_orientation": decoded.orientation,
        "dicom_patient": patient_of(data) if is_dicom(data) else "",
        **describe_appearance(decoded.image),
    }
