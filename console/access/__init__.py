"""Who may do what: people, their roles, and what they did."""
