package command

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Signals gives a context that the first SIGINT, SIGTERM or SIGHUP (the terminal is gone) cancels; the second one ends that
// of Working. The function gives the signals back.
func (c *Call) Signals() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan os.Signal, 2)
	signal.Notify(got, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(got, syscall.SIGHUP)
	}
	done := make(chan struct{})
	go func() {
		select {
		case sig := <-got:
			c.signal.Store(ExitTerminated)
			if sig == os.Interrupt {
				c.signal.Store(ExitInterrupted)
			}
			if c.working.Load() && c.stream == nil {
				fmt.Fprintln(c.Err, "\nStopping: the step in flight ends, nothing new begins. Once more stops at once; either way holdfast apply --resume continues.")
			}
			cancel()
		case <-done:
			return
		}
		select {
		case <-got:
			c.cut()
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(got)
		close(done)
		cancel()
	}
}

// Working says that a plan is being executed from now on: a first signal is answered with words, and a reader of the output
// who leaves does not end the work. The context ends by the second signal: then the work stops at once.
func (c *Call) Working() context.Context {
	c.working.Store(true)
	signal.Ignore(syscall.SIGPIPE)
	return c.kill
}
