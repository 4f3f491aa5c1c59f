// Package symlink switches the failover targets of type "files": one symbolic link leads clients to the directory of the
// active member. It reads and writes nothing behind the link, and shares only its type's name with the device of package files.
package symlink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
)

// Settings are the arguments of a failover target of type "files".
type Settings struct {
	Link string `hcl:"link" json:"link" doc:"Absolute path of the symbolic link through which clients reach the active directory. It is replaced in one step; anything else there is never touched."`
}

// Member are the arguments of one member.
type Member struct {
	Path string `hcl:"path" json:"path" doc:"Absolute path of the member's directory."`
}

// Check reports what is wrong with the settings.
func (s *Settings) Check(report func(path, problem string)) {
	checkAbsolute(report, "link", s.Link)
}

// Check reports what is wrong with a member's settings.
func (m *Member) Check(report func(path, problem string)) {
	checkAbsolute(report, "path", m.Path)
}

func checkAbsolute(report func(path, problem string), at, path string) {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" || strings.ContainsRune(path, 0) {
		report(at, fmt.Sprintf("The path %q must be absolute, without \"..\", doubled or final slashes.", path))
	}
}

// TargetType describes the failover target type "files".
func TargetType() providers.TargetType {
	return providers.TargetType{
		Type:     "files",
		Doc:      "A symbolic link that leads clients to one of several directories. It cannot freeze: stop writers with a target that can, such as a service.",
		Settings: func() any { return new(Settings) },
		Member:   func() any { return new(Member) },
		Open:     open,
	}
}

// target moves a link. A marker beside it holds the epoch of the last move.
// The marker is written first and the link replaced after it, both durably:
//
//	link at the old member, marker of the old move   nothing happened
//	link at the old member, marker of the new move   crashed in between: not done, the epoch shown is the old one
//	link at the new member, marker of the new move   done
//
// From the second state the same move or one with a higher epoch goes on; a lower one is refused.
type target struct {
	name   string
	link   string
	paths  map[string]string // by member
	byPath map[string]string
}

var _ providers.Target = (*target)(nil)

func open(_ context.Context, name string, settings any, members map[string]any, _ providers.Env) (providers.Target, error) {
	s, ok := settings.(*Settings)
	if !ok {
		return nil, fmt.Errorf("open failover target %s: settings are %T, not those of a files target", name, settings)
	}
	t := &target{name: name, link: s.Link, paths: map[string]string{}, byPath: map[string]string{}}
	var problems []error
	report := func(path, problem string) { problems = append(problems, fmt.Errorf("%s: %s", path, problem)) }
	s.Check(report)
	for _, member := range slices.Sorted(maps.Keys(members)) {
		m, ok := members[member].(*Member)
		if !ok {
			report("member."+member, fmt.Sprintf("settings are %T, not those of a files target's member", members[member]))
			continue
		}
		m.Check(func(path, problem string) { report("member."+member+"."+path, problem) })
		if other, twice := t.byPath[m.Path]; twice {
			report("member."+member+".path", fmt.Sprintf("member %s has the same path", other))
		}
		if m.Path == s.Link || strings.HasPrefix(m.Path, s.Link+"/") {
			report("member."+member+".path", "leads through the link itself")
		}
		t.paths[member], t.byPath[m.Path] = m.Path, member
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("open failover target %s: %w", name, errors.Join(problems...))
	}
	return t, nil
}

func (t *target) Close() error { return nil }

// marker is the file beside the link.
type marker struct {
	Failover string `json:"failover"`
	To       string `json:"to"`
	Epoch    int64  `json:"epoch"`
	Before   *point `json:"before,omitempty"` // what was true when the move began
}

// point is a member and the epoch it became active with.
type point struct {
	Active string `json:"active"`
	Epoch  int64  `json:"epoch"`
}

// epoch is that of the active member: a move whose link was not replaced did not take place.
func (m *marker) epoch(active string) int64 {
	switch {
	case m == nil || active == "":
		return 0
	case m.To == active:
		return m.Epoch
	case m.Before != nil && m.Before.Active == active:
		return m.Before.Epoch
	}
	return 0
}

func (t *target) file(suffix string) string {
	return filepath.Join(filepath.Dir(t.link), "."+filepath.Base(t.link)+".holdfast"+suffix)
}

func (t *target) markerPath() string { return t.file(".json") }

func (t *target) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	var known *providers.Error
	if errors.As(err, &known) {
		return err
	}
	return &providers.Error{Op: op, Target: t.name, Err: err}
}

func (t *target) Observe(ctx context.Context) (providers.TargetState, error) {
	if err := ctx.Err(); err != nil {
		return providers.TargetState{}, t.wrap("observe", err)
	}
	st, _, err := t.read()
	return st, t.wrap("observe", err)
}

// read gives what the link and the marker show together.
func (t *target) read() (providers.TargetState, *marker, error) {
	for {
		before, err := t.readMarker()
		if err != nil {
			return providers.TargetState{}, nil, err
		}
		active, err := t.active()
		if err != nil {
			return providers.TargetState{}, nil, err
		}
		// A move between the two readings would mix them up.
		after, err := t.readMarker()
		if err != nil {
			return providers.TargetState{}, nil, err
		}
		if same(before, after) {
			st := providers.TargetState{Active: active, Epoch: after.epoch(active)}
			if _, err := t.usable(active); active != "" && err != nil {
				st.Broken = err.Error()
			}
			return st, after, nil
		}
	}
}

func same(a, b *marker) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Failover == b.Failover && a.To == b.To && a.Epoch == b.Epoch
}

// active is the member the link leads to; empty without a link.
func (t *target) active() (string, error) {
	to, err := os.Readlink(t.link)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(t.link)); err != nil {
			return "", fmt.Errorf("%w: %w", providers.ErrUnavailable, err)
		}
		return "", nil
	case errors.Is(err, unix.EINVAL):
		return "", &providers.Error{
			Op: "read", Target: t.link, Err: errors.New("is no symbolic link"),
			Hint: "Move what is there away by hand; it is never replaced.",
		}
	case err != nil:
		return "", fmt.Errorf("%w: %w", providers.ErrUnavailable, err)
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(t.link), to)
	}
	member, ok := t.byPath[filepath.Clean(to)]
	if !ok {
		return "", &providers.Error{
			Op: "read", Target: t.link, Err: fmt.Errorf("leads to %s, which is no member's path", to),
			Hint: "Add that directory as a member, or let the link lead to one.",
		}
	}
	return member, nil
}

func (t *target) readMarker() (*marker, error) {
	b, err := os.ReadFile(t.markerPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := &marker{}
	if err := json.Unmarshal(b, m); err != nil || m.To == "" || m.Epoch < 0 {
		return nil, &providers.Error{
			Op: "read", Target: t.markerPath(), Err: errors.New("is damaged"),
			Hint: "Its epoch keeps outdated moves away. Compare with the recorded epoch, then remove the file by hand.",
		}
	}
	return m, nil
}

// Freeze is unsupported: a link cannot stop those who already opened files behind it.
func (t *target) Freeze(context.Context, providers.Move) error { return errors.ErrUnsupported }

// Unfreeze is unsupported, as Freeze is.
func (t *target) Unfreeze(context.Context, providers.Move) error { return errors.ErrUnsupported }

func (t *target) Switch(ctx context.Context, mv providers.Move) error {
	return t.wrap("switch", t.change(ctx, mv))
}

func (t *target) change(ctx context.Context, mv providers.Move) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	path, err := t.usable(mv.To)
	if err != nil {
		return err
	}
	unlock, err := t.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	st, m, err := t.read()
	if err != nil {
		return err
	}
	if err := m.admits(mv); err != nil {
		return err
	}
	if st.Active == mv.To && st.Epoch == mv.Epoch && m != nil {
		return nil
	}
	next := &marker{Failover: mv.Failover, To: mv.To, Epoch: mv.Epoch}
	if st.Active != "" && st.Active != mv.To {
		next.Before = &point{Active: st.Active, Epoch: st.Epoch}
	}
	if err := t.writeMarker(next); err != nil || st.Active == mv.To { // then it was made by hand, or before the marker was lost
		return err
	}
	return t.relink(path)
}

// admits refuses a move that the marker outdates, and a second use of one epoch.
func (m *marker) admits(mv providers.Move) error {
	if m == nil || m.Epoch < mv.Epoch || m.Epoch == mv.Epoch && m.To == mv.To {
		return nil
	}
	return &providers.Error{
		Op: "switch", Target: mv.Failover, Err: fmt.Errorf("%w: %d to %s, this move has %d", providers.ErrStaleEpoch, m.Epoch, m.To, mv.Epoch),
		Hint: "A move took place that this state does not know; adopt it first.",
	}
}

// usable gives the path of a member whose directory is there and can be read.
func (t *target) usable(member string) (string, error) {
	path, ok := t.paths[member]
	if !ok {
		return "", fmt.Errorf("member %q: %w", member, providers.ErrNotFound)
	}
	i, err := os.Stat(path)
	if err == nil && !i.IsDir() {
		err = &fs.PathError{Op: "open", Path: path, Err: unix.ENOTDIR}
	}
	if err == nil {
		err = unix.Access(path, unix.R_OK|unix.X_OK)
	}
	if err != nil {
		return "", fmt.Errorf("member %s: %w: %w", member, providers.ErrUnavailable, err)
	}
	return path, nil
}

// lock keeps other processes on this machine from moving the link at the same time.
func (t *target) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(t.file(".lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() {
				// Given back before it is closed: a program that another task is just starting holds a copy of the
				// descriptor until it runs.
				_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
				f.Close()
			}, nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		}
		wait := time.NewTimer(20 * time.Millisecond)
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil, errors.Join(context.Cause(ctx), f.Close())
		case <-wait.C:
		}
	}
}

func (t *target) writeMarker(m *marker) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	temp := t.file(".json.new")
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(temp, t.markerPath())
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return t.syncDir()
}

func (t *target) relink(path string) error {
	temp := t.file(".link")
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(path, temp); err != nil {
		return err
	}
	if err := os.Rename(temp, t.link); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return t.syncDir()
}

func (t *target) syncDir() error {
	d, err := os.Open(filepath.Dir(t.link))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (t *target) Verify(ctx context.Context, mv providers.Move) error {
	return t.wrap("verify", t.verify(ctx, mv))
}

func (t *target) verify(ctx context.Context, mv providers.Move) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	path, err := t.usable(mv.To)
	if err != nil {
		return err
	}
	st, _, err := t.read()
	if err != nil {
		return err
	}
	if st.Active != mv.To || st.Epoch != mv.Epoch {
		return fmt.Errorf("%s should be active with epoch %d, the link shows %q with epoch %d", mv.To, mv.Epoch, st.Active, st.Epoch)
	}
	want, err := os.Stat(path)
	if err != nil {
		return err
	}
	got, err := os.Stat(t.link)
	if err != nil {
		return err
	}
	if !os.SameFile(got, want) {
		return fmt.Errorf("%s does not lead to the directory %s", t.link, path)
	}
	d, err := os.Open(t.link)
	if err != nil {
		return err
	}
	_, err = d.Readdirnames(1)
	if err = errors.Join(err, d.Close()); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
