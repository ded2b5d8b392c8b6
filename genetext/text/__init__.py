"""What is written about genes: fetching it, keeping it, cleaning it, composing one text per gene. Knows no vectors."""
