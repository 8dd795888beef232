"""What the server imports once, so that each run forked from it begins at once; only the server imports this module.

Nothing here may start a thread or touch a GPU: neither survives a fork.
"""

# ruff: noqa: F401

import signal
from contextlib import suppress

import openpyxl
import sklearn.linear_model
import statsmodels.stats.multitest
import torch.utils.tensorboard.writer
from PIL import Image

import model_aggregation.engine.worker
import model_aggregation.results.figures
from model_aggregation.errors import ModelError
from model_aggregation.models.imports import timm_library

with suppress(ModelError, ImportError):  # a run that needs it says what is wrong
    timm_library()
Image.init()

# Runs end at the word of the process that leads, and Ctrl-C reaches that one.
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
