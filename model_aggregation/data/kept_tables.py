"""Tables that take long to compute, kept on the disk under a key that names everything they depend on."""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from model_aggregation.cache_folder import default_cache_folder
from model_aggregation.files import whole_or_absent

_MOST_TABLES = 100
_FOLDER = "examinations"


@dataclass(frozen=True)
class KeptTables:
    """Tables in ``folder``, those used least recently leave first; without a folder nothing is kept."""

    folder: Path | None = None
    most_tables: int = _MOST_TABLES

    def get(self, parts: Iterable[bytes], make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Return the table that depends on ``parts`` and nothing else: the one kept, else a new one from ``make``."""
        if self.folder is None:
            return make()
        digest = hashlib.sha256()
        for part in parts:
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
        path = self.folder / f"{digest.hexdigest()[:32]}.parquet"
        with suppress(OSError, ValueError):  # not there yet, or damaged
            table = pd.read_parquet(path)
            path.touch()  # used now
            return table
        table = make()
        with suppress(OSError):  # a full or locked disk costs only the next time its speed
            with whole_or_absent(path) as temporary:
                table.to_parquet(temporary)
            self._forget()
        return table

    def _forget(self) -> None:
        tables = sorted(self.folder.glob("[0-9a-f]*.parquet"), key=lambda path: path.stat().st_mtime, reverse=True)  # type: ignore[union-attr]
        for path in tables[self.most_tables :]:
            path.unlink(missing_ok=True)


def default_kept(cache_folder: Path | None = None) -> KeptTables:
    """Return the tables kept in the cache folder of the settings, by default the user's own."""
    return KeptTables((cache_folder or default_cache_folder()) / _FOLDER)
