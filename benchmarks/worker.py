"""One measurement in a process of its own; the last line that it prints is JSON.

python -m benchmarks.worker cold '{"spec": "funcparams", "way": "eager", "cfg": {"layers": 2}}'
"""

from __future__ import annotations

import json
import sys
from typing import Any

from benchmarks import measures
from benchmarks.models import Config


def main(name: str, arguments: dict[str, Any]) -> Any:
    """Run one measure with arguments as JSON has them."""
    if "cfg" in arguments:
        cfg = arguments["cfg"]
        arguments["cfg"] = Config(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in cfg.items()}
        )
    return getattr(measures, name)(**arguments)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))), flush=True)
