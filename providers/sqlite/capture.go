package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
	"modernc.org/sqlite"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/priority"
	"github.com/holdfast-dr/holdfast/providers/scratch"
)

// Names of an artifact's files: one for each database, and the facts that a restore compares.
const (
	exportName = "export.sqlite.zst"
	suffix     = ".sqlite.zst"
	factsName  = "fingerprint.json"
)

const (
	stepPages   = 1024 // copied between two looks at the context
	maxRestarts = 3    // by writers, before the copy is made in one step that holds them up
	lockWait    = "2000"
)

// Capture copies each database, checks the copy, and streams it. Only a copy that passed its check is given away.
func (d *device) Capture(ctx context.Context, req providers.CaptureRequest, sink providers.Sink) (providers.CaptureResult, error) {
	if priority.Given(ctx) {
		return d.captureApart(ctx, req, sink)
	}
	res, err := d.capture(ctx, req, sink)
	return res, d.wrap("capture", err)
}

// captureApart captures in a thread of its own, which gives way to other programs.
func (d *device) captureApart(ctx context.Context, req providers.CaptureRequest, sink providers.Sink) (res providers.CaptureResult, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		priority.Join(ctx)
		res, err = d.capture(ctx, req, sink)
	}()
	<-done
	return res, d.wrap("capture", err)
}

func (d *device) capture(ctx context.Context, req providers.CaptureRequest, sink providers.Sink) (providers.CaptureResult, error) {
	var res providers.CaptureResult
	dbs, warnings, err := d.wanted(req)
	if err != nil {
		return res, err
	}
	temp := cmp.Or(d.settings.TempDir, os.TempDir())
	if err := scratch.Sweep(temp); err != nil {
		return res, err
	}

	all, size := facts{}, int64(0)
	for _, db := range dbs {
		name := db.name + suffix
		if req.Action == providers.ExportDomain {
			name = exportName
		}
		f, err := d.one(ctx, db, temp, name, sink)
		if err != nil {
			return res, fmt.Errorf("database %s: %w", db.path, err)
		}
		if f.File, err = look(db.path); err != nil {
			return res, fmt.Errorf("database %s: %w", db.path, err)
		}
		if f.Unchecked != "" {
			warnings = append(warnings, fmt.Sprintf("%s: %s could not be run on the copy: %s", db.path, f.Check, f.Unchecked))
		}
		all[db.name] = f
		size += f.size
	}
	if err := writeFacts(sink, all); err != nil {
		return res, err
	}
	fingerprint := map[string]any{}
	for name, f := range all {
		f.File = nil // a restore does not make a new one of a file that is there
		fingerprint[name] = f
	}
	return providers.CaptureResult{
		Consistency: "application", Tool: "SQLite online backup", Warnings: warnings, Fingerprint: fingerprint, Unpacked: size,
		Source: providers.Content{Files: int64(len(dbs)), Bytes: size},
	}, nil
}

// wanted gives the databases that were asked for.
func (d *device) wanted(req providers.CaptureRequest) (dbs []database, warnings []string, err error) {
	switch req.Action {
	case providers.SecureBackup:
		if req.Domain != providers.AllDomains && req.Domain != "" {
			return nil, nil, fmt.Errorf("a secure backup is of %s, not of %q", providers.AllDomains, req.Domain)
		}
		inv, err := d.databases()
		if err != nil {
			return nil, nil, err
		}
		if len(inv.databases) == 0 {
			return nil, nil, fmt.Errorf("%w: no databases in %s", providers.ErrTooSmall, d.settings.Path)
		}
		for _, path := range inv.own {
			warnings = append(warnings, "left out, an open file of holdfast itself: "+path)
		}
		return inv.databases, append(warnings, inv.left...), nil
	case providers.ExportDomain:
		db, inv, err := d.database(req.Domain)
		if err != nil {
			return nil, nil, err
		}
		if db == inv.databases[0] { // once in each backup of all of them
			warnings = inv.left
		}
		return []database{db}, warnings, nil
	}
	return nil, nil, fmt.Errorf("action %q: %w", req.Action, errors.ErrUnsupported)
}

// one copies a database into a file without a name in the directory temp, checks the copy and streams it.
func (d *device) one(ctx context.Context, db database, temp, name string, sink providers.Sink) (fact, error) {
	work, unlink, err := scratch.Named(temp)
	if err != nil {
		return fact{}, providers.Plainly(err)
	}
	defer work.Close()
	err = d.copyTo(ctx, db, work.Name(), unlink)
	if err := errors.Join(err, unlink()); err != nil {
		return fact{}, err
	}
	f, err := examine(ctx, work)
	if err != nil {
		return f, fmt.Errorf("check the copy: %w", err)
	}
	if f.damage != "" {
		return f, &providers.Error{
			Op: "capture", Target: db.path, Err: fmt.Errorf("the database is damaged: %s", f.damage),
			Hint: "The damage is in the source. Restore it from an older artifact, or repair it with the recover command of the sqlite3 shell.",
		}
	}
	return f, stream(ctx, work, name, sink)
}

// copyTo makes a copy that is one transaction's view of the source, in the empty file at the path. It calls opened when SQLite has the file
// and nothing is in it yet.
func (d *device) copyTo(ctx context.Context, db database, path string, opened func() error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	info, err := os.Stat(db.path)
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return fmt.Errorf("%w: the file is empty", providers.ErrTooSmall)
	}
	if err := enoughSpace(filepath.Dir(path), info.Size()); err != nil {
		return err
	}
	release, err := hold(ctx, db.path, info)
	if err != nil {
		return err
	}
	defer release()
	source, err := sql.Open("sqlite", sourceURI(db.path))
	if err != nil {
		return err
	}
	defer source.Close()
	conn, err := source.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var mode string
	if err := conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if mode == "wal" {
		// A read transaction pins the view without holding up writers, so no write restarts the copy.
		if _, err := conn.ExecContext(ctx, "BEGIN"); err != nil {
			return err
		}
		defer conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		var n int
		if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&n); err != nil {
			return err
		}
	}
	return conn.Raw(func(driver any) error {
		backuper, ok := driver.(interface {
			NewBackup(uri string) (*sqlite.Backup, error)
		})
		if !ok {
			return fmt.Errorf("online backup: %w", errors.ErrUnsupported)
		}
		b, err := backuper.NewBackup(copyURI(path))
		if err != nil {
			return err
		}
		if err := errors.Join(opened(), steps(ctx, b)); err != nil {
			b.Finish() // it would tell the same error again
			return err
		}
		return b.Finish()
	})
}

// steps copies until nothing is left. Without write-ahead log every write of
// another connection starts the copy over; after a few times it is made in one step.
func steps(ctx context.Context, b *sqlite.Backup) error {
	restarts, left := 0, -1
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		pages := int32(stepPages)
		if restarts >= maxRestarts {
			pages = -1
		}
		more, err := b.Step(pages)
		if err != nil || !more {
			return err
		}
		if left >= 0 && b.Remaining() >= left {
			restarts++
		}
		left = b.Remaining()
	}
}

// sourceURI opens a database for reading only. Nothing is written to its file; for
// a database in WAL mode that nobody has open, SQLite leaves an empty log and its index beside it.
func sourceURI(path string) string {
	return uri(path, url.Values{"mode": {"ro"}, "_pragma": {"query_only(1)", "trusted_schema(0)"}, "_busy_timeout": {lockWait}})
}

// copyURI opens the copy while it is made: it is thrown away on any failure, so it needs no journal.
func copyURI(path string) string {
	return uri(path, url.Values{"mode": {"rw"}, "_pragma": {"journal_mode(off)", "synchronous(off)"}})
}

// copiedURI opens a finished copy, which nobody else has open.
func copiedURI(path string) string {
	return uri(path, url.Values{"mode": {"ro"}, "immutable": {"1"}, "_pragma": {"query_only(1)", "trusted_schema(0)"}})
}

func uri(path string, query url.Values) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + query.Encode()
}

func enoughSpace(dir string, size int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	if free := int64(st.Bavail) * st.Bsize; free < size {
		return &providers.Error{
			Op: "capture", Target: dir, Err: fmt.Errorf("%w: the copy needs %d bytes, %d are free", providers.ErrNoSpace, size, free),
			Hint: "Set temp_dir to a directory with more space.",
		}
	}
	return nil
}

// stream compresses the copy into the sink.
func stream(ctx context.Context, work *os.File, name string, sink providers.Sink) (err error) {
	out, err := sink.Create(name)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	zip, err := zstd.NewWriter(out, zstd.WithConcurrentBlocks(true), zstd.WithWindowSize(2<<20), zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)))
	if err != nil {
		return err
	}
	if _, err := io.Copy(zip, contextReader{ctx, scratch.Content(work)}); err != nil {
		zip.Reset(nil) // without its end the file cannot be taken for whole
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := zip.Close(); err != nil {
		zip.Reset(nil)
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// contextReader ends reading when the context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}

func writeFacts(sink providers.Sink, all facts) (err error) {
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	out, err := sink.Create(factsName)
	if err != nil {
		return fmt.Errorf("create %s: %w", factsName, err)
	}
	_, err = out.Write(b)
	return errors.Join(err, out.Close())
}
