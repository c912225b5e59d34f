"""The orchestrator's decisions, without I/O."""
