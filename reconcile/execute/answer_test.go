package execute_test

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/state"
)

var errSilent = &providers.Error{Op: "commit", Target: "store.vault", Err: providers.ErrStoreNoAnswer}

// silent is a store whose server is gone while gone is set: what it was asked for last may still happen.
type silent struct {
	providers.Store
	gone   *bool
	staged bool // it falls silent when what was staged is read back
	happen bool // a commit happens all the same
}

func (s silent) Staged(ctx context.Context, id providers.ArtifactID, name string) (io.ReadCloser, error) {
	if *s.gone && s.staged {
		return nil, errSilent
	}
	return s.Store.Staged(ctx, id, name)
}

func (s silent) Commit(ctx context.Context, m providers.Manifest) (providers.Manifest, error) {
	if !*s.gone {
		return s.Store.Commit(ctx, m)
	}
	if s.happen {
		if _, err := s.Store.Commit(ctx, m); err != nil {
			return m, err
		}
	}
	return m, errSilent
}

func (s silent) Get(ctx context.Context, ref providers.ArtifactRef) (providers.Manifest, error) {
	if *s.gone {
		return providers.Manifest{}, errSilent
	}
	return s.Store.Get(ctx, ref)
}

func (s silent) Discard(ctx context.Context, id providers.ArtifactID) error {
	if *s.gone {
		return errSilent
	}
	return s.Store.Discard(ctx, id)
}

// A store that falls silent ends a task whose step can be made again. One that may still commit is left to a resume, which finds out: never
// is an artifact recorded that is not there, nor one made twice.
func TestSilentStore(t *testing.T) {
	for name, c := range map[string]struct {
		silent silent
		want   state.Status
		reason string
	}{
		"read back":       {silent{staged: true}, state.Failed, "FAILED_STORE_NO_ANSWER"},
		"commit":          {silent{}, state.Interrupted, "INTERRUPTED_STORE_NO_ANSWER"},
		"commit, happens": {silent{happen: true}, state.Interrupted, "INTERRUPTED_STORE_NO_ANSWER"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newRig(t)
			k.initialised()
			gone := true
			reg := *k.o.Registry
			reg.Stores = slices.Clone(reg.Stores)
			open := reg.Stores[0].Open
			reg.Stores[0].Open = func(ctx context.Context, name string, settings any, env providers.Env) (providers.Store, error) {
				s, err := open(ctx, name, settings, env)
				w := c.silent
				w.Store, w.gone = s, &gone
				return w, err
			}
			k.o.Registry = &reg
			p := k.plan(manual(k.backupTask("device.host", providers.AllDomains, "secure_backup", false)))
			res := k.apply(p)
			task := k.tasks(res.Runs[0].ID)[0]
			if task.Status != c.want || task.Reason != c.reason || !strings.Contains(task.Error, "no answer") {
				t.Fatalf("the task is %s %s: %s", task.Status, task.Reason, task.Error)
			}
			if res.Interrupted != (c.want == state.Interrupted) {
				t.Errorf("interrupted: %v", res.Interrupted)
			}
			if res.Stopped || len(res.Left) > 0 != res.Interrupted {
				t.Errorf("stopped: %v, left: %+v", res.Stopped, res.Left)
			}
			if res.Interrupted && (res.Left[0].Idle || res.Left[0].Task != task.ID || !strings.Contains(res.Left[0].Why, "no answer")) {
				t.Errorf("left: %+v", res.Left[0])
			}
			if c.want == state.Failed {
				return
			}
			// As long as the store is silent, asking again changes nothing.
			k.resume()
			if again := k.tasks(res.Runs[0].ID)[0]; again.Status != c.want || again.Reason != c.reason {
				t.Errorf("resumed in silence, the task is %s %s: %s", again.Status, again.Reason, again.Error)
			}
			gone = false
			k.resume()
			k.want(res.Runs[0].ID, "succeeded")
			if arts, _ := k.b.Artifacts(t.Context(), state.ArtifactFilter{}); len(arts) != 1 {
				t.Errorf("%d artifacts are recorded, want 1", len(arts))
			}
			k.clean(p, true)
		})
	}
}
