// Package git runs the git program where the library for git does not reach,
// so that nothing of what it works on can decide what it does.
//
// The program works in a scratch repository of ours, which has no hooks and
// nothing in its config; of the repository that is read it is told only the
// place of the objects. No config, attributes, remotes or hooks of that
// repository are read, nothing asks a question, nothing is fetched, and the
// environment has no GIT_ variable but ours. What it answers is bounded in
// size and time, and is not believed: whoever reads an object compares it with
// its id.
package git

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

const (
	patience   = 30 * time.Second // for one answer
	allocation = "512m"           // most memory the program takes for one object or the base of a delta
	maxAnswer  = 1 << 20          // bytes of an answer that is no object
	maxObject  = 64 << 20         // bytes of an object, if it should have grown after it was measured
)

// Objects are the objects of a repository, read by the git program.
type Objects struct {
	scratch string   // a bare repository of ours
	env     []string // of the program
	sizes   *talk    // with cat-file --batch-check
	bodies  *talk    // with cat-file --batch
}

// Open reads the objects in a folder such as /srv/config/.git/objects. It fails
// when there is no git program.
func Open(objects string) (*Objects, error) {
	program, err := exec.LookPath("git")
	if err != nil {
		return nil, errors.New("there is no git program on this machine")
	}
	scratch, err := os.MkdirTemp("", "holdfast-git-")
	if err != nil {
		return nil, err
	}
	o := &Objects{scratch: scratch, env: environment(objects)}
	err = errors.Join(
		os.WriteFile(filepath.Join(scratch, "HEAD"), []byte("ref: refs/heads/none\n"), 0o600),
		os.WriteFile(filepath.Join(scratch, "config"), []byte("[core]\n\trepositoryformatversion = 0\n\tbare = true\n"), 0o600),
		os.Mkdir(filepath.Join(scratch, "refs"), 0o700),
		os.Mkdir(filepath.Join(scratch, "objects"), 0o700),
	)
	if err == nil {
		o.sizes, err = start(o.command(context.Background(), program, "cat-file", "--batch-check"))
	}
	if err == nil {
		o.bodies, err = start(o.command(context.Background(), program, "cat-file", "--batch"))
	}
	if err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

// environment is all the program gets of the environment.
func environment(objects string) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=/nonexistent", "XDG_CONFIG_HOME=/nonexistent",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_ALLOW_PROTOCOL=none", "GIT_NO_LAZY_FETCH=1", "GIT_NO_REPLACE_OBJECTS=1", "GIT_OPTIONAL_LOCKS=0",
		"GIT_ALLOC_LIMIT=" + allocation, "GIT_OBJECT_DIRECTORY=" + objects,
	}
}

func (o *Objects) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, append([]string{"--git-dir=" + o.scratch}, args...)...)
	cmd.Dir, cmd.Env = o.scratch, o.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is for us
	return cmd
}

// Close ends the programs and removes the scratch repository.
func (o *Objects) Close() error {
	for _, t := range []*talk{o.sizes, o.bodies} {
		if t != nil {
			t.end()
		}
	}
	return os.RemoveAll(o.scratch)
}

// EncodedObjectSize gives the size of an object, or plumbing.ErrObjectNotFound.
func (o *Objects) EncodedObjectSize(id plumbing.Hash) (int64, error) {
	_, size, err := o.sizes.ask(id)
	return size, err
}

// EncodedObject gives an object. Ask for its size first: it is held in memory.
func (o *Objects) EncodedObject(_ plumbing.ObjectType, id plumbing.Hash) (plumbing.EncodedObject, error) {
	kind, size, err := o.bodies.ask(id)
	if err != nil {
		return nil, err
	}
	if size > maxObject {
		return nil, o.bodies.broken(fmt.Errorf("object %s has %d bytes", id, size))
	}
	var body plumbing.MemoryObject
	body.SetType(kind)
	if _, err := io.CopyN(&body, o.bodies.from, size); err != nil {
		return nil, o.bodies.broken(err)
	}
	if _, err := o.bodies.from.Discard(1); err != nil { // the line end after it
		return nil, o.bodies.broken(err)
	}
	return &body, nil
}

// HashesWithPrefix gives the ids that start with some bytes, two or more.
func (o *Objects) HashesWithPrefix(prefix []byte) ([]plumbing.Hash, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := o.command(ctx, o.bodies.cmd.Path, "rev-parse", "--disambiguate="+hex.EncodeToString(prefix))
	var out bytes.Buffer
	cmd.Stdout = &bounded{to: &out, left: maxAnswer}
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("git rev-parse: %w", err)
	}
	var ids []plumbing.Hash
	for line := range strings.FieldsSeq(out.String()) {
		ids = append(ids, plumbing.NewHash(line))
	}
	return ids, nil
}

// bounded refuses more than so many bytes.
type bounded struct {
	to   io.Writer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("it says too much")
	}
	return b.to.Write(p)
}

// talk is a conversation with a program that answers one line with one object.
type talk struct {
	cmd    *exec.Cmd
	to     io.WriteCloser
	pipe   *os.File
	from   *bufio.Reader
	stderr *head
}

func start(cmd *exec.Cmd) (*talk, error) {
	t := &talk{cmd: cmd, stderr: &head{}}
	cmd.Stderr = t.stderr
	out, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer write.Close()
	cmd.Stdout, t.pipe, t.from = write, out, bufio.NewReader(out)
	if t.to, err = cmd.StdinPipe(); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return t, nil
}

// ask sends an id and reads the line before the content.
func (t *talk) ask(id plumbing.Hash) (kind plumbing.ObjectType, size int64, err error) {
	if err := t.pipe.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Fprintln(t.to, id); err != nil {
		return 0, 0, t.broken(err)
	}
	line, err := t.from.ReadSlice('\n')
	if err != nil {
		return 0, 0, t.broken(err)
	}
	fields := strings.Fields(string(line))
	switch {
	case len(fields) == 2 && fields[0] == id.String() && fields[1] == "missing":
		return 0, 0, plumbing.ErrObjectNotFound
	case len(fields) != 3 || fields[0] != id.String():
		return 0, 0, t.broken(errors.New("an answer that is not understood"))
	}
	if kind, err = plumbing.ParseObjectType(fields[1]); err != nil {
		return 0, 0, t.broken(err)
	}
	if _, err := fmt.Sscan(fields[2], &size); err != nil || size < 0 {
		return 0, 0, t.broken(errors.New("a size that is not understood"))
	}
	return kind, size, nil
}

// broken ends a conversation that cannot go on, and says what the program said.
func (t *talk) broken(err error) error {
	t.end()
	if said := strings.TrimSpace(t.stderr.String()); said != "" {
		return fmt.Errorf("git: %s", said)
	}
	return fmt.Errorf("git: %w", err)
}

// end ends the program; it may have ended before. What it says to that has no news.
func (t *talk) end() {
	_ = t.to.Close()
	_ = t.cmd.Process.Kill()
	_ = t.cmd.Wait()
	_ = t.pipe.Close()
}

// head keeps the beginning of what a program says.
type head struct{ buf []byte }

func (h *head) Write(p []byte) (int, error) {
	h.buf = append(h.buf, p[:min(len(p), 1024-len(h.buf))]...)
	return len(p), nil
}

func (h *head) String() string { return string(h.buf) }
