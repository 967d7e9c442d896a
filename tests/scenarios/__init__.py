"""What other saga systems assert, asserted of this one, on every store."""
