"""The command about the cache of decoded images."""

from pathlib import Path

from model_aggregation.cli.app import app, say


@app.command
def cache(*, cache_folder: Path | None = None, clear: bool = False, unused_days: float = 0) -> int:
    """List the decoded images that are kept for later runs, or remove them.

    Parameters
    ----------
    cache_folder
        Folder of decoded images; default: the user's cache folder.
    clear
        Remove what is listed. A run that still needs it decodes its images again.
    unused_days
        Only what was not used for so many days.
    """
    from datetime import datetime, timedelta

    from rich import box
    from rich.table import Table
    from rich.text import Text

    from model_aggregation.cache_folder import default_cache_folder
    from model_aggregation.data.image_cache import cached_stores, remove

    folder = cache_folder or default_cache_folder()
    latest = datetime.now() - timedelta(days=unused_days)
    stores = [store for store in cached_stores(folder) if store.used <= latest]
    table = Table(title=f"Decoded images in {folder}", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("images of", "count", "pixels", "MB", "last used"):
        table.add_column(heading, justify="right" if heading in ("count", "MB") else "left", overflow="fold")
    for store in stores:
        rule = store.facts.get("rule", {})
        table.add_row(
            Text(store.facts.get("of", "(unfinished or outdated)")),
            str(store.facts.get("images", "")),
            f"{rule['image_size']}×{rule['image_size']}×{rule['channels']} {rule['interpolation']}" if rule else "",
            f"{store.bytes / 1e6:,.1f}",
            f"{store.used:%Y-%m-%d %H:%M}",
        )
    say(table)
    total = sum(store.bytes for store in stores) / 1e9
    if not clear:
        say(f"{len(stores)} stores, {total:.2f} GB. Remove them with --clear.")
        return 0
    for store in stores:
        remove(store.path)
    kept = [store.path for store in stores if store.path.exists()]
    say(f"removed: {len(stores) - len(kept)} stores, {total:.2f} GB" + (f"; in use: {len(kept)}" if kept else ""))
    return 0
