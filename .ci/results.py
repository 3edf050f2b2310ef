"""Judge a JUnit file of the suite: nothing was skipped, and what must have run did run.

pytest's exit status says that nothing failed. A test that was skipped or not collected fails
nothing; here it does.
"""

from __future__ import annotations

import argparse
import sys
import xml.etree.ElementTree as ElementTree


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", help="what pytest --junitxml wrote")
    parser.add_argument(
        "--parity", action="store_true", help="ask for the PyTorch parity tests too"
    )
    arguments = parser.parse_args()

    cases = list(ElementTree.parse(arguments.results).iter("testcase"))
    problems = [
        f"skipped: {case.get('classname')}::{case.get('name')}: {skip.get('message')}"
        for case in cases
        for skip in case.iter("skipped")
    ]
    parts = {"tests of the suite": "tests.", "doctests of the package": "funcparams"}
    if arguments.parity:
        parts["PyTorch parity tests"] = "tests.parity."
    for part, prefix in parts.items():
        count = sum(str(case.get("classname")).startswith(prefix) for case in cases)
        print(f"{count} {part}")
        if not count:
            problems.append(f"no {part} ran")
    print(*problems, sep="\n", end="\n" if problems else "")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
