"""Turn LaTeX in the built pages into MathML, which browsers draw without a script or a fetch."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

# What pymdownx.arithmatex leaves in its generic mode: \( inline \) and \[ display \].
FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)


def on_page_content(content: str, **_: Any) -> str:
    """Replace every formula of a page; one that cannot be read ends the build."""

    def mathml(match: re.Match[str]) -> str:
        display = "block" if match["tag"] == "div" else "inline"
        return convert(html.unescape(match["latex"]).strip(), display=display)

    replaced = FORMULA.sub(mathml, content)
    if 'class="arithmatex"' in replaced:
        raise ValueError("a formula of this page was not recognised")
    return replaced
