"""saga-orchestrator."""
