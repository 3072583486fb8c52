"""Outgoing messages that wait on disk until they may leave, and leave once (§5.1)."""
