"""What every page gets: the reader of the log folder and the visitor's language and colours."""

from dataclasses import dataclass
from typing import Any

from model_aggregation.viewer.reading import LogReader
from model_aggregation.viewer.texts import say
from model_aggregation.viewer.visitor import Language, Scheme, present_visitor


@dataclass(frozen=True)
class Context:
    """One object for layouts and callbacks; language and scheme are those of the request being answered.

    Parameters
    ----------
    reader
        The only way to what lies in the log folder.
    opens_here
        Whether images and folders may be opened with the programs of this machine.
    """

    reader: LogReader
    opens_here: bool = False

    @property
    def language(self) -> Language:
        """Language of the present request."""
        return present_visitor().language

    @property
    def scheme(self) -> Scheme:
        """Light or dark, for figures."""
        return present_visitor().scheme

    def say(self, key: str, **values: Any) -> str:
        """Return a text of ``texts/*.yaml`` in the language of the present request."""
        return say(self.language, key, **values)
