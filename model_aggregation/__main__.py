"""``python -m model_aggregation`` is ``magg``."""

import os
import sys

if __name__ == "__main__":
    here = os.getcwd()  # noqa: PTH109
    if sys.path[:1] == [here] and os.path.dirname(os.path.dirname(__file__)) != here:  # noqa: PTH120
        del sys.path[0]  # before anything is imported: a file there may be called random.py

    from model_aggregation.command import main

    main()
