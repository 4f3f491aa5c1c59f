package configuration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/load"
)

func fmtCommand(c *command.Call) *cobra.Command {
	var check, recursive bool
	cmd := &cobra.Command{
		Use:     "fmt [FILE or DIRECTORY ...]",
		GroupID: command.SectionWork,
		Short:   "Rewrite configuration files in the canonical style",
		Long: `Rewrite *.hold.hcl and *.holdvars.hcl files in the canonical style: spacing and
alignment only, nothing is reordered. "-" formats standard input to standard output.`,
		Example: "  holdfast fmt\n  holdfast fmt --check --recursive\n  holdfast fmt - < plan.hold.hcl",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "-" {
				return formatStdin(cmd.Context(), c, cmd.InOrStdin(), check)
			}
			if err := c.CheckDir(); err != nil {
				return err
			}
			if len(args) == 0 {
				args = []string{"."}
			}
			var files []string
			for _, arg := range args {
				found, err := configFiles(c.File(arg), recursive)
				if err != nil {
					return err
				}
				files = append(files, found...)
			}
			done := formatted{Check: check, Files: len(files), Changed: []string{}, Diagnostics: diag.List{}}
			for _, f := range files {
				if err := done.file(cmd.Context(), c, f); err != nil {
					return err
				}
			}
			return done.report(c)
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "change nothing; list the files that differ and exit with 1")
	cmd.Flags().BoolVar(&recursive, "recursive", false, "also in subdirectories")
	return cmd
}

// formatted is what was found and done, as --json prints it.
type formatted struct {
	Check       bool      `json:"check"` // nothing was written
	Files       int       `json:"files"`
	Changed     []string  `json:"changed"` // with Check: those that differ
	Source      *string   `json:"source,omitempty"`
	Diagnostics diag.List `json:"diagnostics"`
}

// report says what was done to the files; people were told of each already.
func (d *formatted) report(c *command.Call) error {
	code := command.ExitDone
	if d.Diagnostics.HasErrors() || d.Check && len(d.Changed) > 0 {
		code = command.ExitFault
	}
	if c.JSON {
		return errors.Join(view.JSON(c.Out, d), command.Exit(code, nil))
	}
	return command.Exit(code, nil)
}

func formatStdin(ctx context.Context, c *command.Call, in io.Reader, check bool) error {
	src, err := app.ReadAll(ctx, in, "standard input")
	if err != nil {
		return err
	}
	out, diags, err := load.FormatWithin(ctx, src, "<stdin>")
	if err != nil {
		return err
	}
	done := formatted{Check: check, Files: 1, Changed: []string{}, Diagnostics: diag.List{}}
	if ok, err := done.problems(c, "<stdin>", src, diags); err != nil || !ok {
		return errors.Join(err, done.report(c))
	}
	if !bytes.Equal(src, out) {
		done.Changed = append(done.Changed, "<stdin>")
	}
	switch {
	case check && !c.JSON && len(done.Changed) > 0:
		_, err = fmt.Fprintln(c.Out, "<stdin>")
	case !check && c.JSON:
		text := string(out)
		done.Source = &text
	case !check:
		_, err = c.Out.Write(out)
	}
	return errors.Join(err, done.report(c))
}

// file formats one file. One with errors stays as it is, and ends the command for people.
func (d *formatted) file(ctx context.Context, c *command.Call, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file that can be rewritten; fmt - formats standard input", path)
	}
	src, err := app.ReadFile(ctx, path)
	var out []byte
	var diags diag.List
	if err == nil {
		out, diags, err = load.FormatWithin(ctx, src, path)
	}
	switch {
	case ctx.Err() != nil && len(d.Changed) > 0 && !d.Check:
		return fmt.Errorf("interrupted before %s; the files named above are rewritten", path)
	case err != nil:
		return err
	}
	ok, err := d.problems(c, path, src, diags)
	switch {
	case err != nil:
		return err
	case !ok && !c.JSON:
		return command.Exit(command.ExitFault, nil)
	case !ok || bytes.Equal(src, out):
		return nil
	}
	if !d.Check {
		if err := replaceFile(path, out, info.Mode().Perm()); err != nil {
			return err
		}
	}
	d.Changed = append(d.Changed, path)
	if c.JSON {
		return nil
	}
	_, err = fmt.Fprintln(c.Out, path)
	return err
}

// problems tells what is wrong with a file, and reports whether it can be formatted.
func (d *formatted) problems(c *command.Call, path string, src []byte, diags diag.List) (ok bool, err error) {
	if shown := load.Shown(path, src); shown != nil {
		diags.WithSnippets(map[string][]byte{path: shown})
	}
	d.Diagnostics = append(d.Diagnostics, diags...)
	if !c.JSON {
		err = view.Diagnostics(c.Err, diags, c.Style(c.Err))
	}
	return !diags.HasErrors(), err
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
		case d.Type().IsRegular() && !strings.HasPrefix(d.Name(), ".") && (strings.HasSuffix(p, ".hold.hcl") || strings.HasSuffix(p, ".holdvars.hcl")):
			files = append(files, p)
		}
		return nil
	})
	slices.Sort(files)
	return files, err
}
