-- +goose Up
CREATE INDEX run_attention ON run (id) WHERE status = 'attention';
