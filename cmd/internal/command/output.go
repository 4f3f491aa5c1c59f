package command

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"github.com/holdfast-dr/holdfast/cmd/internal/view"
)

// output is what a command prints on, and remembers that something could not be written: not everything that prints looks at that.
type output struct {
	to  io.Writer
	mu  sync.Mutex
	err error // the first
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.to.Write(b)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.err == nil {
			o.err = err
		}
	}
	return n, err
}

// Unwrap gives what is written to, which may be a terminal.
func (o *output) Unwrap() io.Writer { return o.to }

// lost is the error of the first thing that could not be written; nil also when the reader left, who knows.
func (o *output) lost() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if errors.Is(o.err, syscall.EPIPE) {
		return nil
	}
	return o.err
}

// unwritten says on standard error that the output is not whole, with the error of the command, which may have been part of it. It gives the
// exit code: whatever was to be done is done, and not all of it was shown.
func (c *Call) unwritten(err error, code int) int {
	lost := c.out.lost()
	if lost == nil {
		return code
	}
	if err != nil && err.Error() != "" && c.JSON && !errors.Is(err, lost) {
		fmt.Fprintln(c.Err, "Error: "+view.Clean(err.Error()))
	}
	if err == nil || err.Error() == "" || c.JSON || !errors.Is(err, lost) {
		fmt.Fprintf(c.Err, "Error: the output could not be written: %v\n", lost)
	}
	if code != ExitDone {
		return code
	}
	if c.working.Load() {
		fmt.Fprintln(c.Err, "The work was done all the same: holdfast history shows it.")
	}
	return ExitFault
}
