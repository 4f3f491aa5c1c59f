package record

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

func stateBackup(c *command.Call) *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE|DIRECTORY",
		Short: "Write a consistent copy of the state to a new file, also while work runs",
		Long: `Write a consistent copy of the state to a new file, also while work runs. In a
directory the file gets a name with the time, such as holdfast-20261120T060000Z.db.
A file that is there is never replaced.`,
		Example: "  holdfast state backup /safe/place\n  holdfast state backup /safe/place/before-upgrade.db",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.ReadState(cmd.Context(), func(a *app.App, st *sqlstore.Store) error {
				to := copyName(c, args[0], c.StatePath(cmd.Context(), a), a.Now())
				if err := st.Backup(cmd.Context(), c.File(to)); err != nil {
					return err
				}
				return c.Done(map[string]any{"file": to}, "The state was copied to %s.", to)
			})
		},
	}
}

// copyName is the file that a copy of the state goes to: in a directory, one with the name of the state and the time.
func copyName(c *command.Call, arg, statePath string, now time.Time) string {
	info, err := os.Stat(c.File(arg))
	if isDir := err == nil && info.IsDir(); !isDir && !strings.HasSuffix(arg, "/") {
		return arg
	}
	base := filepath.Base(statePath)
	ext := filepath.Ext(base)
	return filepath.Join(arg, strings.TrimSuffix(base, ext)+"-"+now.UTC().Format("20060102T150405Z")+ext)
}
