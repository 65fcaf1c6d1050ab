-- Whether no frame of a chain will be made any more: its box said so in a signed gap record, or
-- carries frames of it over into a newer chain.
ALTER TABLE lanes ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;

-- Whether a frame came in a frame of a newer chain.
ALTER TABLE frames ADD COLUMN carried INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conflicts ADD COLUMN carried INTEGER NOT NULL DEFAULT 0;

-- A frame that conflicts with a stored one is the box's word as well: it is filed beside it.
-- `tried` is the program that last looked at it.
ALTER TABLE conflicts ADD COLUMN filed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conflicts ADD COLUMN tried TEXT;
