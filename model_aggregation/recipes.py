"""Recipes: named sets of settings, below what is given in a file or by a flag and above the defaults."""

from typing import Any

RECIPES: dict[str, dict[str, Any]] = {
    "standard": {},  # the defaults below
    "scratch": {  # no pretrained weights: everything is trained from the first step, at a higher rate
        "pretrained": False,
        "freeze": False,
        "learning_rate": 1e-3,
    },
    "earlier": {  # what the earlier program did, in its own terms; the cutoff still comes from validation
        "head": "mlp",
        "image_size": "earlier",
        "normalize": "half",
        "interpolation": "bilinear",
        "optimizer": "adam",
        "learning_rate": 1e-4,
        "schedule": "constant",
        "warmup_epochs": 0,
        "drop_last": True,
        "frozen_batch_norm": "update",
        "augmentation": "flips",
        "precision": "32",
        "best_by": "accuracy",
        "best_ties": "last",
    },
}
"""Named sets of settings. What is given in a file or by a flag stands above them."""
