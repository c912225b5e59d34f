"""Real Kafka clusters and real MirrorMaker 2 on one machine."""
