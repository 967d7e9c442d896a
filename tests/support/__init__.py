"""What tests share: servers of their own, a proxy that breaks connections."""
