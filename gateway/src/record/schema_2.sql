-- Whether the record's frame came in a frame of a newer chain of its box.
ALTER TABLE records ADD COLUMN carried INTEGER NOT NULL DEFAULT 0;
