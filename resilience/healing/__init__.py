"""Self-healing (§6): what is wrong is diagnosed, mended, and looked at again before it is called healed."""
