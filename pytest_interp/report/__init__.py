"""What is shown of the claims: the terminal table."""
