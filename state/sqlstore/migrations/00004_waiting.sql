-- +goose Up
CREATE INDEX run_attention ON run (id) WHERE status = 'attention';

-- A run of which nothing but scripts ended well is no good one.
UPDATE run_head SET last_good = COALESCE((SELECT max(run.id) FROM run WHERE run.address = run_head.address
  AND run.status IN ('succeeded', 'succeeded_with_warnings', 'partial')
  AND EXISTS (SELECT 1 FROM task WHERE task.run_id = run.id AND task.kind <> 'script' AND task.status IN ('succeeded', 'succeeded_with_warnings'))), 0)
WHERE last_good > 0;
