"""The runner of the documents' blocks finds all of them, runs them, and lets none hide."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import documents


def write(folder: Path, text: str) -> Path:
    page = folder / "page.md"
    page.write_text(text)
    return page


def test_blocks_share_a_namespace_and_run_in_order(tmp_path: Path) -> None:
    page = write(
        tmp_path,
        "# Title\n\n```python\nx = 1\n```\n\ntext\n\n"
        '=== "tab"\n\n    ```python title="x.py"\n    x += 1\n    ```\n\n'
        "```pycon\n>>> x\n2\n>>> y = x + 1\n```\n\n"
        "```python\nassert y == 3\n```\n\n```sh\nexit 1\n```\n",
    )
    assert documents.run(page) == 4


def test_an_error_names_the_documents_line(tmp_path: Path) -> None:
    page = write(tmp_path, "text\n\n```python\nx = 1\nx.missing\n```\n")
    with pytest.raises(AttributeError) as caught:
        documents.run(page)
    assert (str(caught.traceback[-1].path), caught.traceback[-1].lineno + 1) == (str(page), 5)


def test_a_wrong_output_fails(tmp_path: Path) -> None:
    page = write(tmp_path, "```pycon\n>>> 1 + 1\n3\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:2: 1 \+ 1\nexpected:\n3\ngot:\n2"):
        documents.run(page)


def test_an_exception_in_a_session_fails_unless_it_is_shown(tmp_path: Path) -> None:
    shown = ">>> 1 / 0\nTraceback (most recent call last):\nZeroDivisionError: division by zero\n"
    assert documents.run(write(tmp_path, f"```pycon\n{shown}```\n")) == 1
    with pytest.raises(ZeroDivisionError):
        documents.run(write(tmp_path, "```pycon\n>>> 1 / 0\n```\n"))


@pytest.mark.parametrize(
    "info", ["python no-run", "py", "", "{.python}", "Python", "python skip=1"]
)
def test_a_block_that_would_hide_is_refused(tmp_path: Path, info: str) -> None:
    page = write(tmp_path, f"```{info}\nraise SystemExit\n```\n")
    with pytest.raises(ValueError, match=r"page\.md:1: a block marked"):
        documents.run(page)
