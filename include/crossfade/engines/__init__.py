"""What carries rows from one side to the other: the contract in `base`, one package an engine."""
