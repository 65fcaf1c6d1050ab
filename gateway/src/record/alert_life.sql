-- What happened to each alert, in its order; only ever added to.
CREATE TABLE alert_steps (
  alert  TEXT NOT NULL,
  number INTEGER NOT NULL,
  at_us  INTEGER NOT NULL,
  step   TEXT NOT NULL,
  PRIMARY KEY (alert, number)
) STRICT, WITHOUT ROWID;

-- Messages about alerts that have not arrived yet, and when each is to be tried next.
CREATE TABLE alert_messages (
  alert      TEXT NOT NULL,
  who        TEXT NOT NULL,
  channel    TEXT NOT NULL,
  written_us INTEGER NOT NULL,
  tries      INTEGER NOT NULL,
  next_us    INTEGER NOT NULL,
  PRIMARY KEY (alert, who, channel)
) STRICT, WITHOUT ROWID;
CREATE INDEX alert_messages_by_time ON alert_messages (next_us);

-- Whether no patient's body made the data; how far the alert has come; when whose turn it is
-- must be looked at, if ever; when somebody was first told, and when a message first arrived.
ALTER TABLE alerts ADD COLUMN simulated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE alerts ADD COLUMN stage TEXT NOT NULL DEFAULT 'raised';
ALTER TABLE alerts ADD COLUMN look_us INTEGER;
ALTER TABLE alerts ADD COLUMN told_us INTEGER;
ALTER TABLE alerts ADD COLUMN arrived_us INTEGER;
UPDATE alerts SET simulated = 1 WHERE EXISTS (
  SELECT 1 FROM index_tokens t JOIN resources r ON r.kind = t.kind AND r.id = t.id
  WHERE t.kind = 'DetectedIssue' AND t.param = 'identifier' AND t.code = alerts.id
    AND r.body LIKE '%"HTEST"%'
);
CREATE INDEX alerts_to_look_at ON alerts (look_us) WHERE look_us IS NOT NULL;
CREATE INDEX alerts_not_arrived ON alerts (told_us) WHERE told_us IS NOT NULL AND arrived_us IS NULL;
