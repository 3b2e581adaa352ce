"""The machinery of a soak: rounds of load and faults, and what is made of their records."""
