package postgresql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/scratch"
)

// base is what is known of a base backup.
type base struct {
	Files     int      `json:"files"`
	Bytes     int64    `json:"bytes"` // of the files in it
	End       position `json:"end"`   // from here on the cluster is consistent
	Databases []string `json:"databases"`
}

const slotPrefix = "holdfast_"

// secureBackup streams pg_basebackup's archive, which ends with the log it needs and with the manifest of
// all files; on the way every file is compared with that manifest.
func (d *device) secureBackup(ctx context.Context, t *target, conn *pgx.Conn, s server, sink *hashingSink) (providers.CaptureResult, error) {
	var res providers.CaptureResult
	tool, err := d.find(ctx, "pg_basebackup", s.major(), true)
	if err != nil {
		return res, err
	}
	spaces, err := strs(ctx, conn, "SELECT spcname FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY 1")
	if err != nil {
		return res, err
	}
	if len(spaces) > 0 {
		return res, &providers.Error{
			Op: "capture", Target: d.name, Hint: "Protect the databases one by one with export_domain, or move them to the default tablespace.",
			Err: fmt.Errorf("a secure backup of a cluster with tablespaces (%s): %w", strings.Join(spaces, ", "), errors.ErrUnsupported),
		}
	}
	rec := record{Format: 1, Server: s, Tool: tool.version, Files: sink.sums}
	doc, err := readSettings(ctx, conn)
	if err != nil {
		return res, err
	}
	var unread []string
	if doc.Files, unread, err = outsideFiles(ctx, conn); err != nil {
		return res, err
	}
	if !s.Standby && doc.Unread == "" {
		if rec.Quiesced, err = readOnlyCluster(ctx, conn, ""); err != nil {
			return res, lost(conn, err)
		}
	}
	all, err := databases(ctx, conn)
	if err != nil {
		return res, err
	}
	// Without it a busy server may remove log that the backup still needs. It goes with the connection.
	if _, err := conn.Exec(ctx, "SELECT pg_create_physical_replication_slot($1 || pg_backend_pid(), true, true)", slotPrefix); err != nil {
		if conn.IsClosed() || ctx.Err() != nil {
			return res, lost(conn, err)
		}
		res.Warnings = append(res.Warnings, "no replication slot, the server may remove log before it is captured: "+err.Error())
	}
	var content *manifest
	notes, err := sink.stream(baseName, func(w io.Writer) ([]string, error) {
		notes, m, err := d.stream(ctx, t, tool, w)
		content = m
		return notes, err
	})
	if err != nil {
		return res, err
	}
	if s.Identity != "" && content.System != "" && content.System != s.Identity {
		return res, fmt.Errorf("the backup is of system %s, the server is %s: %w", content.System, s.Identity, providers.ErrChanged)
	}
	rec.Position, rec.Base = content.start(), &base{Files: len(content.Files), Bytes: content.bytes(), End: content.end(), Databases: all}
	if err := sink.json(settingsName, doc); err != nil {
		return res, err
	}
	res.Consistency, res.Tool, res.Unpacked = "application", tool.version, content.bytes()
	res.Source = providers.Content{Files: int64(len(content.Files)), Bytes: content.bytes()}
	res.Warnings = append(append(res.Warnings, notes...), unread...)
	res.Fingerprint = map[string]any{
		"system_identifier": s.Identity, "server_version": s.Version, "timeline": rec.Position.Timeline, "databases": all,
	}
	return res, sink.record(rec)
}

// stream runs pg_basebackup into the writer and checks what passes. With verify_dir it is unpacked there, too.
func (d *device) stream(ctx context.Context, t *target, tool program, w io.Writer) (notes []string, m *manifest, retErr error) {
	var (
		into   string
		verify program
		err    error
	)
	if d.VerifyDir != "" {
		if verify, err = d.find(ctx, "pg_verifybackup", tool.major, true); err != nil {
			return nil, nil, err
		}
		if err := scratch.Sweep(d.VerifyDir); err != nil {
			return nil, nil, fmt.Errorf("verify_dir: %w", err)
		}
		dir, err := scratch.NewDir(d.VerifyDir)
		if err != nil {
			return nil, nil, fmt.Errorf("verify_dir: %w", err)
		}
		defer func() { retErr = errors.Join(retErr, dir.Remove()) }()
		into = dir.Path
	}
	// A pipe of the kernel holds enough for both sides to work at the same time.
	pr, pw, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer pr.Close()
	defer pw.Close()
	enlarge(pw)
	g, inner := errgroup.WithContext(ctx)
	// The group knows the first error by then; what the other side makes of a closed pipe is not looked at.
	defer context.AfterFunc(inner, func() {
		pw.Close()
		pr.Close()
	})()
	g.Go(func() (err error) {
		m, err = checkBase(inner, pr, into)
		return err
	})
	g.Go(func() (err error) {
		if notes, err = t.run(inner, tool, nil, io.MultiWriter(w, pw), "--pgdata=-", "--format=tar", "--wal-method=fetch",
			"--manifest-checksums=SHA256", "--checkpoint=fast", "--no-password", "--label=holdfast"); err != nil {
			return err
		}
		return pw.Close()
	})
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	if into != "" {
		err = verifyBackup(ctx, verify, into)
	}
	return notes, m, err
}

// enlarge gives a pipe the most that any user may have. A smaller one works, too.
func enlarge(pipe *os.File) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 1<<20) })
}

// outsideFiles reads the configuration files that are not in the data directory and thus not in a base backup.
func outsideFiles(ctx context.Context, conn *pgx.Conn) (files map[string]string, warnings []string, err error) {
	var allowed bool
	if err := conn.QueryRow(ctx, `SELECT has_function_privilege('pg_read_binary_file(text)', 'EXECUTE')
		AND has_table_privilege('pg_file_settings', 'SELECT') AND has_function_privilege('pg_show_all_file_settings()', 'EXECUTE')
		AND current_setting('config_file', true) IS NOT NULL`).Scan(&allowed); err != nil {
		return nil, nil, lost(conn, err)
	}
	if !allowed {
		return nil, []string{"configuration files outside the data directory, if there are any, are not captured: the role may not read files of the server"}, nil
	}
	paths, err := strs(ctx, conn, `SELECT path FROM (SELECT current_setting(s) FROM unnest('{config_file,hba_file,ident_file}'::text[]) s
		UNION SELECT sourcefile FROM pg_file_settings) f (path)
		WHERE path IS NOT NULL AND NOT starts_with(path, current_setting('data_directory') || '/') ORDER BY 1`)
	if err != nil {
		return nil, nil, err
	}
	for _, path := range paths {
		var content []byte
		if err := conn.QueryRow(ctx, "SELECT pg_read_binary_file($1)", path).Scan(&content); err != nil {
			if conn.IsClosed() || ctx.Err() != nil {
				return nil, nil, lost(conn, err)
			}
			warnings = append(warnings, fmt.Sprintf("%s is not captured: %v", path, err))
			continue
		}
		if files == nil {
			files = map[string]string{}
		}
		files[path] = strings.ToValidUTF8(string(content), "\uFFFD")
	}
	return files, warnings, nil
}
