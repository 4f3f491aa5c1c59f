package execute

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

const (
	lockExpiry     = time.Minute
	lockHeartbeat  = 10 * time.Second
	journalTimeout = 30 * time.Second
)

// Reasons why work ends early, as causes of contexts.
var (
	errStopped = errors.New("stopped by a signal")
	errLost    = errors.New("a lock was lost to another process")
)

// life is one session: one pass of one process over some plans.
//
//	journal  written to until the very end
//	base     effects that must not be cut short; ends when killed, before Kill's cancel returns, or when a lock was lost
//	 +- soft  effects that may be repeated; ends with a friendly stop, too
type life struct {
	*Executor
	session state.Session

	journal context.Context
	base    context.Context
	soft    context.Context
	stop    func(error) // ends soft
	kill    context.CancelCauseFunc
	held    []func() // give locks back
	cleanup func()
	beats   sync.WaitGroup
}

// open starts a session. What sessions of dead processes held is free from then on.
func (x *Executor) open(ctx context.Context) (*life, error) {
	session, err := x.o.Backend.OpenSession(ctx, state.Session{Host: host(), PID: os.Getpid(), Actor: x.o.Actor, Started: x.o.Now()})
	if err != nil {
		return nil, fmt.Errorf("open a session: %w", err)
	}
	l := &life{Executor: x, session: session}
	var end context.CancelFunc
	l.journal, end = context.WithCancel(context.WithoutCancel(ctx))
	l.base, l.kill = context.WithCancelCause(x.o.Kill)
	soft, cancel := context.WithCancelCause(l.base)
	l.soft, l.stop = soft, cancel
	unhook := context.AfterFunc(ctx, func() { cancel(errStopped) })
	l.cleanup = func() { unhook(); l.kill(nil); l.beats.Wait(); end() }
	return l, nil
}

func (l *life) close() error {
	defer l.cleanup()
	for _, release := range l.held {
		release()
	}
	ctx, cancel := context.WithTimeout(l.journal, journalTimeout)
	defer cancel()
	err := l.o.Backend.CloseSession(ctx, l.session.Epoch)
	if err != nil {
		return fmt.Errorf("close the session: %w", err)
	}
	return nil
}

// stopping reports whether nothing new may begin.
func (l *life) stopping() bool { return l.soft.Err() != nil }

// hold takes a lock and keeps it alive until release is called. Losing it ends all work.
func (l *life) hold(name, operation string) (lock state.Lock, release func(), err error) {
	now := l.o.Now()
	lock, err = l.o.Backend.AcquireLock(l.base, state.Lock{
		Name: name, Session: l.session.Epoch, Actor: l.o.Actor, Host: l.session.Host, PID: l.session.PID,
		Operation: operation, Acquired: now, Expires: now.Add(lockExpiry),
	})
	if err != nil {
		return lock, nil, err
	}
	quit := make(chan struct{})
	l.beats.Go(func() { l.beat(lock, quit) })
	release = sync.OnceFunc(func() {
		close(quit)
		ctx, cancel := context.WithTimeout(l.journal, journalTimeout)
		defer cancel()
		_ = l.o.Backend.ReleaseLock(ctx, lock) // not released, it ends with the session
	})
	l.held = append(l.held, release)
	return lock, release, nil
}

func (l *life) beat(lock state.Lock, quit <-chan struct{}) {
	t := time.NewTicker(lockHeartbeat)
	defer t.Stop()
	for renewed := time.Now(); ; {
		select {
		case <-quit:
			return
		case <-l.base.Done():
			return
		case <-t.C:
		}
		lock.Expires = l.o.Now().Add(lockExpiry)
		err := l.o.Backend.RenewLock(l.base, lock)
		switch {
		case err == nil:
			renewed = time.Now()
		case errors.Is(err, state.ErrFenced), time.Since(renewed) > lockExpiry-lockHeartbeat:
			l.kill(fmt.Errorf("%w: %s: %w", errLost, lock.Name, err))
			return
		}
	}
}
