"""What the handlers know and use: confirmations, bounces, outgoing mail."""
