-- The request that an exam was made for. An exam without one is an orphan.
CREATE TABLE exam_requests (
  acquisition BLOB PRIMARY KEY CHECK (length(acquisition) = 16),
  request     TEXT NOT NULL
) STRICT;
