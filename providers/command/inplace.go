package command

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/process"
	"github.com/holdfast-dr/holdfast/providers/scratch"
)

// replaceVariable tells restore_in_place whether it may replace what is there: yes or no.
const replaceVariable = "HOLDFAST_REPLACE"

// restoreVariable tells restore_in_place the name of the restore, which is the same when it is repeated.
const restoreVariable = "HOLDFAST_RESTORE"

// occupiedCode is how restore_in_place says that it may not, and that something is there.
const occupiedCode = 3

// canPut says why a domain cannot be restored into.
func canPut(settings any, _ providers.Action, domain string) error {
	s, ok := settings.(*Settings)
	if !ok || len(s.InPlace) == 0 {
		return fmt.Errorf("no restore_in_place is declared: %w", errors.ErrUnsupported)
	}
	return (&device{Settings: s}).has(domainOf(domain))
}

// inPlace gives the content to restore_in_place. It is put together in a temporary file first: a program that has begun to read
// cannot tell the end of damaged content from the end of all of it.
func (d *device) inPlace(ctx context.Context, req providers.RestoreRequest, content io.Reader) (err error) {
	if err := d.has(domainOf(req.Domain)); err != nil {
		return err
	}
	whole, err := scratch.File("")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, whole.Close()) }()
	if _, err := io.Copy(whole, &cancellable{ctx, content}); err != nil {
		return err
	}
	if _, err := whole.Seek(0, io.SeekStart); err != nil {
		return err
	}
	spec, err := d.spec(ctx, d.InPlace, req.Domain, "")
	if err != nil {
		return err
	}
	spec.Env[replaceVariable] = "no"
	if req.Replace {
		spec.Env[replaceVariable] = "yes"
	}
	spec.Env[restoreVariable] = req.ID
	spec.Stdin = whole
	_, err = process.Run(ctx, spec)
	var exit *process.ExitError
	if !req.Replace && errors.As(err, &exit) && exit.Code == occupiedCode {
		return &providers.Error{Op: "restore", Target: d.name, Err: fmt.Errorf("%w: %w", providers.ErrNotEmpty, err)}
	}
	return err
}

// Forget does nothing: what a program keeps to know a restore again is its own, and the next one takes its place.
func (d *device) Forget(context.Context, providers.RestoreRequest) error { return nil }

func domainOf(domain string) string {
	if domain == "" {
		return providers.AllDomains
	}
	return domain
}
