"""Which pretrained network works best on my images, how good is it really, and where does it go wrong?

The same verbs as the command line, for Python: each returns objects with DataFrames.

    import model_aggregation as ma

    group = ma.compare("images", models=["resnet18", "mobilenet_v3_small"], positive="ill", name="first")
    group.leaderboard()
"""

from typing import TYPE_CHECKING, Any

from model_aggregation.errors import ModelAggregationError

if TYPE_CHECKING:
    from model_aggregation.api import (
        Group,
        Plan,
        Run,
        analyze,
        check,
        compare,
        leaderboard,
        make_plan,
        predict,
        rebuild_index,
        run,
        suggest,
        test,
        train,
    )

__version__ = "0.1.0"

__all__ = [
    "Group",
    "ModelAggregationError",
    "Plan",
    "Run",
    "analyze",
    "check",
    "compare",
    "leaderboard",
    "make_plan",
    "predict",
    "rebuild_index",
    "run",
    "suggest",
    "test",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import what computes only when it is used: the command line and the viewer must start without torch."""
    if name in __all__:
        from model_aggregation import api

        return getattr(api, name)
    raise AttributeError(f"module 'model_aggregation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
