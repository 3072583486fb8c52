"""Which kind an error is of (§2.3), by its structure and never by its words."""
