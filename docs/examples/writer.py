"""Write numbers to TOPIC1, 100 a second, under ten keys, until Ctrl-C."""

import itertools
import time

from clientlib import FailoverProducer as Producer

acknowledged = 0


def delivered(error, message):
    """Count what a cluster has acknowledged; this is confluent-kafka's delivery report."""
    global acknowledged
    if error is not None:
        raise RuntimeError(f"{message.key()!r} was not written: {error}")
    acknowledged += 1


producer = Producer({"client.id": "writer", "linger.ms": 5})  # and FAILOVER_CONFIG is set
try:
    for number in itertools.count():
        producer.produce("TOPIC1", str(number), key=f"key{number % 10}", on_delivery=delivered)
        producer.poll(0)
        if number % 500 == 0:
            print(f"{number:,} sent, {acknowledged:,} acknowledged")
        time.sleep(0.01)
except KeyboardInterrupt:
    producer.flush(10)
    print(f"ended: {number + 1:,} sent, {acknowledged:,} acknowledged")
