"""The answers: views computed from events."""
