package postgresql_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

// certificate makes a self-signed one for localhost.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	give(t, key)
	return cert, key
}

// TestTLS makes sure that the programs check the server's certificate as the library does: the server takes nothing else,
// and another certificate is refused.
func TestTLS(t *testing.T) {
	long(t)
	t.Parallel()
	c := own(t)
	c.exec(t, "postgres", "CREATE DATABASE app")
	must(t, c.pgctl("stop", "-m", "fast"))
	cert, key := certificate(t, c.dir)
	other, _ := certificate(t, t.TempDir())
	must(t, os.WriteFile(filepath.Join(c.data, "pg_hba.conf"),
		[]byte("local all all scram-sha-256\nhostssl all all all scram-sha-256\nhostssl replication all all scram-sha-256\n"), 0o600))
	give(t, filepath.Join(c.data, "pg_hba.conf"))
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	port := free.Addr().(*net.TCPAddr).Port
	must(t, free.Close())
	// The socket's name has the port, too: keep it where the other helpers look.
	c.startWith(t, fmt.Sprintf("-c listen_addresses=localhost -c port=%d -c ssl=on -c ssl_cert_file=%s -c ssl_key_file=%s", port, cert, key))
	must(t, os.Symlink(fmt.Sprintf(".s.PGSQL.%d", port), filepath.Join(c.dir, ".s.PGSQL.5432")))
	dsn := func(mode, root string) string {
		u := url.URL{Scheme: "postgres", User: url.UserPassword("admin", canary), Host: fmt.Sprintf("localhost:%d", port), Path: "/postgres"}
		u.RawQuery = url.Values{"sslmode": {mode}, "sslrootcert": {root}}.Encode()
		return u.String()
	}
	dev := openDevice(t, dsn("verify-full", cert))
	art, _ := capture(t, dev, export)
	capture(t, dev, secure)
	must(t, dev.Restore(t.Context(), providers.RestoreRequest{Action: export.Action, Domain: "again"}, art))
	for name, bad := range map[string]string{"wrong certificate": dsn("verify-full", other), "no TLS": dsn("disable", cert)} {
		if _, err := openDevice(t, bad).Capture(t.Context(), export, new(providertest.Artifact)); !errors.Is(err, providers.ErrUnavailable) {
			t.Errorf("%s: got %v, want ErrUnavailable", name, err)
		}
	}
}
