package reconcile

import (
	"fmt"
	"strings"

	"github.com/holdfast-dr/holdfast/config"
)

// ScriptValues is what the placeholders of a script stand for.
type ScriptValues struct {
	BackupPlan, Run, Task            string
	Activity, Device, Domain, Action string // of a script around one task
	Status                           string
}

// Argv gives the program and its arguments with the placeholders filled in. Each argument stays one, whatever its value is; one that
// would be taken for an option because of its value is an error.
func (a ScriptArgs) Argv(v ScriptValues) ([]string, error) {
	values := map[string]string{
		config.PlaceBackupPlan: v.BackupPlan, config.PlaceRun: v.Run, config.PlaceTask: v.Task,
		config.PlaceActivity: v.Activity, config.PlaceDevice: v.Device, config.PlaceDomain: v.Domain, config.PlaceAction: v.Action,
		config.PlaceStatus: v.Status,
	}
	argv := make([]string, len(a.Command))
	for i, arg := range a.Command {
		argv[i] = config.FillPlaceholders(arg, values)
		if strings.HasPrefix(argv[i], "-") && !strings.HasPrefix(arg, "-") {
			return nil, fmt.Errorf("its argument %q became %q, which a program would take for an option", arg, argv[i])
		}
	}
	return argv, nil
}
