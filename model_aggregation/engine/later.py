"""What a run imports after its first batch, in one place for those who want it at once."""

# ruff: noqa: F401

from contextlib import suppress
from functools import cache

from model_aggregation.errors import ModelError


@cache
def import_the_rest() -> None:
    """Import what evaluates, writes and reads images, and timm; a library that is missing is each run's own failure."""
    import openpyxl
    import sklearn.linear_model
    import sklearn.metrics
    import statsmodels.stats.multitest
    from PIL import Image

    import model_aggregation.assistance
    import model_aggregation.pooling
    import model_aggregation.results.figures
    from model_aggregation.models.imports import timm_library

    with suppress(ModelError, ImportError):
        timm_library()
    Image.init()
