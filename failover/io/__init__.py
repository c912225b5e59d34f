"""The orchestrator's edge: Kafka administration, MM2's topics, the state store."""
