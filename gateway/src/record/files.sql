-- Files that were uploaded, exactly as they came. `start_us` is when their recording began,
-- `records` how many records they become; how many of these are filed says their cursor.
CREATE TABLE files (
  hash        BLOB PRIMARY KEY CHECK (length(hash) = 32),
  "binary"    TEXT NOT NULL UNIQUE,
  document    TEXT NOT NULL,
  media_type  TEXT NOT NULL,
  sha1        BLOB NOT NULL,
  size        INTEGER NOT NULL,
  subject     TEXT NOT NULL,
  accepted_us INTEGER NOT NULL,
  start_us    INTEGER NOT NULL,
  records     INTEGER NOT NULL,
  bytes       BLOB NOT NULL
) STRICT;

-- The acquisitions that a file becomes, in its own order.
CREATE TABLE file_acquisitions (
  acquisition BLOB PRIMARY KEY,
  file        BLOB NOT NULL,
  place       INTEGER NOT NULL
) STRICT;
