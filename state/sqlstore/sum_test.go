package sqlstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
	"github.com/holdfast-dr/holdfast/state/statetest"
)

// worked makes a state in which there is a little of everything that decides what is done next.
func worked(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	s := statetest.Open(t, path)
	epoch := session(t, s)
	for i := range 12 {
		run := begin(t, s, fmt.Sprint("k", i), 3)
		for n := range 3 {
			if i > 0 { // its devices are locked
				break
			}
			c, err := s.Claim(t.Context(), epoch, fmt.Sprintf("%s.%d", run.ID, n+1), start)
			if err != nil {
				t.Fatal(err)
			}
			art := state.Artifact{
				ID: fmt.Sprintf("01ARTIFACT%d%d", i, n), Store: "store.nas", BackupPlan: "backup_plan.qa", Device: "device.QA1", Domain: "d", Action: "export_domain",
				Manifest: []byte(fmt.Sprintf(`{"id": "01ARTIFACT%d%d", "files": [{"name": "export.zip", "size": 12345}]}`, i, n)), State: state.ArtifactGood, Started: start,
			}
			for _, e := range []state.Entry{
				{Begin: &state.StepRun{Index: 0, Name: "capture", Class: state.Rerun, Input: []byte(`{"id": "x"}`)}, Duties: []state.Duty{{Name: "unquiesce d", Args: []byte(`{"device": "device.QA1"}`)}}, At: start},
				{End: &state.StepRun{Index: 0, State: state.StepDone, Output: []byte(`{"files_done": 1}`)}, Artifacts: []state.Artifact{art}, At: start},
			} {
				if err := s.Journal(t.Context(), c, e); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// told is everything that a state tells, or the error of it.
func told(ctx context.Context, path string) ([]byte, error) {
	s, err := sqlstore.Open(ctx, sqlstore.Options{Path: path, Existing: true})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = s.Snapshot(ctx)
	return b.Bytes(), errors.Join(err, s.Export(ctx, &b), s.Close())
}

// TestFlippedBits: no bit of a state can be another without an error or without being of no meaning. Two of three places are in what a
// column holds, the others anywhere in the file.
func TestFlippedBits(t *testing.T) {
	path := worked(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := told(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	flips, noticed, harmless := 120, 0, 0
	if testing.Short() {
		flips = 40
	}
	bad := filepath.Join(t.TempDir(), "bad.db")
	for i := range flips {
		at := random.IntN(len(whole))
		if i%3 > 0 {
			at = text(whole, random)
		}
		bit := byte(1) << random.IntN(8)
		damaged := bytes.Clone(whole)
		damaged[at] ^= bit
		if err := os.WriteFile(bad, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := told(t.Context(), bad)
		switch {
		case err != nil:
			noticed++
		case bytes.Equal(got, want):
			harmless++
		default:
			t.Errorf("seed %d: bit %#x of byte %d is another, and nothing says so", seed, bit, at)
		}
		for _, side := range []string{"", "-wal", "-shm", ".lock", ".reserve"} {
			_ = os.Remove(bad + side)
		}
	}
	t.Logf("%d bits: %d noticed, %d of no meaning", flips, noticed, harmless)
	if noticed < flips/10 { // most lie where they mean something; what is not noticed was told as before, every time
		t.Errorf("seed %d: only %d of %d were noticed", seed, noticed, flips)
	}
}

// text finds a byte that is part of some text.
func text(data []byte, random *rand.Rand) int {
	for {
		at := random.IntN(len(data) - 4)
		if !bytes.ContainsFunc(data[at:at+4], func(r rune) bool { return r < ' ' || r > '~' }) {
			return at
		}
	}
}

// TestDamageSaysWhatToDo: one bit of a role, an object or a journal is told with what to do, also while the state is open.
func TestDamageSaysWhatToDo(t *testing.T) {
	path := worked(t)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(data, []byte("export.zip"))
	data[at] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = told(t.Context(), path)
	if !errors.Is(err, state.ErrCorrupt) || !bytes.Contains([]byte(err.Error()), []byte("holdfast state restore FILE")) ||
		!bytes.Contains([]byte(err.Error()), []byte("store rescan")) {
		t.Errorf("got %v", err)
	}
}
