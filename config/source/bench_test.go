package source_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/config/source"
)

// largeRepo has 5,000 configuration files and 10,000 commits.
func largeRepo(b *testing.B) (r *repo, first string) {
	b.Helper()
	r = newRepo(b)
	var in strings.Builder
	for c := range 10_000 {
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter Ben <ben@example.net> %d +0000\ndata 2\nm\n", 1_700_000_000+c*60)
		files := 1
		if c == 0 {
			files = 5_000
		}
		for f := range files {
			body := fmt.Sprintf("backup_plan \"p%d\" {\n  schedule = \"0 23 * * 1-5\"\n  # %d\n}\n", f, c)
			fmt.Fprintf(&in, "M 644 inline conf/%05d.hold.hcl\ndata %d\n%s\n", (f+c)%5_000, len(body), body)
		}
	}
	r.gitIn(in.String(), "fast-import", "--quiet")
	r.git("reset", "-q", "--hard")
	return r, r.git("rev-list", "--max-parents=0", "HEAD")
}

func BenchmarkLarge(b *testing.B) {
	r, first := largeRepo(b)
	ctx := context.Background()
	try := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	openClose := func(spec source.Spec) func() error {
		return func() error {
			s, err := source.Open(ctx, spec)
			if err != nil {
				return err
			}
			return s.Close()
		}
	}
	all := func(layout string) {
		try(layout+"/commit", openClose(source.Spec{Repo: r.dir, Path: "conf"}))
		try(layout+"/directory", openClose(source.Spec{Dir: r.dir + "/conf"}))
		try(layout+"/descends 10,000", func() error {
			d, err := source.Descends(ctx, source.Spec{Repo: r.dir, Path: "conf"}, first)
			if err == nil && d != source.DescentYes {
				err = fmt.Errorf("descent %q", d)
			}
			return err
		})
	}
	all("import pack")
	r.git("gc", "-q")
	all("gc")
}
