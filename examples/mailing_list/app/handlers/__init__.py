"""What is done with each message, by address and by the state of the conversation."""
