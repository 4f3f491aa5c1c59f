package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// stuck records, in holdfast.db, a run in attention of an object whose task keeps a lock: a device was left quiesced. Waiting for a device that
// does not come back takes minutes.
func stuck(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "stuck ADDRESS LOCK")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := sqlstore.Open(ctx, sqlstore.Options{Path: ts.MkAbs("holdfast.db")})
	ts.Check(err)
	defer s.Close()
	now := time.Now()
	session, err := s.OpenSession(ctx, state.Session{PID: os.Getpid(), Actor: "test", Started: now})
	ts.Check(err)
	key := fmt.Sprint(now.UnixNano())
	plan, err := json.Marshal(reconcile.Plan{Actions: []reconcile.Action{{Address: args[0], Kind: reconcile.ActionBackup, Tasks: []reconcile.Task{{Kind: "backup"}}}}})
	ts.Check(err)
	runs, err := s.Begin(ctx, state.StoredPlan{ID: key, Digest: key, Body: plan, CreatedAt: now, CreatedBy: "test"}, []state.NewRun{{
		Run:   state.Run{Address: args[0], Kind: "backup", Trigger: state.TriggerManual, TriggerKey: key, Actor: "test", CreatedAt: now},
		Tasks: []state.TaskRun{{Kind: "backup", Device: "device.q", Locks: []string{args[1]}}},
	}})
	ts.Check(err)
	c, err := s.Claim(ctx, session.Epoch, runs[0].ID+".1", now)
	ts.Check(err)
	ts.Check(s.Journal(ctx, c, state.Entry{
		Duties: []state.Duty{{Name: "unquiesce device.q all"}}, At: now,
		Finish: &state.TaskRun{Status: state.Attention, Reason: "FAILED_UNQUIESCE_TIMEOUT", Error: "it is still quiesced"},
	}))
	ts.Check(s.CloseSession(ctx, session.Epoch))
}
