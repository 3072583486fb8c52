"""Recovery (§9): what is saved, to go back to; steps that are undone; plans that bring back what was lost."""
