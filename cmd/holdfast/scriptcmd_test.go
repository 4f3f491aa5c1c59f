package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// patience bounds every wait of a script.
const patience = 60 * time.Second

// scriptCommands are what the scripts use beside the commands of testscript.
var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	"absent":   absent,
	"await":    await,
	"capture":  capture,
	"commit":   commit,
	"ended":    ended,
	"exits":    exits,
	"fill":     fill,
	"flip":     flip,
	"json":     query,
	"lines":    lines,
	"mkfifo":   mkfifo,
	"program":  program,
	"signal":   signalJob,
	"spawn":    spawn,
	"stuck":    stuck,
	"tmpfs":    tmpfs,
	"truncate": truncate,

	"unreadable": unreadable,
}

func usage(ts *testscript.TestScript, neg bool, args []string, least int, text string) {
	if neg || len(args) < least {
		ts.Fatalf("usage: %s", text)
	}
}

// exits runs a program that must end with an exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "exits CODE program [args...]")
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// jobsKey finds the programs a script runs in the background.
type jobsKey struct{}

type job struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// spawn starts a program; what it prints goes to NAME.out and NAME.err.
func spawn(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "spawn NAME program [args...]")
	jobs := ts.Value(jobsKey{}).(map[string]*job)
	path := args[1]
	if args[1] == "holdfast" { // testscript.Main put it in front of the path of this process
		found, err := exec.LookPath(path)
		ts.Check(err)
		path = found
	}
	cmd := exec.Command(path, args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"WORK", "HOME", "TMPDIR", "PATH", "TZ", "LANG", "HOLDFAST_VAR_root", "HOLDFAST_STATE", "HOLDFAST_TEST_SECRET"} {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	out, err := os.Create(ts.MkAbs(args[0] + ".out"))
	ts.Check(err)
	errs, err := os.Create(ts.MkAbs(args[0] + ".err"))
	ts.Check(err)
	cmd.Stdout, cmd.Stderr = out, errs
	ts.Check(cmd.Start())
	j := &job{cmd, make(chan struct{})}
	go func() {
		_ = cmd.Wait() // its exit code is what ended looks at
		out.Close()
		errs.Close()
		close(j.done)
	}()
	jobs[args[0]] = j
	ts.Defer(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-j.done
	})
}

func jobOf(ts *testscript.TestScript, name string) *job {
	j, ok := ts.Value(jobsKey{}).(map[string]*job)[name]
	if !ok {
		ts.Fatalf("no program was started as %s", name)
	}
	return j
}

// signalJob sends a signal to a started program.
func signalJob(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "signal NAME TERM|INT|HUP|KILL")
	sig := unix.SignalNum("SIG" + args[1])
	if sig == 0 {
		ts.Fatalf("unknown signal %s", args[1])
	}
	ts.Check(jobOf(ts, args[0]).cmd.Process.Signal(sig))
}

// ended waits for a started program, which must end with an exit code.
func ended(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "ended NAME CODE|killed")
	j := jobOf(ts, args[0])
	select {
	case <-j.done:
	case <-time.After(patience):
		ts.Fatalf("%s did not end", args[0])
	}
	got := strconv.Itoa(j.cmd.ProcessState.ExitCode())
	if j.cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
		got = "killed"
	}
	if got != args[1] {
		ts.Logf("[%s.out]\n%s[%s.err]\n%s", args[0], ts.ReadFile(args[0]+".out"), args[0], ts.ReadFile(args[0]+".err"))
		ts.Fatalf("%s ended with %s, want %s", args[0], got, args[1])
	}
}

// await waits until a file exists, or has a text.
func await(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1, "await FILE [PATTERN]")
	want := regexp.MustCompile(strings.Join(args[1:], " "))
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if data, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && want.Match(data) {
			return
		}
		<-time.After(5 * time.Millisecond) // another process works: there is nothing else to wait for
	}
	ts.Fatalf("%s did not come", strings.Join(args, " with "))
}

// capture keeps the first group of a pattern in what was printed last as a variable.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "capture VARIABLE PATTERN")
	m := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) < 2 {
		ts.Fatalf("no match for %s", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// commit records everything in a directory with git, and makes it a repository when it is none.
func commit(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "commit DIR MESSAGE")
	if _, err := os.Stat(ts.MkAbs(filepath.Join(args[0], ".git"))); err != nil {
		ts.Check(ts.Exec("git", "init", "-q", "-b", "main", args[0]))
	}
	ts.Check(ts.Exec("git", "-C", args[0], "add", "-A"))
	ts.Check(ts.Exec("git", "-C", args[0], "commit", "-q", "--allow-empty", "-m", args[1]))
}

// program makes files executable; they are scripts whose first lines say so.
func program(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1, "program FILE...")
	for _, name := range args {
		ts.Check(os.Chmod(ts.MkAbs(name), 0o755))
	}
}

// fill writes a file of so many bytes that do not compress.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "fill FILE BYTES")
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{1}), n)
	ts.Check(errors.Join(err, f.Close()))
}

// flip inverts one byte of a file; a negative offset counts from its end.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "flip FILE OFFSET")
	path := found(ts, args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	if at < 0 {
		at += len(data)
	}
	data[at] ^= 0xff
	ts.Check(os.WriteFile(path, data, 0o600))
}

// found gives the one file that a pattern names.
func found(ts *testscript.TestScript, pattern string) string {
	all, err := filepath.Glob(ts.MkAbs(pattern))
	ts.Check(err)
	if len(all) != 1 {
		ts.Fatalf("%s names %d files: %v", pattern, len(all), all)
	}
	return all[0]
}

func truncate(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "truncate FILE BYTES")
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY|os.O_CREATE, 0o600)
	ts.Check(err)
	ts.Check(errors.Join(f.Truncate(n), f.Close()))
}

func mkfifo(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1, "mkfifo FILE")
	ts.Check(syscall.Mkfifo(ts.MkAbs(args[0]), 0o600))
}

// tmpfs mounts a small file system of its own; the script needs [root].
func tmpfs(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "tmpfs DIR SIZE")
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+args[1]); err != nil {
		ts.Fatalf("mount %s: %v", dir, err)
	}
	ts.Defer(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); !errors.Is(err, unix.EINVAL) { // the script may have taken it away itself
			ts.Check(err)
		}
	})
}

// unreadable makes a file one whose reading fails, for root too: a file of the kernel that gives an error takes its place.
func unreadable(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1, "unreadable FILE")
	path := ts.MkAbs(args[0])
	ts.Check(unix.Mount("/sys/class/net/lo/speed", path, "", unix.MS_BIND, ""))
	ts.Defer(func() { ts.Check(unix.Unmount(path, unix.MNT_DETACH)) })
}

// absent looks for a text in files and in everything below directories, and finds it nowhere.
func absent(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "absent TEXT PATH...")
	for _, root := range args[1:] {
		seen := 0
		ts.Check(filepath.WalkDir(ts.MkAbs(root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			seen++
			if bytes.Contains(data, []byte(args[0])) {
				ts.Fatalf("%s contains %s", path, args[0])
			}
			return nil
		}))
		if seen == 0 {
			ts.Fatalf("there is no file in %s", root)
		}
	}
}

// lines checks JSON lines as apply prints them: each is an object with a type, the first is the version, the last the result.
func lines(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1, "lines FILE [TYPE...]")
	var types []string
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		var record struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal([]byte(line), &record); err != nil || record.Type == "" {
			ts.Fatalf("no record with a type: %v: %s", err, line)
		}
		types = append(types, record.Type)
	}
	if len(types) < 2 || types[0] != "version" || types[len(types)-1] != "result" {
		ts.Fatalf("the records are of the types %v", types)
	}
	for _, want := range args[1:] {
		if !slices.Contains(types, want) {
			ts.Fatalf("no record of type %s in %v", want, types)
		}
	}
}

// query compares a value in a JSON document with a text: json stdout changes.0.address device.web. "#" counts, "last" is the
// last line of JSON lines. Without a text the value must be there; negated, it must not be, or be another.
func query(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: [!] json FILE PATH [TEXT]")
	}
	text := ts.ReadFile(args[0])
	path := strings.Split(args[1], ".")
	if path[0] == "last" {
		all := strings.Split(strings.TrimRight(text, "\n"), "\n")
		text, path = all[len(all)-1], path[1:]
	}
	var doc any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		ts.Fatalf("%s is no JSON: %v", args[0], err)
	}
	value, there := step(doc, path)
	got := fmt.Sprint(value)
	if f, ok := value.(float64); ok {
		got = strconv.FormatFloat(f, 'f', -1, 64)
	}
	same := there && (len(args) == 2 || got == strings.Join(args[2:], " "))
	if same == neg {
		ts.Fatalf("%s is %s (there: %v)", args[1], got, there)
	}
}

func step(v any, path []string) (any, bool) {
	if len(path) == 0 || path[0] == "" {
		return v, true
	}
	switch x := v.(type) {
	case map[string]any:
		for n := len(path); n > 0; n-- { // a key may contain dots: the longest one wins
			if next, ok := x[strings.Join(path[:n], ".")]; ok {
				return step(next, path[n:])
			}
		}
	case []any:
		if path[0] == "#" {
			return float64(len(x)), true
		}
		if i, err := strconv.Atoi(path[0]); err == nil && i >= 0 && i < len(x) {
			return step(x[i], path[1:])
		}
	}
	return nil, false
}
