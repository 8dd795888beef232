"""Images as the browser shows them, decoded by the same rules as for the networks of their runs; thumbnails are made
once.
"""

import zlib
from io import BytesIO
from pathlib import Path

from PIL import Image

from model_aggregation.data.decoding import USUAL_READING, ReadingRule, decode_bytes, read_bytes, reading_rule
from model_aggregation.errors import DataError
from model_aggregation.results.run_folder import RunFolder
from model_aggregation.viewer.reading.disk_cache import DiskCache
from model_aggregation.viewer.reading.memory import Memory, stamp_of
from model_aggregation.viewer.reading.views import Picture

SMALLEST, LARGEST, STEP = 32, 512, 32
"""Sides of thumbnails in pixels; other sizes are rounded up, so that few files are made of an image."""

_WEBP = "image/webp"
_MOST_BYTES = 512 * 2**20


class Pictures:
    """Makes pictures of image files."""

    def __init__(self, cache: DiskCache) -> None:
        self._cache = cache
        self._rules = Memory(64)

    def rule_of(self, folder: RunFolder) -> ReadingRule:
        """Return how a run reads its images: by the window and the pixel limit of its settings, if it has any."""

        def read() -> ReadingRule:
            settings = folder.read_settings() if folder.settings_yaml.is_file() else {}
            return reading_rule(settings.get("window"), settings.get("max_pixels", USUAL_READING.most_pixels))

        return self._rules.get(folder.path, stamp_of(folder.settings_yaml), read)

    def thumbnail(self, path: Path, size: int, rule: ReadingRule) -> Picture:
        """Return an image as WebP, at most ``size`` pixels wide and high."""
        side = min(max(SMALLEST, -(-size // STEP) * STEP), LARGEST)
        tag = _tag(path, rule)
        key = f"{path} {tag} {side}"
        found = self._cache.find(key, ".webp")
        if found is not None:
            return Picture(found.read_bytes(), _WEBP, tag)
        image = _open(path, rule)
        if isinstance(image, str):
            return Picture(b"", _WEBP, tag, image)
        image.thumbnail((side, side))
        data = _encoded(image, "WEBP", quality=80)
        self._cache.keep(key, ".webp", lambda place: _write(place, data))
        return Picture(data, _WEBP, tag)

    def full(self, path: Path, longest: int, rule: ReadingRule) -> Picture:
        """Return an image as PNG, at most ``longest`` pixels wide and high."""
        tag = _tag(path, rule)
        image = _open(path, rule)
        if isinstance(image, str):
            return Picture(b"", "image/png", tag, image)
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        return Picture(_encoded(image, "PNG", compress_level=1), "image/png", tag)


def _tag(path: Path, rule: ReadingRule) -> str:
    stamp = stamp_of(path)[0]
    file = "none" if stamp is None else f"{stamp[0]:x}-{stamp[1]:x}"
    return file if rule == USUAL_READING else f"{file}-{zlib.crc32(repr(rule).encode()):x}"


def _open(path: Path, rule: ReadingRule) -> Image.Image | str:
    """Return the image, or why there is none; a pipe or a device behind a listed name is not opened."""
    try:
        if not path.is_file():
            return f"{path} is not there any more."
        if path.stat().st_size > _MOST_BYTES:
            return f"{path} is too large to be shown."
        return decode_bytes(read_bytes(path), path, channels=3, rule=rule).image
    except (DataError, OSError, ValueError) as error:
        return str(error)


def _encoded(image: Image.Image, form: str, **options: int) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
