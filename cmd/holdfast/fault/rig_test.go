package fault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait for another process.
const patience = 60 * time.Second

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// long leaves a test out of the quick pass, in which every holdfast is slow.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("NOT TESTED with -short: it starts too many processes")
	}
}

// rig is a directory with a configuration, a state and whatever a test puts there.
type rig struct {
	t   *testing.T
	dir string
	env []string
}

func newRig(t *testing.T, config string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	r.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "TZ=UTC", "LANG=C.UTF-8", "HOLDFAST_VAR_root=" + r.dir}
	r.write("a.hold.hcl", "settings { timezone = \"UTC\" }\nvariable \"root\" { type = string }\n"+config)
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

func (r *rig) write(name, content string) {
	r.t.Helper()
	check(r.t, os.MkdirAll(filepath.Dir(r.path(name)), 0o755))
	check(r.t, os.WriteFile(r.path(name), []byte(content), 0o755))
}

func (r *rig) read(name string) string {
	r.t.Helper()
	data, err := os.ReadFile(r.path(name))
	check(r.t, err)
	return string(data)
}

func (r *rig) exists(name string) bool {
	_, err := os.Lstat(r.path(name))
	return err == nil
}

func (r *rig) remove(names ...string) {
	r.t.Helper()
	for _, name := range names {
		check(r.t, os.RemoveAll(r.path(name)))
	}
}

// answer is what a holdfast process left.
type answer struct {
	code     int // -1: killed
	out, err string
}

func (r *rig) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "holdfast", args...)
	cmd.Dir, cmd.Env = r.dir, r.env
	return cmd
}

// run runs holdfast to its end.
func (r *rig) run(args ...string) answer {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := r.command(ctx, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	if ctx.Err() != nil {
		r.t.Fatalf("holdfast %s did not end\n%s%s", strings.Join(args, " "), out.String(), errs.String())
	}
	return answer{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// want runs holdfast, which must end with one of some exit codes.
func (r *rig) want(codes []int, args ...string) answer {
	r.t.Helper()
	a := r.run(args...)
	if !slices.Contains(codes, a.code) {
		r.t.Fatalf("holdfast %s ended with %d, want %v\n%s%s", strings.Join(args, " "), a.code, codes, a.out, a.err)
	}
	return a
}

func (r *rig) ok(args ...string) answer {
	r.t.Helper()
	return r.want([]int{0}, args...)
}

// process is a holdfast that runs beside the test.
type process struct {
	r        *rig
	cmd      *exec.Cmd
	out, err bytes.Buffer
	done     chan struct{}
}

func (r *rig) start(args ...string) *process {
	r.t.Helper()
	p := &process{r: r, cmd: r.command(context.Background(), args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	check(r.t, p.cmd.Start())
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // its exit code is what ended looks at
	}()
	r.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.done
	})
	return p
}

// ended waits for the end of a process.
func (p *process) ended() answer {
	p.r.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.done
		p.r.t.Fatalf("%v did not end\n%s%s", p.cmd.Args, p.out.String(), p.err.String())
	}
	return answer{p.cmd.ProcessState.ExitCode(), p.out.String(), p.err.String()}
}

// until waits for something another process does.
func (r *rig) until(what string, holds func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if holds() {
			return
		}
		<-time.After(2 * time.Millisecond) // another process works: there is nothing else to wait for
	}
	r.t.Fatalf("%s did not come", what)
}

func (r *rig) appears(name string) {
	r.t.Helper()
	r.until(name, func() bool { return r.exists(name) })
}

type runRecord struct {
	ID         string `json:"id"`
	Address    string `json:"address"`
	Status     string `json:"status"`
	TriggerKey string `json:"trigger_key"`
	Trigger    string `json:"trigger"`
}

type taskRecord struct {
	ID     string `json:"id"`
	Device string `json:"device"`
	Status string `json:"status"`
	Reason string `json:"reason"`
	Error  string `json:"error"`
}

func (r *rig) json(into any, args ...string) {
	r.t.Helper()
	a := r.ok(append(args, "--json")...)
	if err := json.Unmarshal([]byte(a.out), into); err != nil {
		r.t.Fatalf("holdfast %s printed no JSON: %v\n%s", strings.Join(args, " "), err, a.out)
	}
}

// runs are all runs of an object, newest first.
func (r *rig) runs(address string) []runRecord {
	r.t.Helper()
	var got struct{ Runs []runRecord }
	r.json(&got, "history", "--limit=1000", address)
	return got.Runs
}

// tasks are those of the newest run of an object.
func (r *rig) tasks(address string) []taskRecord {
	r.t.Helper()
	runs := r.runs(address)
	if len(runs) == 0 {
		r.t.Fatalf("%s has no run", address)
	}
	var got struct{ Tasks []taskRecord }
	r.json(&got, "history", runs[0].ID)
	return got.Tasks
}

// task is the only one of the newest run.
func (r *rig) task(address string) taskRecord {
	r.t.Helper()
	all := r.tasks(address)
	if len(all) != 1 {
		r.t.Fatalf("%d tasks: %+v", len(all), all)
	}
	return all[0]
}

// good counts the artifacts that are recorded as good, all of which must pass a full read.
func (r *rig) good() int {
	r.t.Helper()
	return len(r.goodIDs())
}

func (r *rig) goodIDs() (ids []string) {
	r.t.Helper()
	var got struct {
		Verdicts []struct{ Artifact, State, Error string }
	}
	r.json(&got, "verify", "--all")
	for _, v := range got.Verdicts {
		if v.State != "good" || v.Error != "" {
			r.t.Errorf("artifact %s is %s: %s", v.Artifact, v.State, v.Error)
		}
		ids = append(ids, v.Artifact)
	}
	return ids
}

// retries counts how often a step was tried again, from the events that apply and run print with --json.
func (a answer) retries() int { return strings.Count(a.out, `"type":"step_retry"`) }

// secureBackups lists what a store shows to a person with a shell: directories of secure backups that carry a manifest.
func secureBackups(t *testing.T, store string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(store, "*", "secure-backup", "*", "holdfast-manifest.json"))
	check(t, err)
	return found
}

// staged lists what lies in the staging area of a store.
func staged(t *testing.T, store string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(store, ".holdfast", "tmp", "*"))
	check(t, err)
	return found
}

// treeOf describes everything below a directory: names, sizes and times.
func treeOf(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	check(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintln(&b, path, info.Size(), info.ModTime().UnixNano())
		}
		return err
	}))
	return b.String()
}

// tmpfs mounts a memory file system. Where nobody may mount, the test is skipped only outside CI: there it fails.
func tmpfs(t *testing.T, path, options string) {
	t.Helper()
	check(t, os.MkdirAll(path, 0o700))
	mayMount(t, unix.Mount("tmpfs", path, "tmpfs", 0, options))
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
}

func mayMount(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, unix.EPERM) && os.Getenv("CI") == "" {
		t.Skip("NOT TESTED: mounting needs root")
	}
	check(t, err)
}

// free is the room on a file system.
func free(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Statfs_t
	check(t, unix.Statfs(path, &st))
	return int64(st.Bavail) * st.Bsize
}

// ballast takes all but some bytes of a file system.
func ballast(t *testing.T, dir string, left int64) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "ballast"))
	check(t, err)
	defer f.Close()
	if n := free(t, dir) - left; n > 0 {
		check(t, unix.Fallocate(int(f.Fd()), 0, 0, n))
	}
}

func fifo(t *testing.T, path string) {
	t.Helper()
	check(t, syscall.Mkfifo(path, 0o600))
}
