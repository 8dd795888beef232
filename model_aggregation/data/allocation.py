"""Dividing units of images among the splits so that each class keeps the shares asked for.

Whole numbers only: a sum of floats may differ in its last bit between processors, and with it the split.

Units of several images come first: each goes where it brings the class counts nearest to the targets
(chi-square distance), then each is reconsidered in turn and pairs are exchanged until nothing improves.
Units of one image then fill, class by class, what is still missing. A split that would lack a class takes
precedence over the counts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

Unit = tuple[tuple[str, int], ...]
"""The images of a unit by class: ((label, number of images), …)."""

_MILLION = 1_000_000
_PRECISION = 10**9
_PRIORITY = {"train": 4, "test": 2, "val": 1}
_ALL = "\0all"  # counted like a class, so that the sizes of the splits are kept too; no label holds NUL
_MOST_MOVE_PASSES = 20
_MOST_EXCHANGE_PASSES = 3
_MOST_UNITS_TO_EXCHANGE = 300
_EXCHANGE_ABOVE = 5_000  # millionths that a class may miss its share by before pairs are exchanged


def allocate(units: Sequence[Unit], shares: Mapping[str, int], *, priority: Mapping[str, int] = _PRIORITY) -> list[str]:
    """Return the split of each unit, for shares in millionths. Give the units in random order.

    ``priority`` weighs the splits when a class has too few units for all of them; those first in it come first.

    >>> allocate([(("cat", 1),)] * 5, {"train": 600_000, "val": 200_000, "test": 200_000})
    ['train', 'train', 'train', 'test', 'val']
    """
    used = [split for split in priority if shares[split] > 0]
    units_per_class = Counter(label for unit in units for label, _ in unit)
    wanted = {label: tuple(used[:number]) for label, number in units_per_class.items()}
    singles: dict[str, list[int]] = {}
    large = []
    for position, unit in enumerate(units):
        if _size(unit) == 1:
            singles.setdefault(unit[0][0], []).append(position)
        else:
            large.append(position)
    scarce = {label: splits for label, splits in wanted.items() if len(singles.get(label, ())) < len(splits)}
    weights = {split: priority[split] for split in used}
    balance = _Balance([units[position] for position in large], shares, scarce, weights)
    split_of = dict(zip(large, _place(balance), strict=True))
    carry = dict.fromkeys(used, 0)
    for label in sorted(singles):
        numbers = _share_out(len(singles[label]), label, balance, wanted[label], carry)
        order = iter(singles[label])
        split_of |= {next(order): split for split in used for _ in range(numbers[split])}
    return [split_of[position] for position in range(len(units))]


class _Balance:
    """How many images and units of each class the splits hold, and what one more unit would do."""

    def __init__(
        self,
        units: Sequence[Unit],
        shares: Mapping[str, int],
        wanted: Mapping[str, Sequence[str]],
        weights: Mapping[str, int],
    ) -> None:
        self.units: list[Unit] = [(*unit, (_ALL, _size(unit))) for unit in units]
        self.shares = {split: shares[split] for split in weights}
        self.weights = weights
        self.wanted = wanted
        self.total: Counter[str] = Counter()
        self.images: dict[str, Counter[str]] = {split: Counter() for split in self.shares}
        self.units_held: dict[str, Counter[str]] = {split: Counter() for split in self.shares}
        for unit in self.units:
            self.total.update(dict(unit))

    def put(self, unit: Unit, split: str, sign: int = 1) -> None:
        for label, number in unit:
            self.images[split][label] += sign * number
            self.units_held[split][label] += sign

    def take(self, unit: Unit, split: str) -> None:
        self.put(unit, split, sign=-1)

    def worth(self, unit: Unit, split: str) -> tuple[int, int]:
        """Return (classes the split gains, weighted; minus the growth of the chi-square distance)."""
        share, images, held = self.shares[split], self.images[split], self.units_held[split]
        gained, growth = 0, 0
        for label, number in unit:
            target = share * self.total[label]
            growth += number * (2 * (images[label] * _MILLION - target) + number * _MILLION) * _PRECISION // target
            if not held[label] and split in self.wanted.get(label, ()):
                gained += self.weights[split]
        return gained, -growth

    def best(self, unit: Unit) -> str:
        """Return the split that one more unit is worth most to, the first of equals."""
        return max(self.shares, key=lambda split: self.worth(unit, split))

    def off_target(self) -> int:
        """Return by how many millionths of its images the worst class misses a share."""
        return max(
            (
                abs(self.images[split][label] * _MILLION - share * number) // number
                for split, share in self.shares.items()
                for label, number in self.total.items()
            ),
            default=0,
        )


def _size(unit: Unit) -> int:
    return sum(number for _, number in unit)


def _place(balance: _Balance) -> list[str]:
    splits: list[str] = []
    for unit in balance.units:
        splits.append(balance.best(unit))
        balance.put(unit, splits[-1])
    _move(balance, splits)
    for _ in range(_MOST_EXCHANGE_PASSES):
        if len(splits) > _MOST_UNITS_TO_EXCHANGE or balance.off_target() <= _EXCHANGE_ABOVE:
            break
        if not _exchange(balance, splits):
            break
        _move(balance, splits)
    return splits


def _move(balance: _Balance, splits: list[str]) -> None:
    """Move single units to better splits, in turn, until none moves."""
    for _ in range(_MOST_MOVE_PASSES):
        moved = False
        for position, unit in enumerate(balance.units):
            here = splits[position]
            balance.take(unit, here)
            best = balance.best(unit)
            if balance.worth(unit, best) > balance.worth(unit, here):
                splits[position], moved = best, True
            balance.put(unit, splits[position])
        if not moved:
            return


def _exchange(balance: _Balance, splits: list[str]) -> bool:
    """Exchange the splits of pairs of units where that is better; return whether any were."""
    exchanged = False
    for first, second in combinations(range(len(splits)), 2):
        here, there = splits[first], splits[second]
        if here == there:
            continue
        one, other = balance.units[first], balance.units[second]
        balance.take(one, here)
        balance.take(other, there)
        if _worth_of_two(balance, (one, there), (other, here)) > _worth_of_two(balance, (one, here), (other, there)):
            splits[first], splits[second], exchanged = there, here, True
        balance.put(one, splits[first])
        balance.put(other, splits[second])
    return exchanged


def _worth_of_two(balance: _Balance, first: tuple[Unit, str], second: tuple[Unit, str]) -> tuple[int, int]:
    # the two lie in different splits, so neither changes what the other is worth
    one, other = balance.worth(*first), balance.worth(*second)
    return one[0] + other[0], one[1] + other[1]


def _share_out(
    number: int, label: str, balance: _Balance, wanted: Sequence[str], carry: dict[str, int]
) -> dict[str, int]:
    """Return how many of ``number`` single images of a class go to each split.

    ``carry`` holds the millionths that rounding has withheld from each split so far, and is updated: without
    it, many small classes would all round the same way.
    """
    given = dict.fromkeys(balance.shares, 0)
    for split in wanted:
        if not balance.units_held[split][label] and sum(given.values()) < number:
            given[split] = 1
    rest = number - sum(given.values())
    if rest == 0:
        return given
    total = number + balance.total[label]
    need = {
        split: max(0, share * total - (balance.images[split][label] + given[split]) * _MILLION)
        for split, share in balance.shares.items()
    }
    exact = {split: value * rest * _MILLION // sum(need.values()) for split, value in need.items()}
    for split, value in exact.items():
        given[split] += value // _MILLION
        carry[split] += value % _MILLION
    left = number - sum(given.values())
    for split in sorted(balance.shares, key=lambda split: -carry[split])[:left]:
        given[split] += 1
        carry[split] -= _MILLION
    return given
