"""`Summary`: the rows and totals, and how they show as text, as HTML and by rich."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from funcparams.summaries.rows import Row

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


@dataclasses.dataclass(frozen=True, repr=False)
class Summary:
    """What `summary` returns: rows and totals as plain data, which show as a table.

    `str` gives aligned text, a notebook shows HTML, and `show` (or `rich.print`) uses the terminal.

    Attributes:
        model: The class of the model.
        rows: The lines, in PyTorch's order.
        parameters: How many numbers the parameters hold, each shared one once.
        trainable: How many of these are not declared `trainable=False`.
        buffers: How many numbers the buffers hold.
        bytes: What parameters and buffers take together.
        selected: Whether this is a part that `where` selected; the totals are the part's.

    Example:
        >>> import funcparams as fp
        >>> from funcparams import nn
        >>> table = fp.summary(nn.Linear(4, 3))
        >>> table.parameters, table.bytes
        (15, 60)
    """

    model: str
    rows: tuple[Row, ...]
    parameters: int
    trainable: int
    buffers: int
    bytes: int
    selected: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain dicts, lists, numbers and text, which `json.dumps` takes.

        Returns:
            The attributes by name; each row a dict too.

        Example:
            >>> import funcparams as fp, json
            >>> from funcparams import nn
            >>> json.dumps(fp.summary(nn.Linear(4, 3, bias=False)).to_dict()["rows"][0]["shape"])
            '[3, 4]'
        """
        return {**vars(self), "rows": [_plain(row) for row in self.rows]}

    def show(self, console: Console | None = None) -> None:
        """Print the table with rich, as wide as the terminal.

        Args:
            console: Where to; a console of its own where nothing is said.

        Raises:
            ImportError: If rich is not installed. `print(summary)` does without.

        Example:
            >>> import funcparams as fp, rich.console
            >>> from funcparams import nn
            >>> fp.summary(nn.ReLU()).show(rich.console.Console(width=40))
            ReLU
            Parameters: 0
            Bytes:      0
        """
        try:
            import rich.console
        except ImportError as error:
            raise ImportError(
                "Summary.show() prints with rich, which is not installed: "
                "pip install 'funcparams[examples]'.\n  print(summary) shows the table without it."
            ) from error
        (console or rich.console.Console()).print(self)

    def __str__(self) -> str:
        padded: list[list[str]] = []
        for column in _columns(self.rows):
            texts = [column.head, *map(column.cell, self.rows)]
            width = max(map(len, texts))
            head, *body = [t.rjust(width) if column.number else t.ljust(width) for t in texts]
            padded.append([head, "-" * width, *body])
        lines = ["  ".join(line).rstrip() for line in zip(*padded, strict=True)]
        return "\n".join([self.model, *lines, *self._totals()])

    __repr__ = __str__

    def __rich__(self) -> RenderableType:
        import rich.box
        import rich.console
        import rich.table
        import rich.text

        table = rich.table.Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        columns = _columns(self.rows)
        for column in columns:
            side = "right" if column.number else "left"
            # Where the terminal is narrow, names break; numbers and shapes never.
            table.add_column(column.head, justify=side, overflow="fold", no_wrap=not column.breaks)
        for row in self.rows:
            # Text, not str: a name may contain what rich takes for markup.
            cells = [rich.text.Text(column.cell(row)) for column in columns]
            table.add_row(*cells, style="dim" if row.shared_with else None)
        title = rich.text.Text(self.model, style="bold")
        totals = rich.text.Text("\n".join(self._totals()))
        return rich.console.Group(title, *([table] if columns else []), totals)

    def _repr_html_(self) -> str:
        columns = _columns(self.rows)
        head = _line("th", columns, [column.head for column in columns])
        body = "\n".join(
            _line("td", columns, [column.cell(row) for column in columns], bool(row.shared_with))
            for row in self.rows
        )
        totals = "<br>".join(map(html.escape, self._totals()))
        return (
            f"<table>\n<caption>{html.escape(self.model)}</caption>\n"
            f"<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n"
            f'<tfoot><tr><td colspan="{max(len(columns), 1)}" style="text-align:left">{totals}'
            "</td></tr></tfoot>\n</table>"
        )

    def _totals(self) -> Iterator[str]:
        """Write the lines below the table."""
        if self.selected:
            yield "Of these rows:"
        frozen = self.parameters - self.trainable
        note = f" ({self.trainable:,} trainable, {frozen:,} not)" if frozen else ""
        yield f"Parameters: {self.parameters:,}{note}"
        if self.buffers:
            yield f"Buffers:    {self.buffers:,}"
        yield f"Bytes:      {self.bytes:,}{_rounded(self.bytes)}"


def _plain(row: Row) -> dict[str, Any]:
    shape = None if row.shape is None else list(row.shape)
    return {**vars(row), "shape": shape, "shared_with": list(row.shared_with)}


@dataclasses.dataclass(frozen=True)
class _Column:
    """How one column is headed and filled; `breaks` where its text may run over several lines."""

    head: str
    cell: Callable[[Row], str]
    number: bool = False
    breaks: bool = False


def _columns(rows: Sequence[Row]) -> list[_Column]:
    """Give the columns in which something stands."""
    return [column for column in _COLUMNS if any(map(column.cell, rows))]


def _count(row: Row, number: int, kind: str) -> str:
    """Write a number; an array that holds none of its own kind says 0, other places nothing."""
    own = row.kind == kind and not row.shared_with
    return f"{number:,}" if number or own else ""


def _trainable(row: Row) -> str:
    if row.trainable is None:
        return "partly" if row.parameters else ""
    return "yes" if row.trainable else "no"


def _owners(row: Row) -> str:
    shown = ", ".join(row.shared_with[:2]) + (", ..." if len(row.shared_with) > 2 else "")
    return f"= {shown}" if shown else ""


_COLUMNS = (
    _Column("name", lambda row: row.name, breaks=True),
    _Column("type", lambda row: row.type, breaks=True),
    _Column("shape", lambda row: "" if row.shape is None else str(row.shape)),
    _Column("dtype", lambda row: row.dtype),
    _Column("parameters", lambda row: _count(row, row.parameters, "parameter"), number=True),
    _Column("buffers", lambda row: _count(row, row.buffers, "buffer"), number=True),
    _Column("bytes", lambda row: _count(row, row.bytes, row.kind), number=True),
    _Column("trainable", _trainable),
    _Column("shared with", _owners, breaks=True),
)


def _rounded(size: int) -> str:
    """Write bytes in the largest binary unit that leaves at least 1."""
    power = min((max(size, 1).bit_length() - 1) // 10, 5)
    return f" ({size / 1024**power:,.1f} {'KMGTP'[power - 1]}iB)" if power else ""


def _line(tag: str, columns: Sequence[_Column], texts: Sequence[str], dim: bool = False) -> str:
    """Write one row of the HTML table."""
    sides = ["right" if column.number else "left" for column in columns]
    cells = "".join(
        f'<{tag} style="text-align:{side}">{html.escape(text)}</{tag}>'
        for side, text in zip(sides, texts, strict=True)
    )
    return f'<tr style="opacity:0.6">{cells}</tr>' if dim else f"<tr>{cells}</tr>"
