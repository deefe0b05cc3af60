"""The language of Griffel: statements, events and records. No input or output."""
