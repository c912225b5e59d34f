"""Read TOPIC1, say what is being read, and complain if a record is missing or comes twice."""

from clientlib import FailoverConsumer as Consumer

last: dict[bytes, int] = {}
read = wrong = 0


def names(partitions):
    """Return partitions as people read them."""
    return ", ".join(f"{tp.topic}[{tp.partition}]" for tp in partitions)


def on_assign(consumer, partitions):
    """Tell what is read from now on."""
    print(f"assigned on {consumer.active}: {names(partitions)}")


def on_revoke(_consumer, partitions):
    """Finish what is in hand; automatic commit does the rest."""
    print(f"revoked: {names(partitions)}")


consumer = Consumer(  # and FAILOVER_CONFIG is set
    {
        "group.id": "billing",
        "client.id": "reader",
        "auto.offset.reset": "earliest",
        "partition.assignment.strategy": "cooperative-sticky",
    }
)
consumer.subscribe(["TOPIC1"], on_assign=on_assign, on_revoke=on_revoke)
try:
    while True:
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue
        key, number = message.key(), int(message.value())
        if number != last.get(key, number - 10) + 10:
            wrong += 1
            print(f"{key!r}: {number} after {last[key]}")
        last[key] = number
        read += 1
        if read % 500 == 0:
            print(f"read {read:,}, {wrong} wrong")
except KeyboardInterrupt:
    consumer.close()
    print(f"ended: {read:,} read, {wrong} wrong")
