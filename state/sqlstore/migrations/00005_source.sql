-- +goose Up
-- What was protected, as it counts at its source. Runs of before tell nothing.
ALTER TABLE task ADD COLUMN source_files INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN source_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN source_files INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN source_bytes INTEGER NOT NULL DEFAULT 0;
