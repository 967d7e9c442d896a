"""The contracts between the engine and the world; adapters implement them."""
