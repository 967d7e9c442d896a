-- Who may call the HTTP API. Keys are random; only their SHA-256 is kept.
CREATE TABLE api_keys (
  name TEXT NOT NULL PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64),
  digest TEXT NOT NULL UNIQUE CHECK (length(digest) = 64),
  role TEXT NOT NULL CHECK (role IN ('read', 'start', 'operate', 'admin')),
  created_at INTEGER NOT NULL,
  revoked_at INTEGER
) WITHOUT ROWID;
