"""Images as the browser shows them, decoded by the same rules as for the networks; thumbnails are made once."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from model_aggregation.data.decoding import decode_bytes, read_bytes
from model_aggregation.errors import DataError
from model_aggregation.viewer.reading.disk_cache import DiskCache
from model_aggregation.viewer.reading.memory import stamp_of
from model_aggregation.viewer.reading.views import Picture

SMALLEST, LARGEST, STEP = 32, 512, 32
"""Sides of thumbnails in pixels; other sizes are rounded up, so that few files are made of an image."""

_WEBP = "image/webp"
_MOST_BYTES = 512 * 2**20


class Pictures:
    """Makes pictures of image files."""

    def __init__(self, cache: DiskCache) -> None:
        self._cache = cache

    def thumbnail(self, path: Path, size: int) -> Picture:
        """Return an image as WebP, at most ``size`` pixels wide and high."""
        side = min(max(SMALLEST, -(-size // STEP) * STEP), LARGEST)
        tag = _tag(path)
        key = f"{path} {tag} {side}"
        found = self._cache.find(key, ".webp")
        if found is not None:
            return Picture(found.read_bytes(), _WEBP, tag)
        image = _open(path)
        if isinstance(image, str):
            return Picture(b"", _WEBP, tag, image)
        image.thumbnail((side, side))
        data = _encoded(image, "WEBP", quality=80)
        self._cache.keep(key, ".webp", lambda place: _write(place, data))
        return Picture(data, _WEBP, tag)

    def full(self, path: Path, longest: int) -> Picture:
        """Return an image as PNG, at most ``longest`` pixels wide and high."""
        image = _open(path)
        if isinstance(image, str):
            return Picture(b"", "image/png", _tag(path), image)
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        return Picture(_encoded(image, "PNG", compress_level=1), "image/png", _tag(path))


def _tag(path: Path) -> str:
    stamp = stamp_of(path)[0]
    return "none" if stamp is None else f"{stamp[0]:x}-{stamp[1]:x}"


def _open(path: Path) -> Image.Image | str:
    """Return the image, or why there is none; a pipe or a device behind a listed name is not opened."""
    try:
        if not path.is_file():
            return f"{path} is not there any more."
        if path.stat().st_size > _MOST_BYTES:
            return f"{path} is too large to be shown."
        return decode_bytes(read_bytes(path), path, channels=3).image
    except (DataError, OSError, ValueError) as error:
        return str(error)


def _encoded(image: Image.Image, form: str, **options: int) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
