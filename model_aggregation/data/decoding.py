"""From an image file to 8-bit pixels, by one documented rule.

What a file holds decides, not its suffix. The first frame is taken, the orientation of EXIF is applied, and
every pixel mode is brought to 8 bits so:

===========================  ============================================================================
in the file                  becomes
===========================  ============================================================================
8-bit grey, RGB, palette     as it is; RGB to one channel by ITU-R 601 luma (0.299 R + 0.587 G + 0.114 B)
1 bit                        0 and 255
transparency of any kind     laid on black, so that what lies hidden under transparent pixels has no effect
CMYK, YCbCr, HSV             Pillow's formula without colour profile
LAB                          sRGB by LittleCMS
16-bit grey                  rint(value · 255 / 65535): the full range of 16 bits, whatever the image uses;
                             a 12-bit TIFF by its own full range, 4095
16 bits per colour           the upper 8 bits (done by Pillow)
integer of 32 bits, signed   as 16-bit grey when all values lie in 0..65535, else from the image's own
                             minimum and maximum to 0 and 255
float                        value · 255 when all values lie in [0, 1], else from the image's own minimum
                             and maximum to 0 and 255; NaN or infinity make the image unreadable
DICOM                        by its LUTs and its window, see ``data.dicom``
===========================  ============================================================================

A window (``ReadingRule.window``) replaces the scale of grey images of 16 and 32 bits and of floats: the values from
its lower to its upper end become 0 to 255, what lies outside is clipped. It has no effect on other images.

Decoded as the ``earlier`` program did, an image is not turned as EXIF says, and transparency is dropped: Pillow's
``convert`` of the file as it is. Grey images of more than 8 bits are read as above.

Embedded colour profiles are not applied. An EXIF block that cannot be parsed says nothing: the image stays as
stored. Formats that Pillow hands to other programs (EPS to Ghostscript) or knows by name only are not opened.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from model_aggregation.data.dicom import DICOM_SUFFIXES, count_dicom_frames, decode_dicom, is_dicom
from model_aggregation.data.windows import Window, read_window
from model_aggregation.errors import DataError, SettingsError

Channels = Literal[1, 3]
Decoding = Literal["standard", "earlier"]

# Written out, so that which files count as images does not depend on the Pillow that is installed.
_IMAGES = (
    "apng avif avifs blp bmp bw cur dcx dds dib fit fits flc fli ftc ftu gbr gif icb icns ico im j2c j2k jfif "
    "jp2 jpc jpe jpeg jpf jpg jpx mpo msp pbm pcd pcx pfm pgm png pnm ppm psd pxr qoi ras rgb rgba sgi tga tif "
    "tiff vda vst webp xbm xpm"
)
_FOREIGN_IMAGES = (
    "3fr arw cr2 cr3 czi dng eps exr hdr heic heif jxl lif mha mhd mrxs nd2 ndpi nef nii nrrd oib "
    "oif orf pdf raf raw rw2 scn svg svs vsi wmf"
)
IMAGE_SUFFIXES = frozenset(f".{suffix}" for suffix in _IMAGES.split()) | {*DICOM_SUFFIXES}
FOREIGN_IMAGE_SUFFIXES = frozenset(f".{suffix}" for suffix in _FOREIGN_IMAGES.split())
"""Suffixes of images that this program does not read; such files are ignored, but with a warning."""

_USUAL_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")
_REFUSED_FORMATS = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"})
_ORIENTATION_TAG = 0x0112
_PHOTOMETRIC_TAG = 262
_BITS_PER_SAMPLE_TAG = 258
_TRANSPOSE_BY_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED = (5, 6, 7, 8)  # orientations that swap width and height
_MIRRORED_LEFT_RIGHT = (2, 3, 6, 7)  # orientations after which the end of the stored rows or columns is at the left
_MIRRORED_TOP_BOTTOM = (3, 4, 7, 8)  # and at the top
INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


MOST_PIXELS = 2 * 89_478_485
"""Pillow's own limit: a file that says it holds more is refused as a possible decompression bomb."""


@dataclass(frozen=True)
class ReadingRule:
    """What may be chosen about reading: the window of grey images beyond 8 bits, and the most pixels of an image."""

    window: Window | None = None
    most_pixels: int = MOST_PIXELS

    def __post_init__(self) -> None:
        if self.most_pixels < 2:
            raise SettingsError(f"--max-pixels must be at least 2, not {self.most_pixels}")


USUAL_READING = ReadingRule()


def reading_rule(window: str | None, most_pixels: int) -> ReadingRule:
    """Return the rule that the settings ``window`` (``CENTRE,WIDTH``) and ``max_pixels`` ask for.

    Raises
    ------
    SettingsError
        When the window is not two numbers, or the limit is below 2.
    """
    return ReadingRule(None if window is None else read_window(window), most_pixels)


@dataclass(frozen=True)
class DecodedImage:
    """An 8-bit image, oriented; the file's own mode and format in Pillow's words, and its EXIF orientation, 1 to 8.

    ``size`` is width and height, oriented, before any reduction. ``box`` (left, top, right, bottom) is what the picture
    covers of a reduced image, in its pixels: 1603 pixels at a quarter are 400.75, decoded as 401.
    """

    image: Image.Image
    size: tuple[int, int]
    mode: str
    format: str
    orientation: int = 1
    box: tuple[float, float, float, float] | None = None


def open_image(
    path: Path | str, *, channels: Channels, rule: ReadingRule = USUAL_READING, decoding: Decoding = "standard"
) -> Image.Image:
    """Read one image file as mode ``L`` (1 channel) or ``RGB`` (3 channels), oriented, first frame.

    Raises
    ------
    DataError
        When the file cannot be read whole, with Pillow's reason. Nothing is ever filled in.
    """
    return decode_bytes(read_bytes(path), path, channels=channels, rule=rule, decoding=decoding).image


def decode(path: Path | str, *, channels: Channels, rule: ReadingRule = USUAL_READING) -> np.ndarray:
    """Read one image file as an array (H, W, channels), uint8, contiguous. Raises like :func:`open_image`."""
    pixels = np.asarray(open_image(path, channels=channels, rule=rule))
    return np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], channels))


def resize_image(
    image: Image.Image,
    size: tuple[int, int],
    interpolation: str,
    box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    """Squash an image, or a ``box`` of it, to ``size`` = (width, height), antialiased (but not ``nearest``).

    >>> resize_image(Image.new("L", (50, 20)), (10, 8), "bilinear").size
    (10, 8)
    """
    if interpolation not in INTERPOLATIONS:
        raise SettingsError(f"interpolation {interpolation!r} is none of {', '.join(INTERPOLATIONS)}")
    return image.resize(size, INTERPOLATIONS[interpolation], box=box)


def read_bytes(path: Path | str) -> bytes:
    """Read a file whole, or raise a ``DataError`` with the operating system's reason."""
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as reason:
        text = getattr(reason, "strerror", None) or str(reason)
        raise DataError(f"{path}: cannot be read: {text}") from reason


def reduction(data: bytes, enough_px: int) -> int:
    """Return by how much a JPEG may be reduced in decoding and still have ``enough_px`` each way: 1, 2, 4 or 8."""
    if not data.startswith(b"\xff\xd8"):
        return 1
    try:
        shorter = min(_open(data).size)
    except Exception:  # noqa: BLE001 - decoding says what is wrong with it
        return 1
    return next((factor for factor in (8, 4, 2) if shorter // factor >= enough_px), 1)


def decode_bytes(
    data: bytes,
    path: Path | str,
    *,
    channels: Channels,
    reduced: int = 1,
    rule: ReadingRule = USUAL_READING,
    decoding: Decoding = "standard",
) -> DecodedImage:
    """Decode the content of one image file, as :func:`open_image`; ``path`` is only for the message.

    ``reduced`` is what :func:`reduction` allows: a JPEG is decoded at that fraction of its size, from the lower
    frequencies alone.
    """
    if channels not in (1, 3):
        raise ValueError(f"images have 1 or 3 channels here, not {channels!r}")
    try:
        with pixel_limit(rule.most_pixels):
            if is_dicom(data):
                image, mode = decode_dicom(data, rule.window)
                return DecodedImage(image.convert("L" if channels == 1 else "RGB"), image.size, mode, "DICOM")
            image = _open(data)
            if decoding == "earlier" and not _is_scaled(image):
                plain = image.convert("L" if channels == 1 else "RGB")
                return DecodedImage(plain, plain.size, image.mode, image.format or "")
            return _decode_by_pillow(image, channels=channels, reduced=reduced, window=rule.window)
    except Exception as reason:  # a damaged file can raise anything from a decoder
        raise DataError(f"{path}: cannot be read: {_reason_text(reason, data)}") from reason


def _decode_by_pillow(image: Image.Image, *, channels: Channels, reduced: int, window: Window | None) -> DecodedImage:
    mode, image_format, size = image.mode, image.format or "", image.size
    if reduced > 1:
        image.draft(None, (image.width // reduced, image.height // reduced))
    image.load()
    orientation = _orientation(image)
    eight_bit = to_eight_bit(image, channels=channels, window=window)
    if orientation in _TRANSPOSE_BY_ORIENTATION:
        eight_bit = eight_bit.transpose(_TRANSPOSE_BY_ORIENTATION[orientation])
    if reduced == 1:  # some formats know their size only once they are loaded
        return DecodedImage(eight_bit, eight_bit.size, mode, image_format, orientation)
    size = size[::-1] if orientation in _TURNED else size
    box = _covered(eight_bit.size, (size[0] / reduced, size[1] / reduced), orientation)
    return DecodedImage(eight_bit, size, mode, image_format, orientation, box)


def _covered(
    pixels: tuple[int, int], exact: tuple[float, float], orientation: int
) -> tuple[float, float, float, float]:
    """Return which box of so many pixels a reduced picture covers exactly; what it lacks was right and below."""
    left = pixels[0] - exact[0] if orientation in _MIRRORED_LEFT_RIGHT else 0
    top = pixels[1] - exact[1] if orientation in _MIRRORED_TOP_BOTTOM else 0
    return left, top, left + exact[0], top + exact[1]


@contextmanager
def pixel_limit(most_pixels: int) -> Iterator[None]:
    """Let Pillow refuse images of more pixels inside the block; the limit is the whole process's."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = most_pixels // 2  # Pillow warns above this and refuses above twice this
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def count_frames(data: bytes) -> int | None:
    """Return how many frames or pages an image file holds, or None when they cannot be counted."""
    try:
        return count_dicom_frames(data) if is_dicom(data) else int(getattr(_open(data), "n_frames", 1))
    except Exception:  # noqa: BLE001 - the first frame was read; a damaged later one raises anything
        return None


def to_eight_bit(image: Image.Image, *, channels: Channels, window: Window | None = None) -> Image.Image:
    """Bring a loaded image of any mode to ``L`` or ``RGB`` by the table of this module.

    Raises
    ------
    ValueError
        When a float image holds NaN or infinity.

    >>> to_eight_bit(Image.new("RGBA", (1, 1), (200, 100, 50, 51)), channels=3).getpixel((0, 0))
    (40, 20, 10)
    """
    wanted: str = "L" if channels == 1 else "RGB"
    if _is_scaled(image):
        return _scaled_grey(image, window).convert(wanted)
    if image.has_transparency_data:
        rgba = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
        on_black = Image.new("RGB", image.size)
        on_black.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
        return on_black.convert(wanted)
    if image.mode == "L":
        return image.convert(wanted)
    return image.convert("RGB").convert(wanted)


def _is_scaled(image: Image.Image) -> bool:
    """Tell whether an image holds grey values beyond 8 bits, which are brought to 0 to 255."""
    return image.mode.startswith("I") or image.mode == "F"


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(data), formats=_USUAL_FORMATS)
    except UnidentifiedImageError:
        return Image.open(BytesIO(data), formats=_other_formats())


@cache
def _other_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in Image.ID if name not in _REFUSED_FORMATS and name not in _USUAL_FORMATS)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 when there is none; call it after load, for PNG may store EXIF last."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001 - EXIF written by cameras and editors is broken in many ways
        return 1


def _scaled_grey(image: Image.Image, window: Window | None) -> Image.Image:
    values = np.asarray(image)
    transparent = image.info.get("transparency") if image.mode.startswith("I;16") else None
    grey = _scaled_to_255(values, image) if window is None else _windowed(values, image, window)
    if isinstance(transparent, int):
        grey[values == transparent] = 0
    return Image.fromarray(grey)


def _scaled_to_255(values: np.ndarray, image: Image.Image) -> np.ndarray:
    if image.mode == "F":
        return _float_to_255(values)
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    if low < 0 or high > 65535:
        return _stretched(values, low, high)
    tags: Any = getattr(image, "tag_v2", {})
    full_scale = 4095.0 if tags.get(_BITS_PER_SAMPLE_TAG) == (12,) else 65535.0
    if tags.get(_PHOTOMETRIC_TAG) == 0:  # white is zero: Pillow inverts this for 8 bits, not for 16
        values = full_scale - values
    return np.rint(values * (255 / full_scale)).astype(np.uint8)


def _windowed(values: np.ndarray, image: Image.Image, window: Window) -> np.ndarray:
    _require_finite(values)
    shown = window.apply(values)
    return 255 - shown if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC_TAG) == 0 else shown


def _require_finite(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise ValueError("the image holds NaN or infinite values")


def _float_to_255(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64)
    _require_finite(values)
    low, high = values.min(), values.max()
    if low < 0 or high > 1:
        return _stretched(values, low, high)
    return np.rint(values * 255).astype(np.uint8)


def _stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map ``low`` to 0 and ``high`` to 255; an image of one value becomes black."""
    scale = 255 / (high - low) if high > low else 0.0
    return np.rint((values - low) * scale).astype(np.uint8)


def _reason_text(reason: Exception, data: bytes) -> str:
    if not data:
        return "the file is empty"
    if data.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the image; fetch the image with: git lfs pull"
    if isinstance(reason, UnidentifiedImageError):  # Pillow's own text holds a memory address
        return "its content is no image format that is read here"
    if isinstance(reason, DataError):
        return reason.message
    if isinstance(reason, MemoryError):
        return "not enough memory for its pixels"
    return str(reason) or type(reason).__name__
