package remote

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// Location is where a repository is, as named by a person: on this machine or on
// a server.
type Location struct {
	Scheme string // "file", "https" or "ssh"
	Path   string // absolute path, or the path on the server
	User   string
	Host   string // name or address, IPv6 without brackets
	Port   string // empty: the scheme's default
	Shown  string // for messages and records, without credentials
}

// OnServer reports whether the repository has to be fetched from a server.
func (l Location) OnServer() bool { return l.Scheme != "file" }

var scpForm = regexp.MustCompile(`^([A-Za-z0-9._-]+)@([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([^:].*)$`)

const allowedForms = "use a local path, file:///path, https://host/path, ssh://user@host/path or user@host:path"

// Parse accepts the forms that are safe and refuses every other one: forms that
// run programs, that are not encrypted, and option look-alikes. No error repeats
// a password.
func Parse(repo string) (Location, error) {
	switch {
	case strings.HasPrefix(repo, "-"):
		return Location{}, fmt.Errorf("repository %q begins with a dash; %s", diag.Printable(redact(repo)), allowedForms)
	case diag.Printable(repo) != repo:
		return Location{}, fmt.Errorf("repository %q has characters that do not belong in a name; %s", diag.Printable(redact(repo)), allowedForms)
	case strings.Contains(repo, "://"):
		return parseURL(repo)
	}
	if before, _, ok := strings.Cut(repo, "::"); ok && !strings.ContainsAny(before, "/@[") {
		return Location{}, fmt.Errorf("repository %q names a git remote helper, which would run a program; %s", redact(repo), allowedForms)
	}
	if m := scpForm.FindStringSubmatch(repo); m != nil {
		return sshLocation(Location{User: m[1], Host: strings.Trim(m[2], "[]"), Path: m[3], Shown: repo})
	}
	abs, err := filepath.Abs(repo)
	if err != nil {
		return Location{}, fmt.Errorf("repository %s: %w", repo, err)
	}
	return Location{Scheme: "file", Path: abs, Shown: abs}, nil
}

func parseURL(repo string) (Location, error) {
	shown := redact(repo)
	u, err := url.Parse(repo)
	if err != nil {
		return Location{}, fmt.Errorf("repository %q is not a valid URL; %s", shown, allowedForms)
	}
	if u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return Location{}, fmt.Errorf("repository %q has a query or fragment, which git does not know; give the plain URL", shown)
	}
	if _, has := u.User.Password(); has {
		return Location{}, fmt.Errorf("repository %q contains a password, which would be seen in process lists and records; take it out and set HOLDFAST_GIT_TOKEN (https) or use a key (ssh)", shown)
	}
	l := Location{Scheme: u.Scheme, Path: u.Path, User: u.User.Username(), Host: u.Hostname(), Port: u.Port(), Shown: shown}
	switch u.Scheme {
	case "file":
		if l.Host != "" && l.Host != "localhost" || l.User != "" {
			return Location{}, fmt.Errorf("repository %q names a host; file URLs are local: file:///path", shown)
		}
		if !filepath.IsAbs(l.Path) {
			return Location{}, fmt.Errorf("repository %q has no absolute path; write file:///path", shown)
		}
		l.Path = filepath.Clean(l.Path)
		l.Shown = l.Path
		return l, nil
	case "https":
		if l.Host == "" || strings.Trim(l.Path, "/") == "" {
			return Location{}, fmt.Errorf("repository %q lacks a host or a path; %s", shown, allowedForms)
		}
		return l, nil
	case "ssh":
		// The user of an ssh URL is an account name that reviewers need to see.
		if l.User != "" {
			l.Shown = strings.Replace(shown, "***@", l.User+"@", 1)
		}
		return sshLocation(l)
	case "http", "git":
		return Location{}, fmt.Errorf("repository %q would be read unencrypted, so anyone on the way could change it; use https or ssh", shown)
	}
	return Location{}, fmt.Errorf("repository %q has the scheme %s, which is not allowed; %s", shown, u.Scheme, allowedForms)
}

// sshLocation checks what an ssh server will be asked.
func sshLocation(l Location) (Location, error) {
	l.Scheme = "ssh"
	if rest, ok := strings.CutPrefix(l.Path, "/~"); ok {
		l.Path = "~" + rest
	}
	switch {
	case l.Host == "" || strings.Trim(l.Path, "/") == "":
		return l, fmt.Errorf("repository %q lacks a host or a path; %s", l.Shown, allowedForms)
	case strings.HasPrefix(l.Host, "-") || strings.HasPrefix(l.Path, "-") || strings.HasPrefix(l.User, "-"):
		return l, fmt.Errorf("repository %q has a part that begins with a dash, which a program could take for an option", l.Shown)
	}
	return l, nil
}

var userinfo = regexp.MustCompile(`^([^/@]*//)?[^/]*@`)

// redact hides the user part and the query of anything that looks like a URL,
// valid or not.
func redact(repo string) string {
	if !strings.Contains(repo, "://") {
		return repo
	}
	repo, _, cut := strings.Cut(repo, "?")
	if cut {
		repo += "?***"
	}
	return userinfo.ReplaceAllString(repo, "${1}***@")
}
