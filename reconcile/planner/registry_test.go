package planner_test

import (
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/all"
	"github.com/holdfast-dr/holdfast/providers/command"
	"github.com/holdfast-dr/holdfast/providers/files"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/symlink"
	"github.com/holdfast-dr/holdfast/providers/tree"
)

// registry has the providers that the tests use.
var registry = all.Types(&providers.Registry{
	Devices: []providers.DeviceType{files.DeviceType(), command.DeviceType()},
	Stores:  []providers.StoreType{plain.StoreType()},
	Targets: []providers.TargetType{symlink.TargetType(), command.TargetType()},
	Mirrors: []providers.MirrorType{tree.MirrorType()},
})
