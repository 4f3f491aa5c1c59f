package providertest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
)

// quiesceWait bounds how long the suite waits for a state, quiesceAsked is the timeout it gives.
const (
	quiesceWait  = 30 * time.Second
	quiesceAsked = time.Minute
)

// quiesce holds a device to what package providers says of quiescing, for the whole device and for its first domain.
func (s DeviceSuite) quiesce(t *testing.T) {
	c := s.open(t)
	st, err := c.Device.DomainState(t.Context(), providers.AllDomains)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		t.Skip("the device tells no state")
	case err != nil:
		t.Fatalf("DomainState: %v", err)
	case st.Quiesce == providers.QuiesceImpossible:
		s.quiesceImpossible(t, c)
		return
	}
	info, err := c.Device.Inspect(t.Context())
	if err != nil {
		t.Fatalf("Inspect: %v", err)
	}
	scopes := []string{providers.AllDomains}
	if len(info.Domains) > 0 {
		scopes = append(scopes, info.Domains[0])
	}
	for _, scope := range scopes {
		t.Run(scope, func(t *testing.T) {
			t.Run("there and back", func(t *testing.T) { s.thereAndBack(t, scope) })
			t.Run("turned back", func(t *testing.T) { s.turnedBack(t, scope) })
			t.Run("cancelled", func(t *testing.T) { s.quiesceCancelled(t, scope) })
			t.Run("scope", func(t *testing.T) { s.scope(t, scope, info.Domains) })
		})
	}
	t.Run("no such domain", func(t *testing.T) {
		c := s.open(t)
		if err := c.Device.Quiesce(t.Context(), "no such domain", quiesceAsked); err == nil {
			t.Error("a domain that there is not was quiesced")
		}
		if err := c.Device.Unquiesce(t.Context(), "no such domain"); err == nil {
			t.Error("a domain that there is not was unquiesced")
		}
		if got := c.quiesceState(t, providers.AllDomains); got != providers.Normal {
			t.Errorf("the device is %s afterwards", got)
		}
	})
}

func (s DeviceSuite) quiesceImpossible(t *testing.T, c DeviceCase) {
	if err := c.Device.Quiesce(t.Context(), providers.AllDomains, 0); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Quiesce of a device without it: got %v, want ErrUnsupported", err)
	}
	if err := c.Device.Unquiesce(t.Context(), providers.AllDomains); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Unquiesce of a device without it: got %v, want ErrUnsupported", err)
	}
}

// thereAndBack asks everything twice, and captures what is quiesced.
func (s DeviceSuite) thereAndBack(t *testing.T, scope string) {
	c := s.open(t)
	if got := c.quiesceState(t, scope); got != providers.Normal {
		t.Fatalf("a new source is %s, not normal", got)
	}
	c.mustUnquiesce(t, scope)
	if got := c.quiesceState(t, scope); got != providers.Normal {
		t.Errorf("unquiesced when it was normal, it is %s", got)
	}
	c.mustQuiesce(t, scope)
	c.mustQuiesce(t, scope)
	c.await(t, scope, providers.Normal, providers.Quiescing, providers.Quiesced)
	c.mustQuiesce(t, scope)
	if got := c.quiesceState(t, scope); got != providers.Quiesced {
		t.Errorf("quiesced when it was quiesced, it is %s", got)
	}
	for _, req := range s.Requests {
		if scope == providers.AllDomains || req.Domain == scope {
			c.capture(t, req)
		}
	}
	if got := c.quiesceState(t, scope); got != providers.Quiesced {
		t.Errorf("a capture made it %s", got)
	}
	c.mustUnquiesce(t, scope)
	c.mustUnquiesce(t, scope)
	c.await(t, scope, providers.Quiesced, providers.Unquiescing, providers.Normal)
	c.mustUnquiesce(t, scope)
	if got := c.quiesceState(t, scope); got != providers.Normal {
		t.Errorf("unquiesced when it was normal again, it is %s", got)
	}
}

// turnedBack unquiesces a domain that is still on its way, as after a timeout.
func (s DeviceSuite) turnedBack(t *testing.T, scope string) {
	c := s.open(t)
	c.mustQuiesce(t, scope)
	c.mustUnquiesce(t, scope)
	c.await(t, scope, providers.Quiescing, providers.Quiesced, providers.Unquiescing, providers.Normal)
}

func (s DeviceSuite) quiesceCancelled(t *testing.T, scope string) {
	c := s.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Device.Quiesce(ctx, scope, quiesceAsked); !errors.Is(err, context.Canceled) {
		t.Errorf("Quiesce with a cancelled context: got %v, want context.Canceled", err)
	}
	if err := c.Device.Unquiesce(ctx, scope); !errors.Is(err, context.Canceled) {
		t.Errorf("Unquiesce with a cancelled context: got %v, want context.Canceled", err)
	}
	if _, err := c.Device.DomainState(ctx, scope); !errors.Is(err, context.Canceled) {
		t.Errorf("DomainState with a cancelled context: got %v, want context.Canceled", err)
	}
	if got := c.quiesceState(t, scope); got != providers.Normal {
		t.Errorf("cancelled calls made it %s", got)
	}
}

// scope compares a domain with the whole: a quiesced domain shows in the state
// of the device and in no other domain, and the whole can be unquiesced at once.
func (s DeviceSuite) scope(t *testing.T, scope string, domains []string) {
	c := s.open(t)
	c.mustQuiesce(t, scope)
	c.await(t, scope, providers.Normal, providers.Quiescing, providers.Quiesced)
	if got := c.quiesceState(t, providers.AllDomains); got == providers.Normal {
		t.Errorf("%s is quiesced, and the device normal", scope)
	}
	var quiesced []string
	for _, d := range domains {
		if c.quiesceState(t, d) != providers.Normal {
			quiesced = append(quiesced, d)
		}
	}
	switch {
	case scope != providers.AllDomains && !slices.Equal(quiesced, []string{scope}):
		t.Errorf("%s was quiesced, and %q are", scope, quiesced)
	case len(domains) > 0 && len(quiesced) == 0:
		t.Error("the device was quiesced, and all domains are normal")
	}
	c.mustUnquiesce(t, providers.AllDomains)
	c.await(t, providers.AllDomains, providers.Quiesced, providers.Unquiescing, providers.Normal)
	for _, d := range domains {
		if got := c.quiesceState(t, d); got != providers.Normal {
			t.Errorf("the device is normal again, and %s %s", d, got)
		}
	}
}

func (c DeviceCase) mustQuiesce(t *testing.T, domain string) {
	t.Helper()
	if err := c.Device.Quiesce(t.Context(), domain, quiesceAsked); err != nil {
		t.Fatalf("Quiesce of %s: %v", domain, err)
	}
}

func (c DeviceCase) mustUnquiesce(t *testing.T, domain string) {
	t.Helper()
	if err := c.Device.Unquiesce(t.Context(), domain); err != nil {
		t.Fatalf("Unquiesce of %s: %v", domain, err)
	}
}

func (c DeviceCase) quiesceState(t *testing.T, domain string) providers.QuiesceState {
	t.Helper()
	st, err := c.Device.DomainState(t.Context(), domain)
	if err != nil {
		t.Fatalf("DomainState of %s: %v", domain, err)
	}
	return st.Quiesce
}

// await polls until the last of the states. Before it only the others may be seen, in their order.
func (c DeviceCase) await(t *testing.T, domain string, states ...providers.QuiesceState) {
	t.Helper()
	end := time.NewTimer(quiesceWait)
	defer end.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	at := 0
	for {
		got := c.quiesceState(t, domain)
		next := slices.Index(states, got)
		switch {
		case next < at:
			t.Fatalf("%s is %s after %s; the way is %v", domain, got, states[at], states)
		case next == len(states)-1:
			return
		}
		at = next
		select {
		case <-end.C:
			t.Fatalf("%s is %s after %s", domain, got, quiesceWait)
		case <-tick.C:
		}
	}
}
