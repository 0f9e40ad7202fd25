"""Frame or prompt to unit embedding: the `ImageTextEncoder` contract and its implementations, found by name."""
