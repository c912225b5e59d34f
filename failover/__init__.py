"""The orchestrator: observe, name, decide, plan, journal, act."""
