"""What Griffel does, seen from outside."""
