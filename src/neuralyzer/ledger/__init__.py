"""The ledger: an append-only Merkle log of every event, its checkpoints and its proofs."""
