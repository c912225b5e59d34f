"""Replay one seed with its trace: ``python tests/simulation/replay.py 17 [text ...]``.

``--unplanned``: of the world in which a cluster falls silent. Further arguments keep the lines of
the trace that contain one of them.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.simulation.run import simulate


def main() -> int:
    """Print the trace, the counts and the verdict of a seed."""
    unplanned = "--unplanned" in sys.argv
    given, *wanted = [text for text in sys.argv[1:] if text != "--unplanned"]
    seed = int(given)
    result = simulate(seed, keep_trace=True, unplanned=unplanned)
    for line in result.trace:
        if not wanted or any(text in line for text in wanted):
            print(line)  # noqa: T201 - a script that prints
    mode = "strict" if result.strict else "lenient"
    print(f"seed {seed} ({mode}): {dict(result.counts)}")  # noqa: T201 - as above
    print(result.failure or "ok")  # noqa: T201 - as above
    return 1 if result.failure else 0


if __name__ == "__main__":
    sys.exit(main())
