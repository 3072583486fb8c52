"""Transactions (§9.2): steps that are written down before they are done, and undone when it comes to that."""
