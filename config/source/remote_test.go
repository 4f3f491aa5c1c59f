package source_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dr/holdfast/config/source"
	"github.com/holdfast-dr/holdfast/config/source/remote"
)

// TestMain makes the certificate of httptest's servers a trusted one.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		server := httptest.NewTLSServer(http.NotFoundHandler())
		defer server.Close()
		dir, err := os.MkdirTemp("", "source-test-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "ca.pem")
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
		if err := os.WriteFile(file, text, 0o600); err != nil {
			panic(err)
		}
		os.Setenv("SSL_CERT_FILE", file)
		os.Unsetenv(remote.TokenVariable)
		return m.Run()
	}())
}

// serveHTTPS serves a repository with git's own server program.
func serveHTTPS(t *testing.T, r *repo) (url string) {
	t.Helper()
	server := httptest.NewTLSServer(backend(t, r))
	t.Cleanup(server.Close)
	return server.URL + "/" + filepath.Base(r.dir)
}

func backend(t *testing.T, r *repo) http.Handler {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Skip("git is not installed")
	}
	program := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(program); err != nil {
		t.Skip("git http-backend is not installed")
	}
	return &cgi.Handler{Path: program, Stderr: io.Discard, Root: "/", Env: append(gitEnv, "GIT_PROJECT_ROOT="+filepath.Dir(r.dir), "GIT_HTTP_EXPORT_ALL=1",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")}
}

// emptyTemp fails the test if anything is left in the directory for temporary
// files once everything is closed.
func emptyTemp(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	})
}

func TestHTTPS(t *testing.T) {
	for _, filter := range []string{"true", "false"} {
		t.Run("filter "+filter, func(t *testing.T) {
			r := newRepo(t)
			r.git("config", "uploadpack.allowFilter", filter)
			first := r.commit("first", "conf/a.hold.hcl", "one", "big", strings.Repeat("x", 3<<20))
			r.git("tag", "-a", "-m", "annotated", "v1")
			r.git("branch", "old")
			second := r.commit("second", "conf/a.hold.hcl", "two")
			third := r.commit("third", "conf/a.hold.hcl", "three")
			r.git("switch", "-q", "--orphan", "apart")
			apart := r.commit("apart", "x.hold.hcl", "x")
			r.git("switch", "-q", "main")
			url := serveHTTPS(t, r)

			for _, tc := range []struct{ ref, commit, name, content string }{
				{"", third, "main", "three"},
				{"main", third, "main", "three"},
				{"old", first, "old", "one"},
				{"v1", first, "v1", "one"},
				{"refs/heads/old", first, "old", "one"},
				{third, third, "", "three"},
				{second, second, "", "two"},
				{second[:8], second, "", "two"},
			} {
				emptyTemp(t)
				s := open(t, source.Spec{Repo: url, Ref: tc.ref, Path: "conf"})
				if got := listing(t, s.FS); got != "a.hold.hcl="+tc.content {
					t.Errorf("%q: listing %q", tc.ref, got)
				}
				if s.Info.Commit != tc.commit || s.Info.Ref != tc.name || s.Info.Repo != url || s.Info.Dirty {
					t.Errorf("%q: info %+v", tc.ref, s.Info)
				}
			}
			s := open(t, source.Spec{Repo: url})
			for ancestor, want := range map[string]source.Descent{third: source.DescentSame, second: source.DescentYes,
				first: source.DescentYes, apart: source.DescentNo, strings.Repeat("12", 20): source.DescentNo} {
				if got, err := s.Descends(context.Background(), ancestor); err != nil || got != want {
					t.Errorf("descends from %s: %q, %v; want %q", ancestor, got, err, want)
				}
			}
			refused(t, source.Spec{Repo: url, Ref: "mai"}, "did you mean main?", url)
			refused(t, source.Spec{Repo: url, Ref: strings.Repeat("12", 20)}, "no branch, tag or commit 1212")
			refused(t, source.Spec{Repo: url, Ref: "12121212"}, "no branch, tag or commit 1212")
			refused(t, source.Spec{Repo: url, Path: "cnf"}, "did you mean conf?")
			refused(t, source.Spec{Repo: url + "-not"}, "no such repository")
			r.commit("large", "big.hold.hcl", strings.Repeat("x", 17<<20))
			refused(t, source.Spec{Repo: url}, "big.hold.hcl")
		})
	}
	empty := newRepo(t)
	refused(t, source.Spec{Repo: serveHTTPS(t, empty)}, "has no commits yet")
}

func TestHTTPSToken(t *testing.T) {
	const token = "c4n4ry-token"
	r := newRepo(t)
	r.commit("c", "a.hold.hcl", "one")
	git := backend(t, r)
	var elsewhere []string
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		elsewhere = append(elsewhere, req.Header.Get("Authorization"))
		http.Error(w, "no", http.StatusUnauthorized)
	}))
	t.Cleanup(other.Close)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		user, password, _ := req.BasicAuth()
		switch {
		case strings.HasPrefix(req.URL.Path, "/redirect"):
			http.Redirect(w, req, other.URL+"/x/info/refs?service=git-upload-pack", http.StatusFound)
		case strings.HasPrefix(req.URL.Path, "/plain"):
			http.Redirect(w, req, "http://"+other.Listener.Addr().String()+"/x/info/refs?service=git-upload-pack", http.StatusFound)
		case strings.HasPrefix(req.URL.Path, "/echo"):
			http.Error(w, "you sent "+password+"\x1b[2J", http.StatusUnauthorized)
		case strings.HasPrefix(req.URL.Path, "/say"):
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			fmt.Fprintf(w, "%s0000%s", pkt("# service=git-upload-pack\n"), pkt("ERR you sent "+password+"\x1b[2J\n"))
		case password != token || user == "":
			http.Error(w, "no", http.StatusUnauthorized)
		default:
			git.ServeHTTP(w, req)
		}
	}))
	t.Cleanup(server.Close)
	url := server.URL + "/" + filepath.Base(r.dir)

	refused(t, source.Spec{Repo: url}, "wants a login", remote.TokenVariable)
	t.Setenv(remote.TokenVariable, "wrong-c4n4ry")
	if err := refused(t, source.Spec{Repo: url}, "does not accept the token"); strings.Contains(err.Error(), "c4n4ry") {
		t.Errorf("the error shows the token: %v", err)
	}
	t.Setenv(remote.TokenVariable, token)
	for _, u := range []string{url, strings.Replace(url, "https://", "https://ana@", 1)} {
		s := open(t, source.Spec{Repo: u})
		if text := fmt.Sprintf("%+v", s.Info); strings.Contains(text, "c4n4ry") || strings.Contains(text, "ana@") && !strings.Contains(text, "ana@example") {
			t.Errorf("info shows credentials: %s", text)
		}
	}
	for _, path := range []string{"/echo", "/say", "/redirect", "/plain"} {
		err := refused(t, source.Spec{Repo: server.URL + path})
		if strings.Contains(err.Error(), "c4n4ry") || strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("%s: %q", path, err)
		}
	}
	if len(elsewhere) != 1 || elsewhere[0] != "" {
		t.Errorf("another server was asked with credentials: %q", elsewhere)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	refused(t, source.Spec{Repo: "https://" + closed + "/x"}, "refuses connections")
	refused(t, source.Spec{Repo: "https://name.invalid/x"}, "name.invalid")

	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	refused(t, source.Spec{Repo: strings.Replace(plain.URL, "http:", "https:", 1) + "/x"}, "read https://")
	trusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	trusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	trusted.StartTLS()
	t.Cleanup(trusted.Close)
	_, port, _ := net.SplitHostPort(trusted.Listener.Addr().String())
	refused(t, source.Spec{Repo: "https://localhost:" + port + "/x"}, "certificate is not trusted")
}

func TestSilentServer(t *testing.T) {
	stop := make(chan struct{})
	silent := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(stop) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	sshHome(t, "")
	for _, repo := range []string{silent.URL + "/x", "https://" + l.Addr().String() + "/x", "ssh://git@" + l.Addr().String() + "/x"} {
		before := goleak.IgnoreCurrent()
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		_, err := source.Open(ctx, source.Spec{Repo: repo})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "did not answer in time") {
			t.Errorf("%s: %v", repo, err)
		}
		// net/http ends an abandoned TLS handshake by its own, longer timeout.
		if strings.HasPrefix(repo, "ssh:") {
			goleak.VerifyNone(t, before)
		}
	}
}

func pkt(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }

// TestHostileServer lets a server send packs that no git would make.
func TestHostileServer(t *testing.T) {
	const id = "1234567890123456789012345678901234567890"
	endless := func(w io.Writer) {
		line := []byte(pkt(id + " refs/heads/" + strings.Repeat("x", 1000) + "\n"))
		for {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	}
	zeros := make([]byte, 1<<20)
	for name, tc := range map[string]struct {
		advertise func(io.Writer)
		pack      []byte
		words     []string
	}{
		"endless refs":       {endless, nil, []string{"sends more than"}},
		"no pack":            {nil, []byte("hello"), []string{"damaged"}},
		"cut header":         {nil, []byte("PACK\x00\x00"), []string{"damaged"}},
		"no objects":         {nil, pack(0), []string{"object is missing", id}},
		"other objects":      {nil, pack(1, object(3, 1, deflate([]byte("x")))), []string{"object is missing", id}},
		"four billion":       {nil, pack(0xffffffff), []string{"sends 4294967295 objects"}},
		"huge size":          {nil, pack(1, object(3, 1<<40, deflate(zeros))), []string{"unpack to more than"}},
		"wrong size":         {nil, pack(1, object(3, 10, deflate(zeros))), []string{"damaged"}},
		"overflowing size":   {nil, pack(1, append(bytes.Repeat([]byte{0xff}, 12), 0)), []string{"damaged"}},
		"delta bomb":         {nil, pack(2, object(3, 1<<20, deflate(zeros)), refDelta(sha(zeros), 1<<20, 1<<40)), []string{"unpack to more than"}},
		"many large":         {nil, pack(20, repeat(20, object(3, 30<<20, deflate(make([]byte, 30<<20))))...), []string{"unpack to more than"}},
		"delta without base": {nil, pack(1, refDelta(sha(zeros), 1<<20, 1<<20)), []string{"damaged"}},
		"truncated":          {nil, pack(1, object(3, 1<<20, deflate(zeros)[:20])), []string{"damaged"}},
	} {
		t.Run(name, func(t *testing.T) {
			emptyTemp(t)
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.Method == http.MethodPost {
					io.WriteString(w, pkt("NAK\n"))
					w.Write(tc.pack)
					return
				}
				w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
				io.WriteString(w, pkt("# service=git-upload-pack\n")+"0000"+pkt(id+" HEAD\x00symref=HEAD:refs/heads/main\n")+pkt(id+" refs/heads/main\n"))
				if tc.advertise != nil {
					tc.advertise(w)
				}
				io.WriteString(w, "0000")
			}))
			t.Cleanup(server.Close)
			refused(t, source.Spec{Repo: server.URL + "/x"}, tc.words...)
		})
	}
}

// pack puts objects into git's pack format, version 2.
func pack(count uint32, objects ...[]byte) []byte {
	b := []byte("PACK\x00\x00\x00\x02")
	b = binary.BigEndian.AppendUint32(b, count)
	for _, o := range objects {
		b = append(b, o...)
	}
	sum := sha1.Sum(b)
	return append(b, sum[:]...)
}

func object(kind byte, size uint64, body []byte) []byte {
	b := []byte{kind<<4 | byte(size&15)}
	for size >>= 4; size > 0; size >>= 7 {
		b[len(b)-1] |= 0x80
		b = append(b, byte(size&127))
	}
	return append(b, body...)
}

// refDelta is a delta that announces a result of some size.
func refDelta(base [20]byte, baseSize, size uint64) []byte {
	delta := binary.AppendUvarint(nil, baseSize)
	delta = binary.AppendUvarint(delta, size)
	delta = append(delta, 0x80|0x10|0x20|0x40, 0xff, 0xff, 0xff)
	return object(7, uint64(len(delta)), append(base[:], deflate(delta)...))
}

func sha(blob []byte) [20]byte {
	return sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(blob)), blob...))
}

func deflate(b []byte) []byte {
	var buf bytes.Buffer
	w := zlib.NewWriter(&buf)
	w.Write(b)
	w.Close()
	return buf.Bytes()
}

func repeat(n int, b []byte) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = b
	}
	return all
}
