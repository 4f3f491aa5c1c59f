// Package all lists the providers of this version.
package all

import (
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/command"
	"github.com/holdfast-dr/holdfast/providers/files"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/postgresql"
	"github.com/holdfast-dr/holdfast/providers/sqlite"
	"github.com/holdfast-dr/holdfast/providers/symlink"
	"github.com/holdfast-dr/holdfast/providers/tree"
)

// Registry gives every provider.
func Registry() *providers.Registry {
	return &providers.Registry{
		Devices: []providers.DeviceType{files.DeviceType(), sqlite.DeviceType(), postgresql.DeviceType(), command.DeviceType()},
		Stores:  []providers.StoreType{plain.StoreType()},
		Targets: []providers.TargetType{symlink.TargetType(), command.TargetType()},
		Mirrors: []providers.MirrorType{tree.MirrorType()},
	}
}
