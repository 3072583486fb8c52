"""The five levels (§5): what each allows, which rules choose one, and how it is enforced."""
