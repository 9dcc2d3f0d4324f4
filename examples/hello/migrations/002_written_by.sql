-- slipway: expand
ALTER TABLE notes ADD COLUMN written_by text NOT NULL DEFAULT 'unknown';
ALTER TABLE notes ADD COLUMN written_at timestamptz NOT NULL DEFAULT now();
