"""The SHA-256 of a run's files in ``SHA256SUMS``, so that a file changed later is noticed; ``sha256sum -c`` reads it.

Files that an evaluation writes are listed anew by each. Those that it reads, and weights, are listed when the run has
written them; one that was changed and then accepted (``magg analyze``) is listed as it is now, and a comment keeps the
hash of what the run wrote. Other line ends alone are no change. Runs of earlier versions have no such file.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from model_aggregation.errors import ChangedResultsError, ResultsError
from model_aggregation.files import content_hash, file_hash, write_text
from model_aggregation.results.run_paths import RunPaths

_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_ACCEPTED = re.compile(r"# accepted: (.+), written as ([0-9a-f]{64})")
_NAMED = 3

ACCEPTED = "accepted as they are now, though not what the run wrote: "
"""Begins the warning beside numbers of such files; their names follow."""


@dataclass(frozen=True)
class Checksums:
    """What ``SHA256SUMS`` says, by the name of the file; ``written`` is what the run wrote of files accepted since."""

    listed: Mapping[str, str] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: RunPaths) -> "Checksums":
        """Read the checksums of a run folder; there are none of an earlier version.

        Raises
        ------
        ResultsError
            If the file is there and holds something else.
        """
        path, listed, written = folder.checksums, {}, {}
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return cls()
        except (OSError, UnicodeDecodeError) as error:
            raise ResultsError(f"{path} cannot be read: {error}.") from error
        for line in lines:
            if found := _LINE.fullmatch(line):
                listed[found[2]] = found[1]
            elif found := _ACCEPTED.fullmatch(line):
                written[found[1]] = found[2]
            else:
                lines = []
        if not lines:
            raise ResultsError(
                f"{path} is damaged: it should hold lines of sha256sum. If the other files are as the run wrote them, "
                f'remove it and write it anew with magg analyze "{folder.path}".'
            )
        return cls(listed, written)

    def is_changed(self, path: Path, content: bytes | None = None) -> bool:
        """Return whether a file is neither what the run wrote nor what was accepted; one that is not listed is not."""
        known = {self.listed.get(path.name), self.written.get(path.name)}
        return path.name in self.listed and known.isdisjoint(_hashes_of(path, content))

    def is_accepted(self, path: Path) -> bool:
        """Return whether a file is not what the run wrote, but was accepted as it is."""
        return path.name in self.written and self.written[path.name] not in _hashes_of(path)


def _hashes_of(path: Path, content: bytes | None = None) -> Iterator[str]:
    """Yield the SHA-256 of a file, and that of a text with the line ends that the run wrote."""
    yield file_hash(path) if content is None else content_hash(content)
    if path.suffix != ".pth":
        yield content_hash((path.read_bytes() if content is None else content).replace(b"\r\n", b"\n"))


# --- what was changed ---------------------------------------------------------------------------------------------


def changed_files(folder: RunPaths, sets: Sequence[str], *, newer: bool = False) -> list[str]:
    """Return the names of the files that an evaluation reads and that are not what the run wrote, nor accepted.

    Parameters
    ----------
    sets
        The names of the run's external sets.
    newer
        Look only into files newer than ``SHA256SUMS``: quick, and blind for what keeps its time.
    """
    checksums, paths = Checksums.read(folder), _present(evaluated_files(folder, sets))
    if newer and checksums.listed:
        since = folder.checksums.stat().st_mtime_ns
        paths = [path for path in paths if path.stat().st_mtime_ns > since]
    return [path.name for path in paths if checksums.is_changed(path)]


def accepted_files(folder: RunPaths, sets: Sequence[str]) -> list[str]:
    """Return the names of the files that an evaluation reads and that were accepted though changed."""
    checksums = Checksums.read(folder)
    return [path.name for path in _present(evaluated_files(folder, sets)) if checksums.is_accepted(path)]


def refuse_changed(folder: RunPaths, sets: Sequence[str]) -> None:
    """Raise ``ChangedResultsError`` if a file that an evaluation reads is not what the run wrote, nor accepted."""
    changed = changed_files(folder, sets)
    if changed:
        raise ChangedResultsError(
            f"Files of {folder.name} are not what the run wrote: {_few(changed)} (edited, or saved again by a "
            "spreadsheet?). Put back what the run wrote, or take them as they are now, with a warning beside each "
            f'number: magg analyze "{folder.path}".'
        )


def refuse_changed_weights(folder: RunPaths, paths: Sequence[Path]) -> None:
    """Raise ``ChangedResultsError`` if weights, or what is needed to use them, are not what the run wrote."""
    checksums = Checksums.read(folder)
    changed = [path.name for path in _present(paths) if checksums.is_changed(path)]
    if changed:
        raise ChangedResultsError(
            f"Files of {folder.name} are not what the run wrote: {_few(changed)}. They would predict otherwise than "
            f"the network that was tested. Put back what the run wrote; to use them all the same, remove their lines "
            f"from {folder.checksums}."
        )


def fault_of_metrics(folder: RunPaths, content: bytes) -> str | None:
    """Return what is wrong with ``metrics.json`` that holds this content, None if nothing is."""
    checksums = Checksums.read(folder)
    listed = folder.metrics_json.name in checksums.listed
    if listed and not checksums.is_changed(folder.metrics_json, content):
        return None
    try:
        metrics = json.loads(content)
    except ValueError:
        metrics = None
    if not isinstance(metrics, dict):
        return "is damaged"
    if listed:
        return "is not what the run wrote"
    from model_aggregation.evaluation.possible_values import impossible_numbers  # for runs of earlier versions

    found = impossible_numbers(metrics)
    return f"holds numbers that cannot be right ({_few(found)})" if found else None


def _few(words: Sequence[str]) -> str:
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return f"{', '.join(words[:_NAMED])}{more}"


# --- writing ------------------------------------------------------------------------------------------------------


def write_checksums(folder: RunPaths, sets: Sequence[str], metrics_text: str) -> None:
    """List the files of an evaluated run, before ``metrics.json``, of which the coming text is given."""
    checksums, written = Checksums.read(folder), {}
    listed = {folder.metrics_json.name: content_hash(metrics_text.encode())}
    for path in _present([*_results(folder, sets), *_weights(folder)]):
        is_weight = path in _weights(folder)
        listed[path.name] = (checksums.listed.get(path.name) if is_weight else None) or file_hash(path)
    for path in _present(evaluated_files(folder, sets)):
        first = checksums.written.get(path.name) or checksums.listed.get(path.name)
        if first is None or first in _hashes_of(path):
            listed[path.name] = first or file_hash(path)
        else:
            listed[path.name], written[path.name] = file_hash(path), first
    _write(folder, Checksums(listed, written))


def forget_files(folder: RunPaths, paths: Iterable[Path]) -> None:
    """Take files out of the list that are about to be written anew."""
    checksums, names = Checksums.read(folder), {path.name for path in paths}
    if names & {*checksums.listed, *checksums.written}:
        kept = [{name: value for name, value in part.items() if name not in names} for part in vars(checksums).values()]
        _write(folder, Checksums(*kept))


def _write(folder: RunPaths, checksums: Checksums) -> None:
    lines = [f"{checksums.listed[name]}  {name}" for name in sorted(checksums.listed)]
    lines += [f"# accepted: {name}, written as {checksums.written[name]}" for name in sorted(checksums.written)]
    write_text(folder.checksums, "\n".join([*lines, ""]))


# --- which files --------------------------------------------------------------------------------------------------


def evaluated_files(folder: RunPaths, sets: Sequence[str]) -> list[Path]:
    """Return the files that an evaluation reads; some need not be there."""
    own = [folder.settings_yaml, folder.environment_json, folder.images_csv, folder.folds_csv]
    of_sets = [path(name) for name in sets for path in (folder.set_images_csv, folder.set_facts_json)]
    return [*own, *of_sets, *(folder.predictions_csv(name) for name in ("val", "test", *sets))]


def _results(folder: RunPaths, sets: Sequence[str]) -> list[Path]:
    """Return what an evaluation writes beside ``metrics.json``."""
    each = (folder.predicted_labels_csv, folder.roc_csv, folder.roc_png, folder.confusion_xlsx)
    return [folder.metrics_csv, *(path(name) for name in ("test", *sets) for path in each)]


def _weights(folder: RunPaths) -> list[Path]:
    return [path for which in ("last", "best") for path in (folder.weight_pth(which), folder.weight_json(which))]


def _present(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.is_file()]
