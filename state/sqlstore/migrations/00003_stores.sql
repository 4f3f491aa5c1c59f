-- +goose Up
ALTER TABLE object ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE object ADD COLUMN heads TEXT NOT NULL DEFAULT '[]'; -- JSON list, see state.Head
