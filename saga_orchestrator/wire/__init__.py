"""Bytes on the broker: the envelope, the frames, the names."""
