"""Everything that matters, on disk: one writer, and readers beside it."""
