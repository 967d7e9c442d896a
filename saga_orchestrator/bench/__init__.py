"""What `saga bench` does: sagas whose handlers do nothing, measured and checked.

It measures the product as it is sold: history, outbox, publisher confirms, mandatory
messages, quorum queues, fsync, timers. Every part that a saga meets is the one that
`saga serve` and `saga worker` open.
"""
