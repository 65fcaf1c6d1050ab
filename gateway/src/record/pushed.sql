-- How far each other FHIR server has the record (`[[push]]`): everything up to `seq` of `changes`
-- was taken there, or stands in `push_refused`. Nobody tries before `next_us`.
CREATE TABLE push_targets (
  name       TEXT PRIMARY KEY,
  base       TEXT NOT NULL,
  seq        INTEGER NOT NULL,
  next_us    INTEGER NOT NULL,
  tries      INTEGER NOT NULL,
  failing_us INTEGER,
  failure    TEXT
) STRICT;
-- What it would not take; tried again, and forgotten once it or a later version was taken.
CREATE TABLE push_refused (
  name    TEXT NOT NULL,
  seq     INTEGER NOT NULL,
  kind    TEXT NOT NULL,
  id      TEXT NOT NULL,
  why     TEXT NOT NULL,
  tries   INTEGER NOT NULL,
  next_us INTEGER NOT NULL,
  PRIMARY KEY (name, seq)
) STRICT;
