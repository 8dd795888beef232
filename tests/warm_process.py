"""What every run imports, for processes that are forked from one that has it already."""

import matplotlib.pyplot  # noqa: F401

import model_aggregation.engine  # noqa: F401
from model_aggregation.models.imports import timm_library

timm_library()
