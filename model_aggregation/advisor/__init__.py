"""Which networks are worth a comparison on this data set and this machine: measured and probed, not trained."""
