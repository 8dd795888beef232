"""DICOM files as 8-bit images; needs pydicom, which the extra ``dicom`` installs.

The stored values go through the modality LUT (rescale slope and intercept), then a window given in the settings, else
the VOI LUT or the first window of the file, else the full range of the bits stored. MONOCHROME1 is inverted, so that
high values are white everywhere. The first frame is taken. A given window does not concern colour images.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model_aggregation.data.windows import Window, full_range
from model_aggregation.errors import DataError

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_FAR_IN_WIDTHS = 20  # so far from its centre, a window of any form shows its darkest and brightest


def is_dicom(data: bytes) -> bool:
    """Return whether the content of a file says that it is DICOM (PS3.10: ``DICM`` after 128 bytes)."""
    return data[128:132] == b"DICM"


def holds_dicom(path: str) -> bool:
    """Return whether a file is DICOM, whatever its name: scanners write names without suffix, such as ``IM0001``."""
    try:
        with Path(path).open("rb") as file:
            return is_dicom(file.read(132))
    except (OSError, ValueError):
        return False


def decode_dicom(data: bytes, window: Window | None) -> tuple[Image.Image, str]:
    """Return the first frame as mode ``L`` or ``RGB``, and the photometric interpretation with the bits stored.

    Raises
    ------
    DataError
        When pydicom is not installed. A damaged file raises whatever pydicom raises.
    """
    dataset = _read(data, with_pixels=True)
    photometric, bits = str(dataset.PhotometricInterpretation), int(dataset.BitsStored)
    values = _pydicom().pixels.pixel_array(dataset, index=0)  # colour spaces of video come as RGB
    if photometric == "PALETTE COLOR":
        values = _pydicom().pixels.apply_color_lut(values, dataset)
        bits = values.dtype.itemsize * 8
    if values.ndim == 3:
        image = Image.fromarray(full_range(values, 0, 2**bits - 1))
    else:
        grey = _grey(values, dataset, window)
        image = Image.fromarray(255 - grey if photometric == "MONOCHROME1" else grey)
    return image, f"{photometric};{bits}"


def count_dicom_frames(data: bytes) -> int:
    """Return the number of frames that the file says it holds."""
    return int(_read(data, with_pixels=False).get("NumberOfFrames", None) or 1)


def patient_of(data: bytes) -> str:
    """Return the patient id of a DICOM file, empty when it has none."""
    return str(_read(data, with_pixels=False).get("PatientID", None) or "").strip()


def _grey(stored: np.ndarray, dataset: Any, window: Window | None) -> np.ndarray:
    """Bring stored values (H, W) to 8 bits by the rule of this module."""
    pixels = _pydicom().pixels
    values = np.asarray(pixels.apply_modality_lut(stored, dataset), dtype=np.float64)
    if window is not None:
        return window.apply(values)
    if dataset.get("VOILUTSequence"):
        shown = pixels.apply_voi(values.astype(np.int64), dataset)
        return full_range(shown, 0, 2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        centre, width = _first(dataset.WindowCenter), _first(dataset.WindowWidth)
        ends = np.array([centre - _FAR_IN_WIDTHS * width, centre + _FAR_IN_WIDTHS * width])
        shown = pixels.apply_windowing(np.append(np.clip(values, ends[0], ends[1]), ends), dataset)
        return full_range(shown[:-2].reshape(values.shape), shown[-2], shown[-1])
    signed, bits = int(dataset.PixelRepresentation), int(dataset.BitsStored)
    limits = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1])
    low, high = sorted(np.asarray(pixels.apply_modality_lut(limits, dataset), dtype=np.float64).tolist())
    return full_range(values, low, high)


def _first(value: Any) -> float:
    return float(value[0] if hasattr(value, "__getitem__") and not isinstance(value, str) else value)


def _read(data: bytes, *, with_pixels: bool) -> Any:
    return _pydicom().dcmread(BytesIO(data), stop_before_pixels=not with_pixels)


def _pydicom() -> Any:
    try:
        import pydicom
        import pydicom.pixels
    except ImportError as reason:
        raise DataError("it is DICOM, which needs pydicom: pip install 'model_aggregation[dicom]'") from reason
    return pydicom
