"""What sends clients to a database: the contract in `base`, one module a kind."""
