-- Portable SQL: TEXT, BIGINT and INT only. Times are microseconds since 1970 UTC, 0 for none; JSON is TEXT.
-- +goose Up
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE counter (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO counter (name, value) VALUES ('generation', 0), ('epoch', 0), ('token', 0), ('run', 0), ('audit', 0);

CREATE TABLE session (
  epoch BIGINT PRIMARY KEY,
  host TEXT NOT NULL,
  pid BIGINT NOT NULL,
  actor TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  ended_at BIGINT NOT NULL,
  ending TEXT NOT NULL                 -- '' live, 'closed' or 'dead'
);
CREATE INDEX session_live ON session (epoch) WHERE ending = '';

CREATE TABLE held_lock (
  name TEXT PRIMARY KEY,
  token BIGINT NOT NULL,
  session BIGINT NOT NULL,             -- 0: held by a person
  task TEXT NOT NULL,                  -- '': not a task's lock
  actor TEXT NOT NULL,
  host TEXT NOT NULL,
  pid BIGINT NOT NULL,
  operation TEXT NOT NULL,
  reason TEXT NOT NULL,
  acquired_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX held_lock_task ON held_lock (task) WHERE task <> '';

CREATE TABLE object (
  address TEXT PRIMARY KEY,
  spec TEXT NOT NULL,
  digest TEXT NOT NULL,
  generation BIGINT NOT NULL,
  protect INT NOT NULL,
  identity TEXT NOT NULL,
  commit_id TEXT NOT NULL,
  applied_at BIGINT NOT NULL,
  applied_by TEXT NOT NULL
);

-- A role outlives its object: its epoch is a fence and never starts again.
CREATE TABLE role (
  failover TEXT PRIMARY KEY,
  active TEXT NOT NULL,
  epoch BIGINT NOT NULL,
  state TEXT NOT NULL,
  moving_to TEXT NOT NULL,
  since BIGINT NOT NULL,
  reason TEXT NOT NULL,
  run TEXT NOT NULL
);

CREATE TABLE mirror_position (
  mirror TEXT PRIMARY KEY,
  at BIGINT NOT NULL,
  finished_at BIGINT NOT NULL,
  files BIGINT NOT NULL,
  run TEXT NOT NULL,
  source TEXT NOT NULL,
  target TEXT NOT NULL
);

CREATE TABLE schedule_cursor (address TEXT PRIMARY KEY, nominal TEXT NOT NULL, at BIGINT NOT NULL);

CREATE TABLE observation (address TEXT PRIMARY KEY, at BIGINT NOT NULL, body TEXT NOT NULL);

CREATE TABLE plan (
  id TEXT PRIMARY KEY,
  digest TEXT NOT NULL,
  body TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  created_by TEXT NOT NULL
);

CREATE TABLE run (
  id BIGINT PRIMARY KEY,
  plan TEXT NOT NULL REFERENCES plan (id),
  action_index BIGINT NOT NULL,
  address TEXT NOT NULL,
  kind TEXT NOT NULL,
  trigger_kind TEXT NOT NULL,
  trigger_key TEXT NOT NULL,
  due_at BIGINT NOT NULL,
  commit_id TEXT NOT NULL,
  actor TEXT NOT NULL,
  status TEXT NOT NULL,
  reason TEXT NOT NULL,
  error TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  started_at BIGINT NOT NULL,
  ended_at BIGINT NOT NULL,
  devices BIGINT NOT NULL,
  domains BIGINT NOT NULL,
  succeeded BIGINT NOT NULL,
  failed BIGINT NOT NULL,
  skipped BIGINT NOT NULL,
  total BIGINT NOT NULL,
  UNIQUE (address, trigger_kind, trigger_key)
);
CREATE INDEX run_address ON run (address, id);
CREATE INDEX run_open ON run (id) WHERE status IN ('pending', 'running', 'interrupted');

-- The newest run of each address, so that a snapshot does not read all history. 0 for none.
CREATE TABLE run_head (address TEXT PRIMARY KEY, last_run BIGINT NOT NULL, last_good BIGINT NOT NULL);

CREATE TABLE task (
  run_id BIGINT NOT NULL REFERENCES run (id),
  seq BIGINT NOT NULL,
  kind TEXT NOT NULL,
  activity TEXT NOT NULL,
  device TEXT NOT NULL,
  domain TEXT NOT NULL,
  action TEXT NOT NULL,
  locks TEXT NOT NULL,                 -- JSON list of names
  status TEXT NOT NULL,
  reason TEXT NOT NULL,
  error TEXT NOT NULL,
  owner BIGINT NOT NULL,               -- session epoch while running, else 0
  attempt BIGINT NOT NULL,
  status_at BIGINT NOT NULL,
  started_at BIGINT NOT NULL,
  ended_at BIGINT NOT NULL,
  files BIGINT NOT NULL,
  bytes BIGINT NOT NULL,
  errors BIGINT NOT NULL,
  output TEXT,
  last_entry TEXT NOT NULL,            -- fingerprint of the newest journal entry: a repeated one is known
  PRIMARY KEY (run_id, seq)
);
CREATE INDEX task_status ON task (run_id, status);
CREATE INDEX task_owner ON task (owner) WHERE status = 'running';

CREATE TABLE step (
  run_id BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  idx BIGINT NOT NULL,
  name TEXT NOT NULL,
  class TEXT NOT NULL,
  state TEXT NOT NULL,
  session BIGINT NOT NULL,
  attempt BIGINT NOT NULL,
  input TEXT,
  output TEXT,
  error TEXT NOT NULL,
  began_at BIGINT NOT NULL,
  ended_at BIGINT NOT NULL,
  PRIMARY KEY (run_id, seq, idx)
);

CREATE TABLE duty (
  run_id BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  name TEXT NOT NULL,
  args TEXT,
  paid INT NOT NULL,
  PRIMARY KEY (run_id, seq, name)
);

CREATE TABLE artifact (
  id TEXT PRIMARY KEY,
  store TEXT NOT NULL,
  backup_plan TEXT NOT NULL,
  run TEXT NOT NULL,
  task TEXT NOT NULL,
  device TEXT NOT NULL,
  domain TEXT NOT NULL,
  action TEXT NOT NULL,
  variant TEXT NOT NULL,
  files BIGINT NOT NULL,
  bytes BIGINT NOT NULL,
  manifest TEXT,
  state TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  verified_at BIGINT NOT NULL,
  error TEXT NOT NULL
);
CREATE INDEX artifact_good ON artifact (backup_plan, started_at, bytes) WHERE state = 'good';
CREATE INDEX artifact_plan ON artifact (backup_plan, started_at);
CREATE INDEX artifact_device ON artifact (device, domain, started_at);
CREATE INDEX artifact_store ON artifact (store, started_at);
CREATE INDEX artifact_run ON artifact (run);
CREATE INDEX artifact_task ON artifact (task);

CREATE TABLE audit (
  seq BIGINT PRIMARY KEY,
  at BIGINT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  object TEXT NOT NULL,
  detail TEXT
);
