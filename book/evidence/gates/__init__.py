"""What opens the gates."""
