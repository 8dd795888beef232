"""``python -m model_aggregation`` is ``magg``."""

from model_aggregation.command import main

if __name__ == "__main__":
    main()
