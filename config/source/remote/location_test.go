package remote_test

import (
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/config/source/remote"
)

func TestParse(t *testing.T) {
	for repo, want := range map[string]remote.Location{
		"file:///srv/../srv/git":        {Scheme: "file", Path: "/srv/git", Shown: "/srv/git"},
		"/srv/git/":                     {Scheme: "file", Path: "/srv/git", Shown: "/srv/git"},
		"https://me@example.org:8443/x": {Scheme: "https", Path: "/x", User: "me", Host: "example.org", Port: "8443", Shown: "https://***@example.org:8443/x"},
		"ssh://git@[::1]:2222/~/x":      {Scheme: "ssh", Path: "~/x", User: "git", Host: "::1", Port: "2222", Shown: "ssh://git@[::1]:2222/~/x"},
		"git@example.org:x.git":         {Scheme: "ssh", Path: "x.git", User: "git", Host: "example.org", Shown: "git@example.org:x.git"},
	} {
		got, err := remote.Parse(repo)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", repo, got, err)
		}
		if got.OnServer() != (want.Scheme != "file") {
			t.Errorf("%s is on a server: %v", repo, got.OnServer())
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, repo := range []string{
		"--upload-pack=sh", "ext::sh -c x", "http://example.org/x", "git://example.org/x", "https://example.org", "https://example.org/x?a=b",
		"https://me:hunter2@example.org/x", "file://example.org/x", "ssh://-oProxyCommand=x/y", "git@example.org:-x", "ftp://example.org/x", "a\x00b",
	} {
		loc, err := remote.Parse(repo)
		if err == nil {
			t.Errorf("%q: %+v", repo, loc)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error repeats the password", repo)
		}
	}
}
