"""The clients' edge: ports, and their adapters on confluent-kafka."""
