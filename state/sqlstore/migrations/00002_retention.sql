-- +goose Up
ALTER TABLE artifact ADD COLUMN pinned INT NOT NULL DEFAULT 0;
ALTER TABLE artifact ADD COLUMN quarantined_at BIGINT NOT NULL DEFAULT 0;

-- Holds all that decisions on artifacts need, so that planning reads no manifests and no deleted ones.
CREATE INDEX artifact_kept ON artifact (backup_plan, store, device, domain, action, variant, started_at, id, state, verified_at,
  quarantined_at, bytes, pinned) WHERE state <> 'deleted';
