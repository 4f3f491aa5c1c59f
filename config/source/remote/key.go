package remote

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// keyring is where this process finds ssh keys: the agent and the usual files.
type keyring struct {
	agent   agent.ExtendedAgent // nil without one
	remarks []string
}

// clientKeys connects to the ssh agent if there is one. done ends that.
func clientKeys() (k *keyring, done func()) {
	k = &keyring{}
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		k.remark("no ssh agent (SSH_AUTH_SOCK is not set)")
		return k, func() {}
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		k.remark("the ssh agent does not answer")
		return k, func() {}
	}
	k.agent = agent.NewClient(conn)
	return k, func() { conn.Close() }
}

func (k *keyring) remark(s string) { k.remarks = append(k.remarks, s) }

// tried tells which keys there were, for an error.
func (k *keyring) tried() string { return "tried: " + strings.Join(k.remarks, "; ") }

func (k *keyring) signers() ([]ssh.Signer, error) {
	var all []ssh.Signer
	if k.agent != nil {
		held, err := k.agent.Signers()
		switch {
		case err != nil:
			k.remark("the ssh agent does not answer")
		case len(held) == 0:
			k.remark("the ssh agent holds no key")
		default:
			k.remark("the keys of the ssh agent")
		}
		all = append(all, held...)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		k.remark("no home directory")
		return all, nil
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		path := filepath.Join(home, ".ssh", name)
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			k.remark(path + " cannot be read")
			continue
		}
		signer, err := ssh.ParsePrivateKey(text)
		var locked *ssh.PassphraseMissingError
		switch {
		case errors.As(err, &locked):
			k.remark(path + " needs a passphrase, load it into an ssh agent")
		case err != nil:
			k.remark(path + " is not a private key")
		default:
			k.remark(path)
			all = append(all, signer)
		}
	}
	return all, nil
}
