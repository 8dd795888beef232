"""What belongs together because pairs join it. scipy's graphs take a moment to import, so only who joins does."""

import numpy as np
import pandas as pd


def joined(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    """Return the family of each of ``count`` things, (count,) int, that the pairs (first, second) join.

    >>> joined(np.array([0, 3]), np.array([2, 0]), 4).tolist()
    [0, 1, 0, 0]
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(first), dtype=bool), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def joining(families: np.ndarray) -> np.ndarray:
    """Return which of the pairs (n, 2) of families are needed to join all that they join.

    >>> joining(np.array([[0, 1], [1, 0], [1, 2], [2, 0]])).tolist()
    [0, 2]
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import minimum_spanning_tree

    ends = pd.DataFrame(np.sort(families, axis=1))
    rows = np.flatnonzero((ends[0] != ends[1]) & ~ends.duplicated())
    graph = coo_matrix((rows + 1, tuple(ends.to_numpy()[rows].T)), shape=(families.max() + 1,) * 2)
    return np.sort(minimum_spanning_tree(graph).data.astype(int)) - 1
