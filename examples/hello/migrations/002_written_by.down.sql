ALTER TABLE notes DROP COLUMN written_at, DROP COLUMN written_by;
