"""Folders that are given as a run and are none: a comparison, or what the earlier program wrote."""

from pathlib import Path

from model_aggregation.results.run_folder import RunFolder


def what_it_is(folder: Path) -> str:
    """Say what a folder is that is no run folder of ours, and what can be done with it."""
    places = [RunFolder(path) for path in (folder, *sorted(path for path in folder.iterdir() if path.is_dir()))]
    earlier = [
        place for place in places if place.predictions_csv("test").is_file() and not place.environment_json.is_file()
    ]
    runs = [place.name for place in places[1:] if place.settings_yaml.is_file() and place not in earlier]
    if earlier and not runs:
        return (
            "It looks like a folder of the earlier program. Evaluate its table of predictions: "
            f'magg analyze "{earlier[0].predictions_csv("test")}" --out FOLDER, for two classes with --positive CLASS.'
        )
    return f"It is a comparison; give one of its runs: {', '.join(runs[:10])}." if runs else "It is no run folder."
