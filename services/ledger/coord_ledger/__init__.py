"""Money: budgets, reservations and costs."""
