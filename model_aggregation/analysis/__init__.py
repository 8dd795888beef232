"""From tables of predictions to every reported number and its files: of runs, groups and anybody's tables."""
