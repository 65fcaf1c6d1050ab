-- One row per invitation; a request is part of the invitation that it claims, so strangers
-- cannot add rows.
CREATE TABLE invitations (
  name          TEXT PRIMARY KEY,
  number        TEXT NOT NULL UNIQUE,
  claim         BLOB NOT NULL CHECK (length(claim) = 32),
  made_us       INTEGER NOT NULL,
  until_us      INTEGER NOT NULL,
  state         TEXT NOT NULL CHECK (state IN ('open', 'pending', 'locked', 'refused', 'confirmed')),
  wrong         INTEGER NOT NULL DEFAULT 0, -- claims with a wrong code
  again         INTEGER NOT NULL DEFAULT 0, -- claims with the right code and other keys, too late
  box           BLOB CHECK (length(box) = 16),
  ticket        BLOB UNIQUE CHECK (length(ticket) = 16),
  frame_key     BLOB CHECK (length(frame_key) = 32),
  csr           BLOB,
  key_hash      BLOB CHECK (length(key_hash) = 32),
  agent_version TEXT,
  words         TEXT,
  asked_us      INTEGER,
  certificate   TEXT
) STRICT;
