package configuration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

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
				return formatStdin(c, cmd.InOrStdin())
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
			changed := 0
			for _, f := range files {
				did, err := formatFile(c, f, !check)
				if err != nil {
					return err
				}
				if did {
					changed++
					fmt.Fprintln(c.Out, f)
				}
			}
			if changed > 0 && check {
				return command.Exit(command.ExitFault, nil)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "change nothing; list the files that differ and exit with 1")
	cmd.Flags().BoolVar(&recursive, "recursive", false, "also in subdirectories")
	return cmd
}

func formatStdin(c *command.Call, in io.Reader) error {
	src, err := io.ReadAll(io.LimitReader(in, maxSource+1))
	if err != nil {
		return err
	}
	if len(src) > maxSource {
		return errors.New("standard input is larger than 1 MiB")
	}
	out, diags := load.Format(src, "<stdin>")
	if err := formatProblems(c, "<stdin>", src, diags); err != nil {
		return err
	}
	_, err = c.Out.Write(out)
	return err
}

const maxSource = 1 << 20

func formatFile(c *command.Call, path string, write bool) (changed bool, err error) {
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
	if err := formatProblems(c, path, src, diags); err != nil {
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

func formatProblems(c *command.Call, path string, src []byte, diags diag.List) error {
	diags.WithSnippets(map[string][]byte{path: src})
	if err := view.Diagnostics(c.Err, diags, c.Style(c.Err)); err != nil {
		return err
	}
	if diags.HasErrors() {
		return command.Exit(command.ExitFault, nil)
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
