package command

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/load"
)

func (c *cli) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "init",
		GroupID: "work",
		Short:   "Make the state file and check the configuration",
		Long: `Make the state file, if there is none, and check the configuration. Running it
again changes nothing. No device, store or target is contacted.`,
		Example: "  holdfast init\n  holdfast init --repo https://git.example.net/continuity.git --state /var/lib/holdfast/state.db",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := c.app()
			if err != nil {
				return err
			}
			cfg, err := c.load(cmd.Context(), a)
			if err != nil {
				return err
			}
			if !c.json {
				cfg.Warnings.WithSnippets(cfg.Doc.Sources)
				if err := view.Diagnostics(c.err, cfg.Warnings, c.style(c.err)); err != nil {
					return err
				}
			}
			path := a.StatePath(cfg.Doc)
			_, statErr := os.Stat(path)
			st, err := a.OpenState(cmd.Context(), path, true)
			if err != nil {
				return err
			}
			defer st.Close()
			meta, err := st.Meta(cmd.Context())
			if err != nil {
				return err
			}
			created := errors.Is(statErr, fs.ErrNotExist)
			if c.json {
				return view.JSON(c.out, map[string]any{"state": path, "created": created, "lineage": meta.Lineage, "objects": len(cfg.Doc.Objects())})
			}
			verb := "is there already"
			if created {
				verb = "was made"
			}
			fmt.Fprintf(c.out, "State %s %s (lineage %s).\n", path, verb, meta.Lineage)
			fmt.Fprintf(c.out, "The configuration is valid: %s. Next: holdfast plan\n", view.Count(len(cfg.Doc.Objects()), "object", "objects"))
			return nil
		},
	}
}

func (c *cli) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "validate",
		GroupID: "work",
		Short:   "Check the configuration, without state and without contacting anything",
		Example: "  holdfast validate\n  holdfast validate --json\n  holdfast validate --repo . --ref feature/windows",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := c.app()
			if err != nil {
				return err
			}
			cfg, diags, err := a.Load(cmd.Context())
			switch {
			case err == nil || errors.Is(err, app.ErrInvalid):
				diags.WithSnippets(cfg.Doc.Sources)
			case c.json: // a reader of the shape below gets it always
				diags = diag.List{{Severity: diag.Error, Code: "HF-CFG-000", Summary: "The configuration cannot be read", Detail: err.Error()}}
			default:
				return err
			}
			if c.json {
				if err := view.ValidateJSON(c.out, diags); err != nil {
					return err
				}
			} else {
				if err := view.Diagnostics(c.err, diags, c.style(c.err)); err != nil {
					return err
				}
				errs, warnings := diags.Count()
				if errs > 0 {
					fmt.Fprintf(c.err, "%s, %s.\n", view.Count(errs, "error", "errors"), view.Count(warnings, "warning", "warnings"))
				} else {
					fmt.Fprintf(c.out, "The configuration is valid: %s, %s.\n", view.Count(len(cfg.Doc.Objects()), "object", "objects"), view.Count(warnings, "warning", "warnings"))
				}
			}
			if diags.HasErrors() {
				return exit(exitFault)
			}
			return nil
		},
	}
}

func (c *cli) fmtCommand() *cobra.Command {
	var check, recursive bool
	cmd := &cobra.Command{
		Use:     "fmt [FILE or DIRECTORY ...]",
		GroupID: "work",
		Short:   "Rewrite configuration files in the canonical style",
		Long: `Rewrite *.hold.hcl and *.holdvars.hcl files in the canonical style: spacing and
alignment only, nothing is reordered. "-" formats standard input to standard output.`,
		Example: "  holdfast fmt\n  holdfast fmt --check --recursive\n  holdfast fmt - < plan.hold.hcl",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "-" {
				return c.formatStdin(cmd.InOrStdin())
			}
			if len(args) == 0 {
				args = []string{"."}
			}
			var files []string
			for _, arg := range args {
				found, err := configFiles(c.file(arg), recursive)
				if err != nil {
					return err
				}
				files = append(files, found...)
			}
			changed := 0
			for _, f := range files {
				did, err := c.formatFile(f, !check)
				if err != nil {
					return err
				}
				if did {
					changed++
					fmt.Fprintln(c.out, f)
				}
			}
			if changed > 0 && check {
				return exit(exitFault)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "change nothing; list the files that differ and exit with 1")
	cmd.Flags().BoolVar(&recursive, "recursive", false, "also in subdirectories")
	return cmd
}

func (c *cli) formatStdin(in io.Reader) error {
	src, err := io.ReadAll(io.LimitReader(in, maxSource+1))
	if err != nil {
		return err
	}
	if len(src) > maxSource {
		return errors.New("standard input is larger than 1 MiB")
	}
	out, diags := load.Format(src, "<stdin>")
	if err := c.formatProblems("<stdin>", src, diags); err != nil {
		return err
	}
	_, err = c.out.Write(out)
	return err
}

const maxSource = 1 << 20

func (c *cli) formatFile(path string, write bool) (changed bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	if info.Size() > maxSource {
		return false, fmt.Errorf("%s is larger than 1 MiB", path)
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	out, diags := load.Format(src, path)
	if err := c.formatProblems(path, src, diags); err != nil {
		return false, err
	}
	if bytes.Equal(src, out) {
		return false, nil
	}
	if !write {
		return true, nil
	}
	return true, replaceFile(path, out, info.Mode().Perm())
}

func (c *cli) formatProblems(path string, src []byte, diags diag.List) error {
	diags.WithSnippets(map[string][]byte{path: src})
	if err := view.Diagnostics(c.err, diags, c.style(c.err)); err != nil {
		return err
	}
	if diags.HasErrors() {
		return exit(exitFault)
	}
	return nil
}

// replaceFile writes a file completely or not at all.
func replaceFile(path string, data []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".fmt-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

func configFiles(path string, recursive bool) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != path && (!recursive || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.Type().IsRegular() && (strings.HasSuffix(p, ".hold.hcl") || strings.HasSuffix(p, ".holdvars.hcl")):
			files = append(files, p)
		}
		return nil
	})
	slices.Sort(files)
	return files, err
}

func (c *cli) schemaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "schema",
		GroupID: "look",
		Short:   "Print the language: every block and argument",
		Long:    "Print the language reference as Markdown, or with --json the same table for editors and other programs.",
		Example: "  holdfast schema > reference.md\n  holdfast schema --json | jq -r '.blocks[].kind'",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a, err := c.app()
			if err != nil {
				return err
			}
			if c.json {
				_, err = c.out.Write(load.Schema(a.Types()))
			} else {
				_, err = c.out.Write(load.Reference(a.Types()))
			}
			return err
		},
	}
	return cmd
}

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		GroupID: "look",
		Short:   "Print the version of holdfast",
		Example: "  holdfast version\n  holdfast version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if c.json {
				return view.JSON(c.out, map[string]string{"version": Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
			}
			_, err := fmt.Fprintf(c.out, "holdfast %s (%s, %s/%s)\n", Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
