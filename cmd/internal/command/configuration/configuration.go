// Package configuration is the work on the files of a configuration: the commands init, validate, fmt and schema. None of them
// contacts a device, store or target.
package configuration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/load"
)

// Commands are init, validate, fmt and schema.
func Commands(c *command.Call) []*cobra.Command {
	return []*cobra.Command{initCommand(c), validateCommand(c), fmtCommand(c), schemaCommand(c)}
}

func initCommand(c *command.Call) *cobra.Command {
	return &cobra.Command{
		Use:     "init",
		GroupID: command.SectionWork,
		Short:   "Make the state file and check the configuration",
		Long: `Make the state file, if there is none, and check the configuration. Running it
again changes nothing. No device, store or target is contacted.`,
		Example: "  holdfast init\n  holdfast init --repo https://git.example.net/continuity.git --state /var/lib/holdfast/state.db",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := c.App()
			if err != nil {
				return err
			}
			cfg, err := c.Load(cmd.Context(), a)
			if err != nil {
				return err
			}
			if !c.JSON {
				cfg.Warnings.WithSnippets(cfg.Doc.Sources)
				if err := view.Diagnostics(c.Err, cfg.Warnings, c.Style(c.Err)); err != nil {
					return err
				}
			}
			path := a.StatePath(cfg.Doc)
			before, statErr := os.Stat(path)
			st, err := a.OpenState(cmd.Context(), path, true)
			if err != nil {
				return err
			}
			defer st.Close()
			meta, err := st.Meta(cmd.Context())
			if err != nil {
				return err
			}
			created := errors.Is(statErr, fs.ErrNotExist) || statErr == nil && before.Size() == 0
			if c.JSON {
				return view.JSON(c.Out, map[string]any{"state": path, "created": created, "lineage": meta.Lineage, "objects": len(cfg.Doc.Objects())})
			}
			verb := "is there already"
			if created {
				verb = "was made"
			}
			fmt.Fprintf(c.Out, "State %s %s (lineage %s).\n", path, verb, meta.Lineage)
			fmt.Fprintf(c.Out, "The configuration is valid: %s. Next: holdfast plan\n", view.Count(len(cfg.Doc.Objects()), "object", "objects"))
			return nil
		},
	}
}

func validateCommand(c *command.Call) *cobra.Command {
	return &cobra.Command{
		Use:     "validate",
		GroupID: command.SectionWork,
		Short:   "Check the configuration, without state and without contacting anything",
		Example: "  holdfast validate\n  holdfast validate --json\n  holdfast validate --repo . --ref feature/windows",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := c.App()
			if err != nil {
				return err
			}
			cfg, diags, err := a.Load(cmd.Context())
			switch {
			case err == nil || errors.Is(err, app.ErrInvalid):
				diags.WithSnippets(cfg.Doc.Sources)
			case c.JSON: // a reader of the shape below gets it always
				diags = diag.List{{Severity: diag.Error, Code: "HF-CFG-000", Summary: "The configuration cannot be read", Detail: err.Error()}}
			default:
				return err
			}
			if c.JSON {
				if err := view.ValidateJSON(c.Out, diags); err != nil {
					return err
				}
			} else {
				if err := view.Diagnostics(c.Err, diags, c.Style(c.Err)); err != nil {
					return err
				}
				errs, warnings := diags.Count()
				if errs > 0 {
					fmt.Fprintf(c.Err, "%s, %s.\n", view.Count(errs, "error", "errors"), view.Count(warnings, "warning", "warnings"))
				} else {
					fmt.Fprintf(c.Out, "The configuration is valid: %s, %s.\n", view.Count(len(cfg.Doc.Objects()), "object", "objects"), view.Count(warnings, "warning", "warnings"))
				}
			}
			if diags.HasErrors() {
				return command.Exit(command.ExitFault, nil)
			}
			return nil
		},
	}
}

func schemaCommand(c *command.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "schema",
		GroupID: command.SectionLook,
		Short:   "Print the language: every block and argument",
		Long:    "Print the language reference as Markdown, or with --json the same table for editors and other programs.",
		Example: "  holdfast schema > reference.md\n  holdfast schema --json | jq -r '.blocks[].kind'",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a, err := c.App()
			if err != nil {
				return err
			}
			if c.JSON {
				_, err = c.Out.Write(load.Schema(a.Types()))
			} else {
				_, err = c.Out.Write(load.Reference(a.Types()))
			}
			return err
		},
	}
	return cmd
}
