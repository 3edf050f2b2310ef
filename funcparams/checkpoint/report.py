"""What a load did, name by name."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Literal, TypeAlias

Deed: TypeAlias = Literal["loaded", "cast", "tied", "drawn", "kept", "ignored"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """What happened to one name.

    Attributes:
        name: The name in the definition; for what was ignored, the name that it came under.
        deed: `loaded` as it is, `cast` to another dtype, `tied` (a further name of what another
            name holds), `drawn` anew since it was missing, `kept` from the params that were given,
            or `ignored`.
        source: The name that it came under; empty where nothing came.
        detail: More, for people.

    Example:
        >>> import funcparams as fp, numpy as np
        >>> from funcparams import nn
        >>> given = {"weight": np.ones((1, 1)), "bias": np.ones(1, np.float32)}
        >>> fp.load_state_dict(nn.Linear(1, 1), given).report.entries[0].detail
        'float64 to float32'
    """

    name: str
    deed: Deed
    source: str = ""
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Report:
    """What a load did, name by name, in the definition's order; `print` shows a table.

    Attributes:
        model: The class of the model.
        entries: One for each name.

    Example:
        >>> import funcparams as fp, numpy as np
        >>> from funcparams import nn
        >>> given = {"weight": np.ones((1, 1), np.float32), "b": np.ones(1, np.float32)}
        >>> print(fp.load_state_dict(nn.Linear(1, 1), given, rename={"^b$": "bias"}).report)
        Linear: 2 loaded
        name    what    from
        weight  loaded  weight
        bias    loaded  b
    """

    model: str
    entries: tuple[Entry, ...]

    def names(self, *deeds: Deed) -> list[str]:
        """Give the names to which one of these things happened.

        Args:
            *deeds: What happened.

        Returns:
            The names, in order.
        """
        return [entry.name for entry in self.entries if entry.deed in deeds]

    def __str__(self) -> str:
        counts = Counter(entry.deed for entry in self.entries)
        head = ", ".join(f"{count} {deed}" for deed, count in counts.items()) or "nothing"
        rows = [("name", "what", "from", "")]
        rows += [(entry.name, entry.deed, entry.source, entry.detail) for entry in self.entries]
        return "\n".join([f"{self.model}: {head}", *aligned(rows)])


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Write rows with columns one below the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
