"""What both sides must agree on: pure values and rules, standard library only."""
