"""Compare the built reference with the package: every public name has an entry of its own."""

from __future__ import annotations

import importlib
import inspect
import sys
import zlib
from pathlib import Path


def entries(inventory: Path) -> set[str]:
    """Read the names in a Sphinx inventory."""
    data = inventory.read_bytes()
    for _ in range(4):  # a header of four lines, then compressed text
        data = data[data.index(b"\n") + 1 :]
    return {line.split(" ", 1)[0] for line in zlib.decompress(data).decode().splitlines()}


def main() -> int:
    shown = entries(Path(sys.argv[1]))
    missing: list[str] = []
    count = 0
    for page in Path("docs/reference").glob("*.md"):
        for line in page.read_text().splitlines():
            if line.startswith("::: "):
                module = line.removeprefix("::: ").strip()
                found = importlib.import_module(module)
                public = [n for n in found.__all__ if not inspect.ismodule(getattr(found, n))]
                names = [f"{module}.{name}" for name in public]
                count += len(names)
                missing += [name for name in names if name not in shown]
    print(f"{count} public names, {count - len(missing)} in the reference")
    print(*(f"missing: {name}" for name in missing), sep="\n", end="\n" if missing else "")
    return bool(missing) or not count


if __name__ == "__main__":
    sys.exit(main())
