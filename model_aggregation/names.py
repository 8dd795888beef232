"""Names of runs and groups: which are allowed, and how the name of a model or a data folder is made to fit.

The companion viewer splits its addresses at ``-``; Windows knows device names, no trailing dots and no
difference between upper and lower case; macOS hands over decomposed letters. A name allowed here works there.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PureWindowsPath
from typing import get_args

from model_aggregation.errors import SettingsError
from model_aggregation.input_options import Source

SINGLE = "single"
"""What stands for the group of a run that belongs to none; no run and no group may be called so."""

LONGEST_PATH = 240
"""Characters (UTF-16 units, as Windows counts) of the longest path a run may write."""

LONGEST_FILE_NAME_BYTES = 240
"""UTF-8 bytes of the longest file name; file systems allow 255, temporary names need the rest."""

_LONGEST_DEFAULT_NAME = 60
_DEVICE_NAMES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"]
)
_UNSHOWABLE = (",", "\n", "\r", "---", "&", "#", "+", "%")


def normalised(name: str) -> str:
    """Return a name with composed letters (Unicode NFC), as names are stored and compared."""
    return unicodedata.normalize("NFC", name)


def same_name(name: str) -> str:
    """Return the form in which two names that Windows or macOS takes for the same are equal.

    >>> same_name("Run_A") == same_name("run_a")
    True
    """
    return normalised(normalised(name).casefold())


def is_plain_name(name: str) -> bool:
    """Tell whether a name leads nowhere but into the folder it is looked up in, on every system.

    >>> [is_plain_name(name) for name in ("metrics.json", "..", "a/b", "C:x", "")]
    [True, False, False, False, False]
    """
    return name not in ("", ".", "..") and "\0" not in name and PureWindowsPath(name).name == name


def check_run_name(name: str) -> str:
    """Return the name of a run in NFC if it is allowed: a letter, then letters, digits, ``_`` and ``.``.

    Raises
    ------
    SettingsError
        If it is not allowed; every reason is listed.
    """
    return _checked(name, "run", "letters, digits, '_' and '.'", r"[\w.]")


def check_group_name(name: str) -> str:
    """Return the name of a group in NFC if it is allowed: as for a run, but without dots.

    Raises
    ------
    SettingsError
        If it is not allowed; every reason is listed.
    """
    return _checked(name, "group", "letters, digits and '_'", r"\w")


def _checked(name: str, kind: str, allowed: str, pattern: str) -> str:
    name = normalised(name)
    others = sorted({character for character in name if not re.fullmatch(pattern, character)})
    problems = []
    if not name[:1].isalpha():
        problems.append("it must begin with a letter")
    if others:
        problems.append(f"it may not contain {' '.join(map(repr, others))}")
    if name.endswith("."):
        problems.append("it may not end with a dot")
    if same_name(name) == SINGLE:
        problems.append(f"'{SINGLE}' stands for runs without a group")
    if is_device_name(name):
        problems.append("Windows keeps this name for a device")
    if problems:
        raise SettingsError(
            f"The name of a {kind} is a letter followed by {allowed}; '{name}' came. Give another with --name"
            f"{_suggestion(name, kind)}.",
            problems,
        )
    return name


def _suggestion(name: str, kind: str) -> str:
    fitting = default_name(name)
    return f", such as {fitting}" if kind == "group" or fitting != name else ""


def is_device_name(name: str) -> bool:
    """Tell whether Windows takes a file of this name, with any suffix, for a device.

    >>> is_device_name("NUL.v2"), is_device_name("null")
    (True, False)
    """
    return name.partition(".")[0].casefold() in _DEVICE_NAMES


def default_name(data_folder_name: str) -> str:
    """Return a name for a run or a group made from the name of its data folder.

    >>> default_name("my-data 2"), default_name("胸部 X線"), default_name("2024")
    ('my_data_2', '胸部_X線', 'data_2024')
    """
    name = _fitted(data_folder_name, r"\W+")[:_LONGEST_DEFAULT_NAME].strip("_")
    if not name:
        return "data"
    if not name[0].isalpha() or same_name(name) == SINGLE or is_device_name(name):
        return f"data_{name}"
    return name


def model_slug(model: str, *, with_source: bool = False) -> str:
    """Return the name of a model made to fit into the name of a run; dots stay.

    >>> model_slug("timm:hf_hub:a/b-c"), model_slug("timm:hf_hub:a/b-c", with_source=True)
    ('hf_hub_a_b_c', 'timm_hf_hub_a_b_c')
    >>> model_slug("torchvision:resnet18"), model_slug("hf_hub:a/b-c")
    ('resnet18', 'hf_hub_a_b_c')
    """
    source, colon, name = model.partition(":")
    known = bool(colon) and source in get_args(Source)
    slug = _fitted(name if known and not with_source else model, r"[^\w.]+").rstrip(".")
    return slug or "model"


def _fitted(text: str, others: str) -> str:
    return re.sub(others, "_", normalised(text).strip())


def run_names(group: str, models: Sequence[str]) -> list[str]:
    """Return the names of a comparison's runs, ``<group>_<model>``, one for each model in the order given.

    Where two names would be the same (also when only case differs), the source is put before the
    model.

    >>> run_names("lungs", ["torchvision:resnet18", "timm:resnet18", "timm:vit_tiny"])
    ['lungs_torchvision_resnet18', 'lungs_timm_resnet18', 'lungs_vit_tiny']

    Raises
    ------
    SettingsError
        If two models still have one name: the same model twice, or names that differ only in characters that
        names of runs cannot hold.
    """
    slugs = [model_slug(model) for model in models]
    shared = {name for name, members in _by_name(slugs, models).items() if len(members) > 1}
    while True:
        slugs = [
            model_slug(model, with_source=True) if same_name(slug) in shared else slug
            for model, slug in zip(models, slugs, strict=True)
        ]
        clashes = {name: members for name, members in _by_name(slugs, models).items() if len(members) > 1}
        if clashes.keys() <= shared:
            break
        shared |= clashes.keys()
    if clashes:
        raise SettingsError(
            "Each model of a comparison needs a name of its own; these would share one. Put one of each into "
            "another comparison:",
            [f"{', '.join(members)}: {name}" for name, members in clashes.items()],
        )
    return [check_run_name(f"{group}_{slug}") for slug in slugs]


def member_name(name: str, seed: int | None, fold: int | None) -> str:
    """Return the name of one seed or fold of a model's runs; None where there is only one.

    >>> member_name("lungs_resnet18", 0, 1), member_name("lungs_resnet18", None, 2)
    ('lungs_resnet18_s0_f1', 'lungs_resnet18_f2')
    """
    return name + ("" if seed is None else f"_s{seed}") + ("" if fold is None else f"_f{fold}")


def parent_name(name: str, model: str, seed: int, fold: int | None) -> str | None:
    """Return what the name of a fold or a seed says it belongs to, or None.

    >>> parent_name("lungs_resnet18_s0_f1", "torchvision:resnet18", 0, 1)
    'lungs_resnet18_s0'
    >>> parent_name("lungs_resnet18_s0", "torchvision:resnet18", 0, None)
    'lungs_resnet18'
    >>> parent_name("lungs_mobileone_s0", "timm:mobileone_s0", 0, None)
    """
    if fold is not None:
        return name.removesuffix(f"_f{fold}") if name.endswith(f"_f{fold}") else None
    ending = f"_s{seed}"
    return name.removesuffix(ending) if name.endswith(f"{model_slug(model)}{ending}") else None


def _by_name(slugs: Sequence[str], models: Sequence[str]) -> dict[str, list[str]]:
    members = defaultdict(list)
    for slug, model in zip(slugs, models, strict=True):
        members[same_name(slug)].append(model)
    return members


def check_path_lengths(paths: Iterable[Path]) -> None:
    """Refuse paths that Windows or a file system could not hold; relative ones are taken from here.

    Raises
    ------
    SettingsError
        If a path has more than 240 characters or a file name more than 240 bytes; the longest is named.
    """
    absolute = [path.absolute() for path in paths]
    longest = max(absolute, key=_characters)
    if _characters(longest) > LONGEST_PATH:
        raise SettingsError(
            f"No file of a run may have a path of more than {LONGEST_PATH} characters; one would have "
            f"{_characters(longest)}: {longest}. Give a shorter --name or a --log-folder nearer to the root."
        )
    widest = max(absolute, key=lambda path: len(path.name.encode()))
    if len(widest.name.encode()) > LONGEST_FILE_NAME_BYTES:
        raise SettingsError(
            f"No file name of a run may have more than {LONGEST_FILE_NAME_BYTES} bytes; one would have "
            f"{len(widest.name.encode())}: {widest.name}. Give a shorter --name."
        )


def _characters(path: Path) -> int:
    return len(str(path).encode("utf-16-le", errors="surrogatepass")) // 2


def not_shown_by_companion(texts: Iterable[str]) -> list[str]:
    """Return those of the paths or class names that the companion viewer cannot show.

    It splits lines at every comma and addresses at ``---``, and cannot decode ``&``, ``#``, ``+``, ``%``.

    >>> not_shown_by_companion(["cat", "cat, black", "50%"])
    ['cat, black', '50%']
    """
    return [text for text in texts if any(part in text for part in _UNSHOWABLE)]
