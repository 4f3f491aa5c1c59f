package language

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// ErrPassword is the error of an endpoint with a password in its URL.
var ErrPassword = errors.New("the URL has a password in it, and credentials never stand in the configuration")

var schemePattern = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)

// CheckEndpoint checks the form of an endpoint's URL.
func CheckEndpoint(s string) error {
	scheme, rest, found := strings.Cut(s, "://")
	switch {
	case !found || !schemePattern.MatchString(scheme):
		if strings.HasPrefix(s, "/") {
			return fmt.Errorf(`%s is a path; write endpoint("file://%s")`, diag.Quote(s), s)
		}
		return fmt.Errorf(`%s is not a URL; write for example endpoint("file:///srv/data")`, diag.Quote(s))
	case rest == "":
		return fmt.Errorf("%s names no place", diag.Quote(s))
	case strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("%s has control characters", diag.Quote(s))
	}
	if scheme == "file" {
		return checkFileEndpoint(s, rest)
	}
	u, err := url.Parse(s)
	if err != nil {
		return errors.New("it is not a well-formed URL")
	}
	if _, has := u.User.Password(); has {
		return ErrPassword
	}
	return nil
}

// checkFileEndpoint checks a path, which is taken literally: nothing in it is decoded.
func checkFileEndpoint(s, p string) error {
	switch {
	case !strings.HasPrefix(p, "/"):
		return fmt.Errorf(`%s needs an absolute path; write for example endpoint("file:///%s")`, diag.Quote(s), p)
	case path.Clean(p) != p:
		return fmt.Errorf(`%s is not a plain path; write endpoint("file://%s")`, diag.Quote(s), path.Clean(p))
	case p == "/":
		return errors.New("the root directory cannot be a side of a mirror")
	}
	return nil
}
