package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile/store"
	"github.com/holdfast-dr/holdfast/state"
)

// Keeper gives what looks after stores. They are opened as recorded, or as declared while they are not recorded. Without a
// configuration doc is nil.
func (a *App) Keeper(doc *config.Document, snap *state.Snapshot, backend state.Backend) *store.Keeper {
	o := a.RecordedOpener(doc, snap)
	if doc != nil {
		recorded, declared := o.Lookup, a.opener(doc, snap).Lookup
		o.Lookup = func(address string) (providers.Spec, error) {
			if _, ok := snap.Objects[address]; ok {
				return recorded(address)
			}
			return declared(address)
		}
	}
	return &store.Keeper{Backend: backend, Opener: o, Now: a.Now, Actor: Actor()}
}

// DeclaredStore gives a store as the configuration declares it.
func DeclaredStore(cfg *Config, address string) (store.Declared, bool) {
	if cfg == nil {
		return store.Declared{Address: address}, false
	}
	s, ok := config.Lookup[*config.Store](cfg.Doc, config.Address(address))
	if !ok {
		return store.Declared{Address: address}, false
	}
	return store.Declared{Address: address, Spec: config.Spec(s), Commit: cfg.Info.Commit}, true
}

// BackupPlans gives the backup plans by address: as recorded, and as declared where the configuration has them. Without one cfg is nil.
func BackupPlans(cfg *Config, snap *state.Snapshot) map[string]config.BackupPlan {
	plans := map[string]config.BackupPlan{}
	for address, o := range snap.Objects {
		var bp config.BackupPlan
		if config.Address(address).Kind() == config.KindBackupPlan && json.Unmarshal(o.Spec, &bp) == nil {
			plans[address] = bp
		}
	}
	if cfg == nil {
		return plans
	}
	for _, o := range cfg.Doc.Objects() {
		if bp, ok := o.(*config.BackupPlan); ok {
			plans[string(bp.Address)] = *bp
		}
	}
	return plans
}

// Holding does a long edit under the apply lock, which is renewed until it ends. When the lock is lost all the same, the context ends.
func (a *App) Holding(ctx context.Context, backend state.Backend, operation string, do func(context.Context, state.Lock) error) (err error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	session, err := backend.OpenSession(ctx, state.Session{Host: host, PID: os.Getpid(), Actor: Actor(), Started: a.Now()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, backend.CloseSession(context.WithoutCancel(ctx), session.Epoch)) }()
	l, err := backend.AcquireLock(ctx, state.Lock{
		Name: state.ApplyLock, Session: session.Epoch, Actor: Actor(), Host: host, PID: os.Getpid(), Operation: operation,
		Acquired: a.Now(), Expires: a.Now().Add(lockLife),
	})
	if err != nil {
		return err
	}
	work, stop := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.renew(work, backend, l, stop)
	}()
	err = do(work, l)
	if cause := context.Cause(work); err != nil && cause != nil && ctx.Err() == nil {
		err = cause
	}
	stop(nil)
	<-ended
	return errors.Join(err, backend.ReleaseLock(context.WithoutCancel(ctx), l))
}

// renew moves the expiry of a lock until the context ends.
func (a *App) renew(ctx context.Context, backend state.Backend, l state.Lock, stop context.CancelCauseFunc) {
	tick := time.NewTicker(lockLife / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.Expires = a.Now().Add(lockLife)
		if err := backend.RenewLock(ctx, l); errors.Is(err, state.ErrFenced) {
			stop(fmt.Errorf("the apply lock was taken away: %w", err))
			return
		}
	}
}
