"""Alerts (§8): who is told of what, by which channel."""
