package app

import (
	"context"
	"fmt"
	"io"
	"os"
)

// MaxSource is the most bytes of a file or pipe that is read whole: a file of configuration, of variables.
const MaxSource = 16 << 20

// ReadFile reads a file, which may be a pipe, of at most MaxSource bytes. It ends with ctx: who writes to a pipe may never come.
func ReadFile(ctx context.Context, path string) ([]byte, error) {
	return within(ctx, func() ([]byte, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readAll(f, path)
	})
}

// ReadAll reads what somebody writes to us, at most MaxSource bytes. It ends with ctx: the writer may never come to an end.
func ReadAll(ctx context.Context, in io.Reader, name string) ([]byte, error) {
	return within(ctx, func() ([]byte, error) { return readAll(in, name) })
}

func readAll(in io.Reader, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(in, MaxSource+1))
	if err == nil && len(data) > MaxSource {
		err = fmt.Errorf("%s is larger than %d MiB", name, MaxSource>>20)
	}
	return data, err
}

// within gives what read gives, or the cause of the end of ctx. A read that is left behind ends with the process.
func within(ctx context.Context, read func() ([]byte, error)) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := read()
		done <- result{data, err}
	}()
	select {
	case r := <-done:
		return r.data, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
