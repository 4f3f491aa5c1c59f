package source_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/holdfast-dr/holdfast/config/source"
)

// newKey makes an ssh key and its OpenSSH file.
func newKey(t *testing.T, passphrase string) (ssh.Signer, string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return signer, string(pem.EncodeToMemory(block))
}

// sshHome is a home directory with a key and a known_hosts file, and no agent.
func sshHome(t *testing.T, key string, known ...string) {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("SSH_AUTH_SOCK", "")
	t.Setenv("SSH_KNOWN_HOSTS", filepath.Join(home, "known"))
	writeFile(t, filepath.Join(home, "known"), strings.Join(known, "\n")+"\n")
	if key != "" {
		writeFile(t, filepath.Join(home, ".ssh", "id_ed25519"), key)
	}
}

// serveSSH is an ssh server that runs git-upload-pack for one user key.
func serveSSH(t *testing.T, host ssh.Signer, user ssh.PublicKey) (address string) {
	t.Helper()
	config := &ssh.ServerConfig{PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if meta.User() == "git" && string(key.Marshal()) == string(user.Marshal()) {
			return nil, nil
		}
		return nil, fmt.Errorf("unknown key")
	}}
	config.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveConn(conn, config)
		}
	}()
	return l.Addr().String()
}

func serveConn(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		go func() {
			defer channel.Close()
			for r := range requests {
				r.Reply(r.Type == "exec", nil)
				if r.Type != "exec" {
					continue
				}
				cmd := exec.Command("sh", "-c", string(r.Payload[4:]))
				cmd.Env, cmd.Stdout, cmd.Stderr = gitEnv, channel, channel.Stderr()
				status := byte(0)
				stdin, err := cmd.StdinPipe()
				if err != nil || cmd.Start() != nil {
					return
				}
				go func() {
					io.Copy(stdin, channel)
					stdin.Close()
				}()
				if cmd.Wait() != nil {
					status = 1
				}
				channel.SendRequest("exit-status", false, []byte{0, 0, 0, status})
				return
			}
		}()
	}
}

func TestSSH(t *testing.T) {
	r := newRepo(t)
	first := r.commit("first", "conf/a.hold.hcl", "one")
	second := r.commit("second", "conf/a.hold.hcl", "two")
	quoted := filepath.Join(t.TempDir(), "it's ! here")
	r.git("clone", "-q", "--bare", r.dir, quoted)
	host, _ := newKey(t, "")
	user, key := newKey(t, "")
	address := serveSSH(t, host, user.PublicKey())
	known := knownhosts.Line([]string{address}, host.PublicKey())
	url := "ssh://git@" + address + r.dir

	emptyTemp(t)
	sshHome(t, key, known)
	for _, u := range []string{url, "ssh://git@" + address + strings.ReplaceAll(quoted, " ", "%20")} {
		s := open(t, source.Spec{Repo: u, Path: "conf"})
		if listing(t, s.FS) != "a.hold.hcl=two" || s.Info.Commit != second || s.Info.Ref != "main" || s.Info.Repo != u {
			t.Errorf("%s: %s %+v", u, listing(t, s.FS), s.Info)
		}
		if d, err := s.Descends(context.Background(), first); err != nil || d != source.DescentYes {
			t.Errorf("descends: %q, %v", d, err)
		}
	}
	if s := open(t, source.Spec{Repo: url, Ref: first}); s.Info.Commit != first {
		t.Errorf("by id: %+v", s.Info)
	}
	refused(t, source.Spec{Repo: url + "-not"}, "no such repository")
	refused(t, source.Spec{Repo: url, Ref: "mai"}, "did you mean main?")
	empty := newRepo(t)
	refused(t, source.Spec{Repo: "ssh://git@" + address + empty.dir}, "has no commits yet")

	refused(t, source.Spec{Repo: strings.Replace(url, "git@", "ana@", 1)}, "accepts no key for user ana", "id_ed25519")
	_, stranger := newKey(t, "")
	sshHome(t, stranger, known)
	refused(t, source.Spec{Repo: url}, "accepts no key for user git", "no ssh agent")
	_, locked := newKey(t, "secret")
	sshHome(t, locked, known)
	refused(t, source.Spec{Repo: url}, "accepts no key", "needs a passphrase")
}

func TestSSHHostKeys(t *testing.T) {
	host, _ := newKey(t, "")
	other, _ := newKey(t, "")
	user, key := newKey(t, "")
	address := serveSSH(t, host, user.PublicKey())
	spec := source.Spec{Repo: "ssh://git@" + address + "/x"}
	print := ssh.FingerprintSHA256(host.PublicKey())

	sshHome(t, key)
	refused(t, spec, "not in known_hosts", print)
	sshHome(t, key, knownhosts.Line([]string{"other.example.net"}, host.PublicKey()))
	refused(t, spec, "not in known_hosts", print)
	sshHome(t, key, knownhosts.Line([]string{address}, other.PublicKey()))
	refused(t, spec, "has CHANGED", print)
	sshHome(t, key, "@revoked * "+strings.TrimSpace(string(ssh.MarshalAuthorizedKey(host.PublicKey()))))
	refused(t, spec, "revoked")
	t.Setenv("SSH_KNOWN_HOSTS", t.TempDir()+"/none")
	refused(t, spec, "no known_hosts file")
}
