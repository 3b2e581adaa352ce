"""A double-opt-in mailing list for Salmon, and the driver that ``make demo`` runs it with."""
