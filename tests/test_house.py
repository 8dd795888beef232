"""The house keeps its shape: layers, sizes, no torch where it must not be."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "model_aggregation"
FILES = sorted(PACKAGE.rglob("*.py"))

# From the bottom up; a module may import from its own layer and from those before it.
LAYERS = [
    ["errors"],
    ["cache_folder", "files", "processes", "launch", "progress", "ranks", "software", "standard_streams", "startup"],
    ["torchvision_operators", "trusted_code"],
    ["evaluation"],
    ["recipes", "setting_values"],
    ["input_options"],
    ["options"],
    ["config"],
    ["names"],
    ["earlier_settings"],
    ["settings_files"],
    ["data"],
    ["models"],
    ["named_code"],
    ["results"],
    ["reporting"],
    ["environment", "fabric", "training"],
    ["prediction"],
    ["analysis"],
    ["viewer"],
    ["run_plan"],
    ["plan"],
    ["assistance", "experiment", "run_images", "stored_state", "forecast", "continuation", "disk_space", "pooling"],
    ["advisor", "engine"],
    ["demo", "api", "preloaded"],
    ["cli"],
    ["command"],
    ["__main__", "__init__"],
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    own = RANK[room_of(path)]
    rooms = {name.split(".")[1] for name in imports_of(path) if name.startswith("model_aggregation.")}
    upwards = {room for room in rooms if room in RANK and RANK[room] > own}
    assert not upwards, f"{path.name} imports from above: {upwards}"


def test_every_room_has_a_layer():
    assert {room_of(path) for path in FILES} <= RANK.keys()


def test_evaluation_knows_no_torch_and_no_files():
    for path in (PACKAGE / "evaluation").glob("*.py"):
        forbidden = {"torch", "pathlib", "os", "io", "model_aggregation.files"}
        assert not imports_of(path) & forbidden, path.name


def test_sizes():
    long_files = [path.name for path in FILES if len(path.read_text(encoding="utf-8").splitlines()) > 400]
    functions = [
        (path.name, node)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]
    long_functions = [f"{name}:{node.name}" for name, node in functions if node.end_lineno - node.lineno >= 60]
    assert not long_files + long_functions


@pytest.mark.parametrize(
    "code",
    [
        "import model_aggregation.cli",
        "import model_aggregation.command",
        "from model_aggregation.cli import app; app(['--help'], result_action='return_value')",
        "from model_aggregation.cli import app; app(['train', '--help'], result_action='return_value')",
        "import model_aggregation.results.leaderboard, model_aggregation.results.objects",
        "import model_aggregation.evaluation",
        "import model_aggregation.viewer.server",
        "import model_aggregation",
    ],
)
def test_starts_without_torch_and_ray(code):
    assert_not_imported(code, "torch", "ray")


def test_ray_is_imported_for_a_cluster_only():
    assert_not_imported("import model_aggregation.api, model_aggregation.engine", "ray")


def test_who_plans_and_leads_imports_nothing_that_computes():
    """The runs have processes of their own; a second for each of these would delay the first batch."""
    leads = "import model_aggregation.cli.texts, model_aggregation.plan, model_aggregation.engine"
    assert_not_imported(leads, "lightning_fabric", "torch._dynamo", "sklearn", "matplotlib", "timm", "torchvision")


def assert_not_imported(code, *libraries):
    check = f"{code}\nimport sys\nfound = {set(libraries)} & sys.modules.keys()\nassert not found, found"
    environment_neutral = [sys.executable, "-X", "utf8", "-c", check]
    result = subprocess.run(environment_neutral, capture_output=True, text=True, encoding="utf-8", check=False)
    assert result.returncode == 0, result.stderr


def test_public_names_are_sorted_and_there():
    import model_aggregation as ma

    assert ma.__all__ == sorted(ma.__all__)
    assert all(getattr(ma, name) is not None for name in ma.__all__)
