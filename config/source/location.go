package source

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// location is a repository as named by a person.
type location struct {
	scheme string // "file", "https" or "ssh"
	path   string // absolute path, or the path on the server
	user   string
	host   string // name or address, IPv6 without brackets
	port   string // empty: the scheme's default
	shown  string // for messages and Info.Repo, without credentials
}

func (l location) remote() bool { return l.scheme != "file" }

var scpForm = regexp.MustCompile(`^([A-Za-z0-9._-]+)@([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([^:].*)$`)

const allowedForms = "use a local path, file:///path, https://host/path, ssh://user@host/path or user@host:path"

// parseLocation accepts the forms that are safe and refuses every other one:
// forms that run programs, that are not encrypted, and option look-alikes. No
// error repeats a password.
func parseLocation(repo string) (location, error) {
	switch {
	case strings.HasPrefix(repo, "-"):
		return location{}, fmt.Errorf("repository %q begins with a dash; %s", diag.Printable(redact(repo)), allowedForms)
	case diag.Printable(repo) != repo:
		return location{}, fmt.Errorf("repository %q has characters that do not belong in a name; %s", diag.Printable(redact(repo)), allowedForms)
	case strings.Contains(repo, "://"):
		return parseURL(repo)
	}
	if before, _, ok := strings.Cut(repo, "::"); ok && !strings.ContainsAny(before, "/@[") {
		return location{}, fmt.Errorf("repository %q names a git remote helper, which would run a program; %s", redact(repo), allowedForms)
	}
	if m := scpForm.FindStringSubmatch(repo); m != nil {
		return sshLocation(location{user: m[1], host: strings.Trim(m[2], "[]"), path: m[3], shown: repo})
	}
	abs, err := filepath.Abs(repo)
	if err != nil {
		return location{}, fmt.Errorf("repository %s: %w", repo, err)
	}
	return location{scheme: "file", path: abs, shown: abs}, nil
}

func parseURL(repo string) (location, error) {
	shown := redact(repo)
	u, err := url.Parse(repo)
	if err != nil {
		return location{}, fmt.Errorf("repository %q is not a valid URL; %s", shown, allowedForms)
	}
	if u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return location{}, fmt.Errorf("repository %q has a query or fragment, which git does not know; give the plain URL", shown)
	}
	if _, has := u.User.Password(); has {
		return location{}, fmt.Errorf("repository %q contains a password, which would be seen in process lists and records; take it out and set HOLDFAST_GIT_TOKEN (https) or use a key (ssh)", shown)
	}
	l := location{scheme: u.Scheme, path: u.Path, user: u.User.Username(), host: u.Hostname(), port: u.Port(), shown: shown}
	switch u.Scheme {
	case "file":
		if l.host != "" && l.host != "localhost" || l.user != "" {
			return location{}, fmt.Errorf("repository %q names a host; file URLs are local: file:///path", shown)
		}
		if !filepath.IsAbs(l.path) {
			return location{}, fmt.Errorf("repository %q has no absolute path; write file:///path", shown)
		}
		l.path = filepath.Clean(l.path)
		l.shown = l.path
		return l, nil
	case "https":
		if l.host == "" || strings.Trim(l.path, "/") == "" {
			return location{}, fmt.Errorf("repository %q lacks a host or a path; %s", shown, allowedForms)
		}
		return l, nil
	case "ssh":
		// The user of an ssh URL is an account name that reviewers need to see.
		if l.user != "" {
			l.shown = strings.Replace(shown, "***@", l.user+"@", 1)
		}
		return sshLocation(l)
	case "http", "git":
		return location{}, fmt.Errorf("repository %q would be read unencrypted, so anyone on the way could change it; use https or ssh", shown)
	}
	return location{}, fmt.Errorf("repository %q has the scheme %s, which is not allowed; %s", shown, u.Scheme, allowedForms)
}

// sshLocation checks what an ssh server will be asked.
func sshLocation(l location) (location, error) {
	l.scheme = "ssh"
	if rest, ok := strings.CutPrefix(l.path, "/~"); ok {
		l.path = "~" + rest
	}
	switch {
	case l.host == "" || strings.Trim(l.path, "/") == "":
		return l, fmt.Errorf("repository %q lacks a host or a path; %s", l.shown, allowedForms)
	case strings.HasPrefix(l.host, "-") || strings.HasPrefix(l.path, "-") || strings.HasPrefix(l.user, "-"):
		return l, fmt.Errorf("repository %q has a part that begins with a dash, which a program could take for an option", l.shown)
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
