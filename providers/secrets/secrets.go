// Package secrets reads the values that secret blocks refer to, at the moment a
// step needs them, and blots them out of text that is kept. A value never
// appears in an error.
package secrets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/process"
)

const (
	maxSize     = 64 << 10 // of a value in bytes
	execTimeout = 30 * time.Second
)

// Source says where a value is. Exactly one field is set.
type Source struct {
	File string   `json:"file,omitempty"`
	Env  string   `json:"env,omitempty"`
	Exec []string `json:"exec,omitempty"`
}

// New gives a resolver: it finds the source of a reference with lookup and reads the value, less one final
// newline. An empty value is an error. Nothing is cached: a rotated secret is seen by the next call. What a value
// could not be read for is told in words only; see cause.
func New(lookup func(address string) (Source, error)) func(context.Context, providers.Secret) (string, error) {
	return func(ctx context.Context, ref providers.Secret) (string, error) {
		src, err := lookup(string(ref))
		if err != nil {
			return "", fmt.Errorf("find %s: %w", ref, err)
		}
		value, err := read(ctx, src)
		if err != nil {
			return "", fmt.Errorf("read %s: %w", ref, cause{err})
		}
		value = strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r")
		if value == "" {
			return "", fmt.Errorf("read %s: the value is empty", ref)
		}
		return value, nil
	}
}

// cause is why a value could not be read. Nothing but the end of a context matches it: whoever asked for a secret must not take its missing
// file for one of its own, or the failed program that gives it for the one it was for.
type cause struct{ err error }

func (c cause) Error() string { return c.err.Error() }

// Is matches the end of a context.
func (c cause) Is(target error) bool {
	return (target == context.Canceled || target == context.DeadlineExceeded) && errors.Is(c.err, target)
}

func read(ctx context.Context, src Source) (string, error) {
	set := 0
	for _, s := range []bool{src.File != "", src.Env != "", len(src.Exec) > 0} {
		if s {
			set++
		}
	}
	switch {
	case set != 1:
		return "", errors.New("exactly one of file, env and exec must be set")
	case src.File != "":
		return readFile(src.File)
	case src.Env != "":
		value, ok := os.LookupEnv(src.Env)
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", src.Env)
		}
		return value, nil
	}
	return readExec(ctx, src.Exec)
}

// readFile refuses what others may read: a secret that everybody has is none.
func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	switch {
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is no regular file", path)
	case info.Mode().Perm()&0o007 != 0:
		return "", fmt.Errorf("%s may be used by every user (mode %04o); run: chmod o= %s", path, info.Mode().Perm(), path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxSize {
		return "", fmt.Errorf("%s is larger than %d bytes", path, maxSize)
	}
	return string(b), nil
}

// readExec runs a command. What it prints to standard error is left out of the error, since nobody knows what it holds.
func readExec(ctx context.Context, argv []string) (string, error) {
	var out limited
	_, err := process.Run(ctx, process.Spec{Argv: argv, Stdout: &out, Timeout: execTimeout})
	var exit *process.ExitError
	switch {
	case errors.As(err, &exit):
		return "", fmt.Errorf("%s ended with exit code %d", argv[0], exit.Code)
	case err != nil:
		return "", err
	}
	return out.String(), nil
}

// limited takes no more than maxSize bytes.
type limited struct{ strings.Builder }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxSize {
		return 0, fmt.Errorf("the output is larger than %d bytes", maxSize)
	}
	return l.Builder.Write(p)
}
