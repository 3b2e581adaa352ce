"""Recorded histories, and judges of them that share nothing but the records."""
