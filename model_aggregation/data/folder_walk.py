"""Every file below a folder, in a fixed order, with what was left aside and why.

Links to folders are followed once and never inside another link, so that no loop of links can hang the walk.
"""

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SYSTEM_NAMES = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "lost+found"}
    | {"system volume information", "__pycache__"}
)
_WINDOWS_JUNCTION = 0xA0000003


@dataclass(frozen=True, slots=True)
class FilesOfFolder:
    """The files of one folder: the names from the root down to it and its absolute path, and the names of the files.

    Data sets have many files in few folders: what is said once for a folder is not kept for each file.
    """

    parts: tuple[str, ...]
    path: str
    names: list[str]

    def paths(self) -> Iterator[str]:
        """Yield the absolute path of each file."""
        return (os.path.join(self.path, name) for name in self.names)  # noqa: PTH118 - a Path would keep each name


@dataclass
class Walk:
    """What a walk found; ``folders`` holds the names from the root down of every folder entered."""

    files: list[FilesOfFolder] = field(default_factory=list)
    folders: list[tuple[str, ...]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def walk_folder(root: Path) -> Walk:
    """List all files below ``root``; hidden and system files and folders are left aside and named."""
    walk = Walk()
    real_root = os.path.realpath(root)
    # an own stack, because a deep tree would reach Python's recursion limit
    stack: list[_Folder] = [_Folder(root, (), inside_link=False)]
    while stack:
        folder = stack.pop()
        stack.extend(reversed(_visit(folder, real_root, walk)))
    walk.ignored.sort()
    walk.problems.sort()
    return walk


def as_id(parts: tuple[str, ...]) -> str:
    """Join names to an id: ``/`` between them, Unicode NFC.

    >>> as_id(("train", "cafe\\u0301", "1.png")) == "train/caf\\u00e9/1.png"
    True
    """
    return unicodedata.normalize("NFC", "/".join(parts))


def hidden_reason(name: str) -> str | None:
    """Say why a file or folder of this name is left aside, or None when it counts.

    >>> hidden_reason("Thumbs.db"), hidden_reason("image.png")
    ('file of the system', None)
    """
    if name.startswith((".", "~$")):
        return "hidden"
    if name.casefold() in SYSTEM_NAMES:
        return "file of the system"
    return None


@dataclass(frozen=True)
class _Folder:
    path: Path
    names: tuple[str, ...]
    inside_link: bool


def _visit(folder: _Folder, real_root: str, walk: Walk) -> list[_Folder]:
    """Note the files of one folder and return the folders below it that are to be visited."""
    names: list[str] = []
    below: list[_Folder] = []
    for entry in _entries(folder, walk):
        parts = (*folder.names, entry.name)
        if not _is_utf8(entry.name):
            walk.problems.append(f"the name of {_shown(parts)} is not UTF-8; rename it (on Linux: convmv)")
        elif reason := hidden_reason(entry.name):
            walk.ignored.append(f"{as_id(parts)}: {reason}")
        elif not _is_folder(entry):
            if _exists_but_is_no_file(entry):
                walk.ignored.append(f"{as_id(parts)}: neither a file nor a folder")
            else:
                # a broken link is kept: the inspection reports it as unreadable instead of passing over it
                names.append(entry.name)
        else:
            is_link = _is_link(entry)
            if is_link and (reason := _why_not_follow(entry.path, real_root, folder.inside_link)):
                walk.ignored.append(f"{as_id(parts)}: {reason}")
            else:
                below.append(_Folder(Path(entry.path), parts, inside_link=folder.inside_link or is_link))
    if names:
        walk.files.append(FilesOfFolder(folder.names, str(folder.path), sorted(names)))
    below.sort(key=lambda found: found.names)
    walk.folders.extend(found.names for found in below)
    return below


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _shown(names: tuple[str, ...]) -> str:
    return "/".join(names).encode("utf-8", "backslashreplace").decode("utf-8")


def _entries(folder: _Folder, walk: Walk) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of a folder as the system gives them, one at a time: each takes 300 bytes."""
    try:
        with os.scandir(folder.path) as entries:
            yield from entries
    except OSError as reason:
        shown = as_id(folder.names) or folder.path
        walk.problems.append(f"folder {shown} cannot be listed: {reason.strerror or reason}")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_link(entry: os.DirEntry[str]) -> bool:
    if entry.is_symlink():
        return True
    # a junction of Windows is a link to a folder that does not call itself one
    return getattr(entry.stat(follow_symlinks=False), "st_reparse_tag", 0) == _WINDOWS_JUNCTION


def _why_not_follow(path: str, real_root: str, inside_link: bool) -> str | None:
    if inside_link:
        return "a link inside a linked folder, not followed"
    target = os.path.realpath(path)
    if _is_within(real_root, target):
        return "a link to a folder that holds the data itself, not followed"
    if _is_within(target, real_root):
        return "a link to a folder of the same data, not followed"
    return None


def _is_within(path: str, folder: str) -> bool:
    try:
        return os.path.commonpath([path, folder]) == folder
    except ValueError:  # different drives of Windows
        return False


def _exists_but_is_no_file(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.is_file() and Path(entry.path).exists()
    except OSError:
        return False
