CREATE TABLE boxes (
  id            BLOB PRIMARY KEY CHECK (length(id) = 16),
  name          TEXT NOT NULL UNIQUE,
  cert_key_hash BLOB NOT NULL UNIQUE CHECK (length(cert_key_hash) = 32),
  frame_key     BLOB NOT NULL CHECK (length(frame_key) = 32),
  enrolled_us   INTEGER NOT NULL,
  revoked_us    INTEGER,
  heard_us      INTEGER,
  agent_version TEXT,
  free_bytes    INTEGER
) STRICT;

-- How far each chain is stored without holes, and the fingerprint there. A head of NULL
-- means that what came before was never received: the next frame is taken on its word.
CREATE TABLE lanes (
  box       BLOB NOT NULL REFERENCES boxes (id),
  lane      INTEGER NOT NULL,
  chain     BLOB NOT NULL,
  upto      INTEGER NOT NULL,
  head      BLOB,
  broken_at INTEGER,
  PRIMARY KEY (box, lane, chain)
) STRICT, WITHOUT ROWID;

CREATE TABLE frames (
  box         BLOB NOT NULL,
  lane        INTEGER NOT NULL,
  chain       BLOB NOT NULL,
  seq         INTEGER NOT NULL,
  prev        BLOB NOT NULL,
  fingerprint BLOB NOT NULL,
  received_us INTEGER NOT NULL,
  bytes       BLOB NOT NULL,
  UNIQUE (box, lane, chain, seq)
) STRICT;

-- Other frames that claim the identity of a stored one. Kept for a person to look at.
CREATE TABLE conflicts (
  box         BLOB NOT NULL,
  lane        INTEGER NOT NULL,
  chain       BLOB NOT NULL,
  seq         INTEGER NOT NULL,
  fingerprint BLOB NOT NULL,
  received_us INTEGER NOT NULL,
  bytes       BLOB NOT NULL,
  PRIMARY KEY (box, lane, chain, seq, fingerprint)
) STRICT;

-- Frames that a box says it no longer has, and that never arrived.
CREATE TABLE missing (
  box        BLOB NOT NULL,
  lane       INTEGER NOT NULL,
  chain      BLOB NOT NULL,
  from_seq   INTEGER NOT NULL,
  to_seq     INTEGER NOT NULL,
  noticed_us INTEGER NOT NULL,
  PRIMARY KEY (box, lane, chain, from_seq)
) STRICT, WITHOUT ROWID;

-- The highest number that an acknowledgement may carry before it must be raised here.
CREATE TABLE ack_counter (
  "only"   INTEGER PRIMARY KEY CHECK ("only" = 1),
  reserved INTEGER NOT NULL
) STRICT;
INSERT INTO ack_counter VALUES (1, 0);

-- Microseconds from the boot of a box to the epoch, by this gateway's clock at the first
-- hello of that boot: the time of boxes whose own clock was never set.
CREATE TABLE boots (
  box       BLOB NOT NULL,
  boot      BLOB NOT NULL,
  offset_us INTEGER NOT NULL,
  PRIMARY KEY (box, boot)
) STRICT, WITHOUT ROWID;
