package process

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// pipes are the program's three streams. os/exec could copy them too, but it cuts a
// slow writer off after its delay, and gives a cut input a clean end.
type pipes struct {
	in, out, err *os.File // our ends; in is nil without input
	child        []*os.File
	patience     time.Duration
	ended        atomic.Bool
	copies       sync.WaitGroup
	outErr       error
	errErr       error
	inErr        error
}

func connect(cmd *exec.Cmd, stdin io.Reader, patience time.Duration) (*pipes, error) {
	p := &pipes{patience: patience}
	open := func(ours **os.File, write bool) (*os.File, error) {
		r, w, err := os.Pipe()
		if err != nil {
			p.close()
			return nil, err
		}
		if write {
			r, w = w, r
		}
		*ours = r
		p.child = append(p.child, w)
		return w, nil
	}
	var err error
	if stdin != nil {
		if cmd.Stdin, err = open(&p.in, true); err != nil {
			return nil, err
		}
	}
	if cmd.Stdout, err = open(&p.out, false); err != nil {
		return nil, err
	}
	if cmd.Stderr, err = open(&p.err, false); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *pipes) closeChildEnds() {
	for _, f := range p.child {
		f.Close()
	}
	p.child = nil
}

func (p *pipes) close() {
	p.closeChildEnds()
	for _, f := range []*os.File{p.in, p.out, p.err} {
		if f != nil {
			f.Close()
		}
	}
}

// pump starts copying. A stream that fails on our side ends the program through kill.
func (p *pipes) pump(out, stderr io.Writer, stdin io.Reader, kill context.CancelCauseFunc) {
	p.copies.Go(func() {
		if p.outErr = p.read(out, p.out); p.outErr != nil && !errors.Is(p.outErr, ErrOpenOutput) {
			kill(p.outErr)
		}
	})
	p.copies.Go(func() { p.errErr = p.read(stderr, p.err) })
	if stdin == nil {
		return
	}
	p.copies.Go(func() {
		from := &source{r: stdin}
		_, err := io.Copy(p.in, from)
		if from.err != nil {
			// The pipe stays open: the program must not take a cut input for the whole of it.
			p.inErr = from.err
			kill(from.err)
			return
		}
		if err = errors.Join(ignoreClosed(err), ignoreClosed(p.in.Close())); err != nil {
			p.inErr = err
			kill(err)
		}
	})
}

// source remembers the error of a reader, to tell it from the writer's.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// ignoreClosed drops the errors of a program that reads no more of its input: that is its right.
func ignoreClosed(err error) error {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// read copies until the end. Once the program ended, only waiting for data counts
// against the patience, not a slow writer.
func (p *pipes) read(to io.Writer, from *os.File) error {
	buf := make([]byte, 64<<10)
	for {
		if p.ended.Load() {
			_ = from.SetReadDeadline(time.Now().Add(p.patience))
		}
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return ErrOpenOutput
		case err != nil:
			return err
		}
	}
}

// drain ends the copies of a program that ended.
func (p *pipes) drain(ctx context.Context) error {
	p.ended.Store(true)
	patience := p.patience
	if ctx.Err() != nil {
		patience = 0
	}
	for _, f := range []*os.File{p.out, p.err} {
		_ = f.SetReadDeadline(time.Now().Add(patience))
	}
	if p.in != nil {
		p.in.Close()
	}
	p.copies.Wait()
	return errors.Join(p.inErr, p.outErr, p.errErr)
}
