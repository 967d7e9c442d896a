"""The stores that come with saga-orchestrator, found by the scheme of their URL."""
