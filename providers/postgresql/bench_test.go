package postgresql_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/postgresql"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

// discard is a sink that keeps nothing but the size.
type discard struct{ size int64 }

func (d *discard) Create(string) (io.WriteCloser, error) { return d, nil }
func (d *discard) Close() error                          { return nil }
func (d *discard) Write(b []byte) (int, error) {
	d.size += int64(len(b))
	return len(b), nil
}

func TestMemoryStaysConstant(t *testing.T) {
	long(t)
	c := own(t)
	c.exec(t, "postgres", "CREATE DATABASE app")
	c.exec(t, "app", "CREATE TABLE large AS SELECT i, repeat(md5(i::text), 30) AS v FROM generate_series(1, 150000) i")
	for _, req := range []providers.CaptureRequest{export, secure} {
		var before, after runtime.MemStats
		sink := new(discard)
		runtime.ReadMemStats(&before)
		_, err := c.device(t, func(s *postgresql.Settings) { s.Compression = 0 }).Capture(t.Context(), req, sink)
		must(t, err)
		runtime.ReadMemStats(&after)
		if sink.size < 100<<20 {
			t.Errorf("%s: only %d bytes were captured", req.Action, sink.size)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
			t.Errorf("%s of %d MB allocated %d MB in all", req.Action, sink.size>>20, used>>20)
		}
	}
}

// BenchmarkExport compares an export into a plain store with pg_dump to a file on the same disk, at each compression.
func BenchmarkExport(b *testing.B) {
	c, dir := benchCluster(b)
	store := benchStore(b, filepath.Join(dir, "store"))
	for _, level := range []int{6, 1, 0} {
		b.Run(fmt.Sprintf("Z%d", level), func(b *testing.B) {
			dev := c.device(b, func(s *postgresql.Settings) { s.Compression = level })
			compare(b, c, func() {
				run(b, "pg_dump", "-h", c.dir, "-U", "admin", "-Fc", fmt.Sprint("-Z", level), "-f", filepath.Join(dir, "plain"), "app")
			}, func(whole bool) func() { return keep(b, store, dev, export, whole) })
		})
	}
}

// BenchmarkSecureBackup compares a base backup into a plain store with pg_basebackup to a file.
func BenchmarkSecureBackup(b *testing.B) {
	c, dir := benchCluster(b)
	store, dev, to := benchStore(b, filepath.Join(dir, "store")), c.device(b), filepath.Join(dir, "base")
	compare(b, c, func() {
		run(b, "pg_basebackup", "-h", c.dir, "-U", "admin", "-D", to, "-Ft", "-X", "fetch", "-c", "fast", "--manifest-checksums=SHA256")
		must(b, os.RemoveAll(to))
	}, func(whole bool) func() { return keep(b, store, dev, secure, whole) })
}

// benchCluster has a database of some hundred megabytes: rows as of a shop, which compress as such data does.
func benchCluster(b *testing.B) (c *cluster, dir string) {
	b.Helper()
	c = own(b)
	c.exec(b, "postgres", "CREATE DATABASE app", "ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()")
	c.exec(b, "app",
		`CREATE TABLE customers AS SELECT i AS id, 'customer ' || md5(i::text) AS name, md5(i::text) || '@example.net' AS mail, now() - i * interval '7 min' AS since FROM generate_series(1, 150000) i`,
		`CREATE TABLE orders AS SELECT i AS id, 1 + hashint4(i) & 131071 AS customer, (ARRAY['new', 'paid', 'sent', 'returned'])[1 + i % 4] AS status,
			(hashint4(i) & 65535) / 100.0 AS total, now() - i * interval '13 s' AS at, jsonb_build_object('channel', 'web', 'coupon', left(md5(i::text), 8), 'weight', i % 977) AS more FROM generate_series(1, 1000000) i`,
		`CREATE TABLE lines AS SELECT i / 3 AS "order", i % 3 AS line, 'part-' || hashint4(i) % 9973 AS part, 1 + i % 7 AS pieces, (hashint4(i + 1) & 32767) / 100.0 AS price FROM generate_series(3, 2000000) i`,
		`CREATE TABLE documents AS SELECT i AS id, (SELECT string_agg(md5((i * j)::text), ' ') FROM generate_series(1, 12) j) AS body FROM generate_series(1, 60000) i`,
		"ALTER TABLE customers ADD PRIMARY KEY (id)", "ALTER TABLE orders ADD PRIMARY KEY (id)", "CREATE INDEX ON orders (customer)", `ALTER TABLE lines ADD PRIMARY KEY ("order", line)`,
		"VACUUM ANALYZE", "CHECKPOINT")
	dir = newDir(b)
	b.Cleanup(func() { must(b, os.RemoveAll(dir)) })
	return c, dir
}

func benchStore(b *testing.B, path string) providers.Store {
	b.Helper()
	const identity = "5c0ae4f7-6a0e-4f0e-9a3d-2f3f0f4f5a6b"
	s, err := plain.StoreType().Open(b.Context(), "bench", &plain.Settings{Path: path}, providers.Env{Identity: identity, Writer: "bench"})
	must(b, err)
	must(b, s.Init(b.Context(), identity))
	b.Cleanup(func() { must(b, s.Close()) })
	return s
}

// keep captures into the store and commits, as a run does; whole also reads back what was written, before it commits. The
// function it returns removes the artifact.
func keep(b *testing.B, store providers.Store, dev providers.Device, req providers.CaptureRequest, whole bool) (remove func()) {
	ref := providertest.NewRef("db", req.Domain, req.Action)
	ref.Variant, ref.Started = req.Variant, time.Now().UTC()
	stage, err := store.Stage(b.Context(), ref)
	must(b, err)
	res, err := dev.Capture(b.Context(), req, stage)
	must(b, err)
	for _, f := range stage.Files() {
		if !whole {
			break
		}
		r, err := store.Staged(b.Context(), ref.ID, f.Name)
		must(b, err)
		sum := sha256.New()
		_, err = io.CopyBuffer(sum, struct{ io.Reader }{r}, make([]byte, 1<<20))
		must(b, errors.Join(err, r.Close()))
		if hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
			b.Fatalf("%s reads back differently", f.Name)
		}
	}
	_, err = store.Commit(b.Context(), providers.Manifest{Schema: 1, ArtifactRef: ref, Files: stage.Files(), Result: res, Finished: time.Now().UTC()})
	must(b, err)
	return func() { must(b, store.Delete(context.Background(), ref)) }
}

// cost is what one run took.
type cost struct {
	wall time.Duration
	cpu  time.Duration // of this process, the programs it started, and the sessions of the server
}

const pairs = 5

// compare runs all in turn, so that what else the machine does hits each, and prints their medians side by side and the
// ratios of the pairs: captured and committed, and read back in between, which pg_dump does not do.
func compare(b *testing.B, c *cluster, peer func(), ours func(whole bool) (remove func())) {
	var costs [3][]cost
	var most float64
	for b.Loop() {
		for i := range pairs {
			for k := range costs {
				turn := (i + k) % len(costs) // nobody always comes first
				remove := func() {}
				one := measure(b, c, func() {
					if turn == 0 {
						peer()
					} else {
						remove = ours(turn == 2)
					}
				})
				remove()
				costs[turn] = append(costs[turn], one)
			}
			most = max(most, load(b))
		}
	}
	median := func(of []cost, what func(cost) time.Duration) float64 {
		all := make([]float64, len(of))
		for i, c := range of {
			all[i] = what(c).Seconds()
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	wall, cpu := func(c cost) time.Duration { return c.wall }, func(c cost) time.Duration { return c.cpu }
	for i, name := range []string{"", "", "-verified"} {
		if i == 0 {
			b.ReportMetric(median(costs[0], wall), "peer-s")
			b.ReportMetric(median(costs[0], cpu), "peer-cpu-s")
			continue
		}
		var ratios []float64
		for k := range costs[i] {
			ratios = append(ratios, costs[i][k].wall.Seconds()/costs[0][k].wall.Seconds())
		}
		slices.Sort(ratios)
		ratio, work := median(costs[i], wall)/median(costs[0], wall), median(costs[i], cpu)/median(costs[0], cpu)
		b.ReportMetric(median(costs[i], wall), "holdfast"+name+"-s")
		b.ReportMetric(ratio, "ratio"+name)
		b.ReportMetric(work, "ratio"+name+"-cpu")
		b.Logf("%s%s: peer %.2f s, holdfast %.2f s, ratio of medians %.3f (pairs: min %.3f, median %.3f, max %.3f), of processor time %.3f; load up to %.1f",
			b.Name(), name, median(costs[0], wall), median(costs[i], wall), ratio, ratios[0], ratios[len(ratios)/2], ratios[len(ratios)-1], work, most)
	}
}

// measure runs f, and then waits for its sessions to end, whose processor time is known from then on.
func measure(b *testing.B, c *cluster, f func()) cost {
	b.Helper()
	before, start := spent(b, c), time.Now()
	f()
	wall := time.Since(start)
	eventually(b, "the sessions have ended", func() bool {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", c.pid(b)))
		must(b, err)
		for pid := range strings.FieldsSeq(string(children)) {
			// One that ended and was not waited for yet has no command line, and its time is not known.
			if line, _ := os.ReadFile("/proc/" + pid + "/cmdline"); len(line) == 0 || strings.Contains(string(line), "postgres: admin ") {
				return false
			}
		}
		return true
	})
	return cost{wall, spent(b, c) - before}
}

func (c *cluster) pid(b *testing.B) int {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(c.data, "postmaster.pid"))
	must(b, err)
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	must(b, err)
	return pid
}

// spent is the processor time of this process, of the programs it waited for, and of the server with its ended sessions.
func spent(b *testing.B, c *cluster) (all time.Duration) {
	b.Helper()
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		must(b, syscall.Getrusage(who, &u))
		all += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.pid(b)))
	must(b, err)
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	for _, ticks := range fields[11:15] { // user and system time, its own and of its children
		n, err := strconv.ParseInt(ticks, 10, 64)
		must(b, err)
		all += time.Duration(n) * 10 * time.Millisecond
	}
	return all
}

func load(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	must(b, err)
	first, _, _ := strings.Cut(string(text), " ")
	n, err := strconv.ParseFloat(first, 64)
	must(b, err)
	return n
}
