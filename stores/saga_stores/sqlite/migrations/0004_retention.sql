-- Sagas that ended long ago are pruned, each definition by an age of its own.

CREATE INDEX sagas_ended ON sagas (name, ended_at) WHERE ended_at IS NOT NULL;
