-- Every version of every resource, numbered without a hole in the order of the commits: a number
-- is the greatest that can be seen and one, drawn in the transaction that writes the version, so
-- nothing is ever committed behind a number that somebody has read.
CREATE TABLE changes (
  seq        INTEGER PRIMARY KEY,
  kind       TEXT NOT NULL,
  id         TEXT NOT NULL,
  version    INTEGER NOT NULL,
  updated_us INTEGER NOT NULL
) STRICT;
INSERT INTO changes (seq, kind, id, version, updated_us)
  SELECT row_number() OVER (ORDER BY updated_us, version, kind, id),
         kind, id, version, updated_us
  FROM (SELECT kind, id, version, updated_us FROM resources
        UNION ALL SELECT kind, id, version, updated_us FROM history) AS versions;
CREATE UNIQUE INDEX changes_of ON changes (kind, id, version);
CREATE INDEX changes_of_kind ON changes (kind, seq);
CREATE INDEX changes_by_time ON changes (updated_us, seq);
