"""Asks a cluster about many groups, in a process of its own, line by line.

Usage: asks_groups.py CONFIG ALIAS. Answers each line of its input with the number of groups that
were described, or with the name of an error.
"""

import sys

from clientlib.protocol.errors import RemoteError
from clientlib.settings import load
from failover.io.kafka_admin import ClusterAdmin

GROUPS = [f"nobody-{number}" for number in range(20)]


def main(config: str, alias: str) -> None:
    admin = ClusterAdmin(load(config).cluster(alias), timeout_s=1.0, refused_s=60.0)
    for _ in sys.stdin:
        try:
            answer = str(len(admin.groups(GROUPS)))
        except RemoteError as error:
            answer = type(error).__name__
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
