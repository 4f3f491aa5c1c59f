package observe

import (
	"context"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
)

// Device looks at one device. What goes wrong is in the answer.
func Device(ctx context.Context, opener *providers.Opener, address string, at time.Time) reconcile.DeviceSeen {
	return device(ctx, opener, address, reconcile.Seen{At: at})
}

// Store looks at one store. What goes wrong is in the answer.
func Store(ctx context.Context, opener *providers.Opener, address string, at time.Time) reconcile.StoreSeen {
	return store(ctx, opener, address, reconcile.Seen{At: at})
}
