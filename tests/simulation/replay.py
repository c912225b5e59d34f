"""Replay one seed with its trace: ``python tests/simulation/replay.py 17 [text ...]``.

Further arguments keep the lines of the trace that contain one of them.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.simulation.run import simulate


def main() -> int:
    """Print the trace, the counts and the verdict of a seed."""
    seed, wanted = int(sys.argv[1]), sys.argv[2:]
    result = simulate(seed, keep_trace=True)
    for line in result.trace:
        if not wanted or any(text in line for text in wanted):
            print(line)  # noqa: T201 - a script that prints
    mode = "strict" if result.strict else "lenient"
    print(f"seed {seed} ({mode}): {dict(result.counts)}")  # noqa: T201 - as above
    print(result.failure or "ok")  # noqa: T201 - as above
    return 1 if result.failure else 0


if __name__ == "__main__":
    sys.exit(main())
