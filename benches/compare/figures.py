"""Rows in, figures out: medians, their spread, and ratios taken within a round. Nothing here measures or prints."""

import dataclasses
import statistics


@dataclasses.dataclass(frozen=True)
class Spread:
    """The median over rounds, the least and the greatest."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values):
        return cls(statistics.median(values), min(values), max(values))


class Figures:
    """Rows: each with its round, task, way and state, and what was measured."""

    def __init__(self, rows):
        self.rows = rows
        self.found = {}
        for row in rows:
            self.found.setdefault((row["task"], row["way"], row["state"]), {})[row["round"]] = row

    def has(self, task, way, state):
        return (task, way, state) in self.found

    def by_round(self, task, way, state, figure):
        """The values by round; empty where it was not measured."""
        rows = self.found.get((task, way, state), {})
        return {number: row[figure] for number, row in rows.items() if row.get(figure) is not None}

    def spread(self, task, way, state, figure):
        values = self.by_round(task, way, state, figure)
        return Spread.of(values.values()) if values else None

    def ratio(self, task, ours, theirs, figure):
        """Of two (way, state): taken within each round, for whatever else the machine does meets both there."""
        above = self.by_round(task, *ours, figure)
        below = self.by_round(task, *theirs, figure)
        return ratio_of(above, below)

    def ratio_to_best(self, task, ours, others, figure):
        """To the least of several in each round."""
        above = self.by_round(task, *ours, figure)
        each = [self.by_round(task, *other, figure) for other in others]
        least = {}
        for number in above:
            values = [values[number] for values in each if number in values]
            if values:
                least[number] = min(values)
        return ratio_of(above, least)


def ratio_of(above, below):
    """None where there is nothing to divide, or by."""
    ratios = [above[number] / below[number] for number in above.keys() & below.keys() if below[number]]
    return Spread.of(ratios) if ratios else None
