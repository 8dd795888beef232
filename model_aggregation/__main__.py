"""``python -m model_aggregation`` is ``magg``."""

from model_aggregation.cli import main

if __name__ == "__main__":
    main()
