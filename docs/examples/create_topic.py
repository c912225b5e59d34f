"""Create TOPIC1 on LEFT; MirrorMaker 2 makes LEFT.TOPIC1 of it on RIGHT."""

import os

from confluent_kafka.admin import AdminClient, NewTopic

from clientlib.settings import load

left = load(os.environ["FAILOVER_CONFIG"]).cluster("LEFT")
admin = AdminClient(dict(left.client))
admin.create_topics([NewTopic("TOPIC1", num_partitions=3)])["TOPIC1"].result(10)
print("TOPIC1 is created on LEFT, with 3 partitions")
