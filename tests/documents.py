"""Code blocks of Markdown documents: found, judged and run."""

from __future__ import annotations

import dataclasses
import doctest
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

# ``` and ~~~ fences, indented or not; the closing fence is at least as long as the opening one.
FENCE = re.compile(
    r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})(?P<info>[^`\n]*)\n"
    r"(?P<code>.*?)"
    r"^(?P=indent)(?P=fence)[`~]*[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
# What may follow the language without changing what the block does.
DECORATION = re.compile(r"""\s+(title|hl_lines|linenums)=("[^"]*"|'[^']*')""")
RUN = {"python", "pycon"}
SHOWN = {"bash", "console", "html", "sh", "text", "toml", "yaml"}


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: its language, its code, and the document's line on which the code begins."""

    document: str
    line: int
    language: str
    code: str


def blocks(text: str, document: str) -> Iterator[Block]:
    """Yield the blocks of a document in order.

    Raises:
        ValueError: For a block without a language, in a language that is neither run nor known to
            need no run, or marked with anything that could keep it from being run.
    """
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        language = DECORATION.sub("", match["info"]).strip()
        if language not in RUN | SHOWN:
            raise ValueError(
                f"{document}:{line - 1}: a block marked {match['info']!r}. Python is marked "
                "`python` (or `pycon`, with its output) and is run; the others are "
                f"{', '.join(sorted(SHOWN))}."
            )
        yield Block(document, line, language, textwrap.dedent(match["code"]))


def run(document: Path) -> int:
    """Run a document's blocks in order, in one namespace; return how many ran.

    Line numbers in tracebacks are the document's own.
    """
    module = ModuleType("__document__")
    ran = 0
    for block in blocks(document.read_text(), str(document)):
        if block.language == "python":
            padded = "\n" * (block.line - 1) + block.code
            exec(compile(padded, str(document), "exec", dont_inherit=True), vars(module))
        elif block.language == "pycon":
            check_session(block, module)
        else:
            continue
        ran += 1
    return ran


def check_session(block: Block, module: ModuleType) -> None:
    """Run an interactive session and compare its output."""
    session = doctest.DocTestParser().get_doctest(
        block.code, vars(module), block.document, block.document, block.line - 1
    )
    # get_doctest copies the names, and later blocks need what this one defines.
    session.globs = vars(module)
    runner = doctest.DebugRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    try:
        runner.run(session, clear_globs=False)
    except doctest.DocTestFailure as failure:
        line = block.line + failure.example.lineno
        raise AssertionError(
            f"{block.document}:{line}: {failure.example.source.strip()}\n"
            f"expected:\n{failure.example.want}got:\n{failure.got}"
        ) from None
    except doctest.UnexpectedException as failure:
        raise failure.exc_info[1] from None
