"""What the server imports once, so that each run forked from it begins at once; only the server imports this module.

The first run waits for it, so there is only what a run needs to begin; it imports the rest by itself when it comes to
it. The server does so before it forks the second run: the first finds the machine quiet, on which it times its network.

Nothing here may start a thread or touch a GPU: neither survives a fork.
"""

# ruff: noqa: F401

import os
import signal
from contextlib import suppress
from itertools import count

from model_aggregation.startup import importing

with importing():
    import torch.utils.tensorboard.writer

    import model_aggregation.engine.worker
    import model_aggregation.experiment
    from model_aggregation.engine.later import import_the_rest
    from model_aggregation.errors import ModelError
    from model_aggregation.models.imports import torchvision_models

    with suppress(ModelError, ImportError):  # a run that needs it says what is wrong
        torchvision_models()


def _before_fork() -> None:
    if os.getpid() == _SERVER and next(_FORKS):  # not where a run forks, and not for the first run
        import_the_rest()


_SERVER, _FORKS = os.getpid(), count()
os.register_at_fork(before=_before_fork)

# Runs end at the word of the process that leads, and Ctrl-C reaches that one.
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
