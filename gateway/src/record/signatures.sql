-- What a doctor concluded of an exam and signed, one after the other; `content` is what was read.
CREATE TABLE report_signatures (
  acquisition BLOB NOT NULL CHECK (length(acquisition) = 16),
  number      INTEGER NOT NULL,
  subject     TEXT NOT NULL,
  who         TEXT NOT NULL,
  conclusion  TEXT NOT NULL,
  signed_us   INTEGER NOT NULL,
  content     BLOB NOT NULL CHECK (length(content) = 32),
  PRIMARY KEY (acquisition, number)
) STRICT;
