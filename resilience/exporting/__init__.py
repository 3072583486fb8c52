"""Disaster recovery (§9.1): everything in one file, and an empty machine brought to the same state from it."""
