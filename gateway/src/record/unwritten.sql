-- What was filed and has not become resources yet: places of an acquisition to look at again
-- (`filing::unwritten` has the meaning of `what`), and since when.
CREATE TABLE unwritten (
  acquisition BLOB NOT NULL,
  what        INTEGER NOT NULL,
  place       INTEGER NOT NULL,
  noted_us    INTEGER NOT NULL,
  PRIMARY KEY (acquisition, what, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX unwritten_by_time ON unwritten (noted_us, acquisition);
