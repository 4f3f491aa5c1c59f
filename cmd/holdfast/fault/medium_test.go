package fault_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// medium is a directory seen through a file system of its own process, which fails when it is told to. In the test's process a
// server could be waited for by what it waits for.
type medium struct {
	t    *testing.T
	in   io.Writer
	out  *bufio.Reader
	path string // where it is mounted
}

// newMedium mounts a directory at a place.
func newMedium(t *testing.T, dir, at string) *medium {
	t.Helper()
	check(t, os.MkdirAll(at, 0o700))
	cmd := exec.Command("faultfs", dir, at)
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	cmd.Stderr = os.Stderr
	check(t, cmd.Start())
	m := &medium{t, in, bufio.NewReader(out), at}
	t.Cleanup(func() {
		_ = unix.Unmount(at, unix.MNT_DETACH)
		_ = in.Close()
		_ = cmd.Wait()
	})
	switch answer := m.read(); {
	case answer == "ready":
	case os.Getenv("CI") == "":
		t.Skipf("NOT TESTED: a file system cannot be mounted: %s", answer)
	default:
		t.Fatal(answer)
	}
	return m
}

func (m *medium) read() string {
	m.t.Helper()
	line, err := m.out.ReadString('\n')
	check(m.t, err)
	return strings.TrimSuffix(line, "\n")
}

func (m *medium) say(words ...any) string {
	m.t.Helper()
	_, err := fmt.Fprintln(m.in, words...)
	check(m.t, err)
	return m.read()
}

const always = 1 << 30

// fail lets calls of a kind (read, write, fsync or name) on paths that match fail with an error, after some that go well.
func (m *medium) fail(op string, with syscall.Errno, well, times int, paths string) {
	m.t.Helper()
	m.say("fail", op, int(with), well, times, paths)
}

// kill lets the process that makes such a call die of it, after some that go well: the call is not made.
func (m *medium) kill(op string, well int, paths string) { m.fail(op, 0, well, 1, paths) }

// heal ends all failures and tells how many there were.
func (m *medium) heal() int {
	m.t.Helper()
	n, err := strconv.Atoi(m.say("heal"))
	check(m.t, err)
	return n
}

// failure is one that was asked for.
type failure struct {
	op          string
	with        syscall.Errno // 0: the caller is killed
	well, times int
	paths       *regexp.Regexp
}

// serveMedium is the process of a medium.
func serveMedium() {
	if err := mediumMain(os.Args[1], os.Args[2]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func mediumMain(dir, at string) error {
	p, err := mountPassthrough(dir, at)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var failures []*failure
	hits := 0
	p.fails = func(op, path string) error {
		for _, f := range failures {
			if f.op != op || !f.paths.MatchString(path) {
				continue
			}
			if f.well > 0 {
				f.well--
			} else if f.times > 0 {
				f.times--
				hits++
				if f.with == 0 {
					_ = unix.Kill(p.asks, unix.SIGKILL)
					return unix.EINTR
				}
				return f.with
			}
		}
		return nil
	}
	ended := make(chan error, 1)
	go func() { ended <- p.serve(mu.Lock, mu.Unlock) }()
	fmt.Println("ready")
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		mu.Lock()
		words := strings.Fields(commands.Text())
		switch words[0] {
		case "fail":
			f := &failure{op: words[1], paths: regexp.MustCompile(words[5])}
			with, _ := strconv.Atoi(words[2]) // the test wrote it
			f.with = syscall.Errno(with)
			f.well, _ = strconv.Atoi(words[3])
			f.times, _ = strconv.Atoi(words[4])
			failures = append(failures, f)
			fmt.Println("ok")
		case "heal":
			fmt.Println(hits)
			failures, hits = nil, 0
		case "record":
			if p.synced, err = recorder(dir, words[1], words[2]); err != nil {
				return err
			}
			fmt.Println("ok")
		}
		mu.Unlock()
	}
	_ = unix.Unmount(at, unix.MNT_DETACH) // the test may have done it
	select {
	case err := <-ended:
		return err
	default:
		return nil
	}
}

// recorder keeps what a loss of power would leave of the files in a directory: of each its content as it was flushed last. Each flush makes two
// scenes, directories with a number: what was flushed before it with half of what was not, sector by sector; and what
// was flushed with it. A scene also has the directory beside as it is then.
func recorder(dir, scenes, beside string) (synced func(path string) error, err error) {
	durable := map[string][]byte{}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if durable[f.Name()], err = os.ReadFile(filepath.Join(dir, f.Name())); err != nil {
			return nil, err
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	n := 0
	scene := func(content func(name string) ([]byte, error)) error {
		n++
		at := filepath.Join(scenes, fmt.Sprintf("%04d", n))
		if err := os.MkdirAll(at, 0o700); err != nil {
			return err
		}
		for name := range durable {
			data, err := content(name)
			if err == nil {
				err = os.WriteFile(filepath.Join(at, name), data, 0o600)
			}
			if err != nil {
				return err
			}
		}
		return os.CopyFS(filepath.Join(at, filepath.Base(beside)), os.DirFS(beside))
	}
	return func(path string) error {
		err := scene(func(name string) ([]byte, error) {
			now, err := os.ReadFile(filepath.Join(dir, name))
			return torn(durable[name], now, random), err
		})
		if err == nil {
			durable[path], err = os.ReadFile(filepath.Join(dir, path))
		}
		if err == nil {
			err = scene(func(name string) ([]byte, error) { return durable[name], nil })
		}
		return err
	}, nil
}

// torn is a file of which some sectors were written and some were not.
func torn(before, now []byte, random *rand.Rand) []byte {
	const sector = 512
	out := bytes.Clone(before)
	if random.IntN(2) == 0 {
		out = append(out[:min(len(out), len(now))], make([]byte, max(0, len(now)-len(out)))...)
	}
	for at := 0; at < min(len(out), len(now)); at += sector {
		if random.IntN(2) == 0 {
			copy(out[at:min(at+sector, len(out))], now[at:])
		}
	}
	return out
}
