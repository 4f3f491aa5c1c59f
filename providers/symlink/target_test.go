package symlink_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/providertest"
	"github.com/holdfast-dr/holdfast/providers/symlink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a link and two directories in one place.
type site struct{ dir, link, berlin, dublin string }

func newSite(t *testing.T) site {
	t.Helper()
	dir := t.TempDir()
	s := site{dir, filepath.Join(dir, "current"), filepath.Join(dir, "berlin"), filepath.Join(dir, "dublin")}
	must(t, os.Mkdir(s.berlin, 0o755))
	must(t, os.Mkdir(s.dublin, 0o755))
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s site) open(t *testing.T) providers.Target {
	t.Helper()
	target, err := symlink.TargetType().Open(t.Context(), "docs", &symlink.Settings{Link: s.link},
		map[string]any{"berlin": &symlink.Member{Path: s.berlin}, "dublin": &symlink.Member{Path: s.dublin}}, providers.Env{})
	must(t, err)
	return target
}

// state is everything but the lock file, which holds nothing.
func (s site) state(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	names, err := os.ReadDir(s.dir)
	must(t, err)
	for _, e := range names {
		if strings.HasSuffix(e.Name(), ".lock") {
			continue
		}
		path := filepath.Join(s.dir, e.Name())
		all.WriteString(e.Type().String() + " " + e.Name())
		if to, err := os.Readlink(path); err == nil {
			all.WriteString(" -> " + to)
		}
		if e.Type().IsRegular() {
			b, err := os.ReadFile(path)
			must(t, err)
			all.Write(b)
		}
		all.WriteString("\n")
	}
	return all.String()
}

func TestTargetContract(t *testing.T) {
	providertest.Target(t, func(t *testing.T) providertest.TargetCase {
		s := newSite(t)
		return providertest.TargetCase{
			Open:    s.open,
			Members: []string{"berlin", "dublin"},
			Active: func() ([]string, error) {
				to, err := os.Readlink(s.link)
				return []string{filepath.Base(to)}, err
			},
			State: s.state,
			Serve: func(t *testing.T, member string) { must(t, os.Symlink(member, s.link)) }, // relative, as people write it
		}
	})
}

// TestActiveDirectoryIsGone: a link to nothing serves nobody, and that is no error of looking at it.
func TestActiveDirectoryIsGone(t *testing.T) {
	s := newSite(t)
	target := s.open(t)
	must(t, target.Switch(t.Context(), toBerlin(4)))
	if st, err := target.Observe(t.Context()); err != nil || st.Broken != "" {
		t.Errorf("a link to a directory: %+v, %v", st, err)
	}
	must(t, os.Remove(s.berlin))
	st, err := target.Observe(t.Context())
	if err != nil || st.Active != "berlin" || st.Epoch != 4 || !strings.Contains(st.Broken, s.berlin) {
		t.Errorf("a link to nothing: %+v, %v", st, err)
	}
	must(t, target.Switch(t.Context(), toDublin(5)))
}

func toDublin(epoch int64) providers.Move {
	return providers.Move{Failover: "failover.docs", From: "berlin", To: "dublin", Epoch: epoch}
}

func toBerlin(epoch int64) providers.Move {
	return providers.Move{Failover: "failover.docs", From: "dublin", To: "berlin", Epoch: epoch}
}

func TestCrashBetweenMarkerAndLink(t *testing.T) {
	for name, tc := range map[string]struct {
		then providers.Move
		want error
	}{
		"same move again":       {toDublin(5), nil},
		"newer move back":       {toBerlin(6), nil},
		"older move":            {toBerlin(4), providers.ErrStaleEpoch},
		"the epoch for another": {toBerlin(5), providers.ErrStaleEpoch},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			target := s.open(t)
			must(t, target.Switch(t.Context(), toBerlin(4)))
			must(t, target.Switch(t.Context(), toDublin(5)))
			must(t, os.Remove(s.link))
			must(t, os.Symlink(s.berlin, s.link))

			st, err := target.Observe(t.Context())
			must(t, err)
			if st.Active != "berlin" || st.Epoch != 4 {
				t.Errorf("a move that did not take place shows as %+v", st)
			}
			if err := target.Verify(t.Context(), toDublin(5)); err == nil {
				t.Error("Verify of a move that did not take place: no error")
			}
			err = target.Switch(t.Context(), tc.then)
			if !errors.Is(err, tc.want) {
				t.Fatalf("Switch by %+v: %v, want %v", tc.then, err, tc.want)
			}
			if tc.want != nil {
				return
			}
			if st, err := target.Observe(t.Context()); err != nil || st.Active != tc.then.To || st.Epoch != tc.then.Epoch {
				t.Errorf("after %+v: %+v, %v", tc.then, st, err)
			}
		})
	}
}

func TestWhatIsNoLinkOfOursStays(t *testing.T) {
	for name, tc := range map[string]struct {
		put  func(s site) error
		text string
	}{
		"file":            {func(s site) error { return os.WriteFile(s.link, []byte("precious"), 0o600) }, "no symbolic link"},
		"directory":       {func(s site) error { return os.Mkdir(s.link, 0o700) }, "no symbolic link"},
		"foreign link":    {func(s site) error { return os.Symlink("/etc", s.link) }, "/etc, which is no member's path"},
		"below a member":  {func(s site) error { return os.Symlink(s.berlin+"/sub", s.link) }, "no member's path"},
		"damaged marker":  {func(s site) error { return os.WriteFile(s.dir+"/.current.holdfast.json", []byte(`{"to":`), 0o600) }, "damaged"},
		"missing members": {func(s site) error { return errors.Join(os.Remove(s.berlin), os.Remove(s.dublin)) }, "not reachable"},
		"member is a file": {func(s site) error {
			return errors.Join(os.Remove(s.dublin), os.WriteFile(s.dublin, nil, 0o600))
		}, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			must(t, tc.put(s))
			before := s.state(t)
			err := s.open(t).Switch(t.Context(), toDublin(1))
			if err == nil || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error = %v, want %q", err, tc.text)
			}
			if after := s.state(t); after != before {
				t.Errorf("changed\nbefore:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

func TestObserveReadsALinkMadeByHand(t *testing.T) {
	s := newSite(t)
	must(t, os.Symlink("./dublin/", s.link))
	if st, err := s.open(t).Observe(t.Context()); err != nil || st.Active != "dublin" || st.Epoch != 0 {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestObserveWithoutTheLinksDirectory(t *testing.T) {
	s := newSite(t)
	target := s.open(t)
	must(t, os.RemoveAll(s.dir))
	if _, err := target.Observe(t.Context()); !errors.Is(err, providers.ErrUnavailable) {
		t.Errorf("error = %v", err)
	}
}

func TestLeftoversOfACrashAreReplaced(t *testing.T) {
	s := newSite(t)
	must(t, os.WriteFile(s.dir+"/.current.holdfast.json.new", []byte("half"), 0o600))
	must(t, os.Symlink("/etc", s.dir+"/.current.holdfast.link"))
	target := s.open(t)
	must(t, target.Switch(t.Context(), toDublin(1)))
	must(t, target.Verify(t.Context(), toDublin(1)))
	if st := s.state(t); strings.Contains(st, ".new") || strings.Contains(st, "/etc") {
		t.Errorf("left:\n%s", st)
	}
}

func TestSwitchesAtTheSameTime(t *testing.T) {
	s := newSite(t)
	var all sync.WaitGroup
	for epoch := range int64(30) {
		mv := toDublin(epoch + 1)
		if epoch%2 == 0 {
			mv = toBerlin(epoch + 1)
		}
		target := s.open(t)
		all.Go(func() {
			if err := target.Switch(t.Context(), mv); err != nil && !errors.Is(err, providers.ErrStaleEpoch) {
				t.Errorf("Switch by %+v: %v", mv, err)
			}
			if _, err := target.Observe(t.Context()); err != nil {
				t.Errorf("Observe: %v", err)
			}
		})
	}
	all.Wait()
	if st, err := s.open(t).Observe(t.Context()); err != nil || st.Active != "dublin" || st.Epoch != 30 {
		t.Errorf("the newest move lost: %+v, %v", st, err)
	}
}

func TestTargetSettings(t *testing.T) {
	for name, tc := range map[string]struct {
		link  string
		paths map[string]string
	}{
		"relative link":    {"current", map[string]string{"a": "/a", "b": "/b"}},
		"unclean link":     {"/srv/../current", map[string]string{"a": "/a", "b": "/b"}},
		"root":             {"/", map[string]string{"a": "/a", "b": "/b"}},
		"relative path":    {"/srv/current", map[string]string{"a": "a", "b": "/b"}},
		"same path":        {"/srv/current", map[string]string{"a": "/a", "b": "/a"}},
		"path is the link": {"/srv/current", map[string]string{"a": "/srv/current", "b": "/b"}},
		"through the link": {"/srv/current", map[string]string{"a": "/srv/current/a", "b": "/b"}},
	} {
		t.Run(name, func(t *testing.T) {
			members := map[string]any{}
			for m, path := range tc.paths {
				members[m] = &symlink.Member{Path: path}
			}
			if _, err := symlink.TargetType().Open(t.Context(), "docs", &symlink.Settings{Link: tc.link}, members, providers.Env{}); err == nil {
				t.Error("accepted")
			}
		})
	}
}
