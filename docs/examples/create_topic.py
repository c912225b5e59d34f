"""Create TOPIC1 on LEFT; MirrorMaker 2 makes LEFT.TOPIC1 of it on RIGHT."""

import sys

import yaml
from confluent_kafka.admin import AdminClient, NewTopic

with open(sys.argv[1] if len(sys.argv) > 1 else ".lab/failover.yaml", encoding="utf-8") as file:
    left = yaml.safe_load(file)["clusters"]["LEFT"]
admin = AdminClient(left)
admin.create_topics([NewTopic("TOPIC1", num_partitions=3)])["TOPIC1"].result(10)
print("TOPIC1 is created on LEFT, with 3 partitions")
