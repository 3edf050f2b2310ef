"""Expand `@layers A B C` on a page into the entries of these layers."""

from __future__ import annotations

import re
from typing import Any

ENTRY = """
::: funcparams.nn.{}
    options:
      show_root_heading: true
      show_root_toc_entry: true
"""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Write the entries that mkdocstrings reads, so that a page lists names only."""
    return re.sub(
        r"^@layers (.+)$",
        lambda found: "\n".join(map(ENTRY.format, found[1].split())),
        markdown,
        flags=re.MULTILINE,
    )
