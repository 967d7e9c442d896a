-- Who may call the HTTP API. Keys are random; only their SHA-256 is kept.
CREATE TABLE api_keys (
    name       text        COLLATE "C" NOT NULL PRIMARY KEY
        CHECK (length(name) BETWEEN 1 AND 64),
    digest     text        NOT NULL UNIQUE CHECK (length(digest) = 64),
    role       text        NOT NULL
        CHECK (role IN ('read', 'start', 'operate', 'admin')),
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);
