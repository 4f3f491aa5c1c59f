package fault_test

import (
	"bytes"
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// argvWatch looks at the command lines of all processes until it is stopped, and counts looks and hits.
func argvWatch(canary string) (stop func() (looks int, hits []string)) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	var looks int
	var hits []string
	wg.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
			}
			all, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is sound
			for _, path := range all {
				if line, err := os.ReadFile(path); err == nil && bytes.Contains(line, []byte(canary)) {
					hits = append(hits, path+": "+string(line))
				}
			}
			looks++
		}
	})
	return func() (int, []string) {
		close(end)
		wg.Wait()
		return looks, hits
	}
}

// Every kind of credential carries a canary. It reaches the program that needs it and is written down nowhere.
func TestFaultSecrets(t *testing.T) {
	t.Parallel()
	canary := "CANARY" + rand.Text() // of this run alone: all command lines of the machine are looked at
	r := newRig(t, `
secret "env"   { env = "HOLDFAST_TEST_SECRET" }
secret "file"  { file = "${var.root}/secret/token" }
secret "exec"  { exec = ["${var.root}/secret/give"] }
secret "dsn"   { file = "${var.root}/secret/dsn" }
secret "wrong" { file = "${var.root}/secret/wrong" }
secret "key"   { file = "${var.root}/secret/key" }
device "command" "good" {
  command            = ["${var.root}/use", var.root]
  secret_environment = { ENV = secret.env, FILE = secret.file, EXEC = secret.exec }
}
device "command" "loud" {
  command            = ["${var.root}/shout", var.root]
  secret_environment = { ENV = secret.env, FILE = secret.file, EXEC = secret.exec }
}
device "postgresql" "away"      { dsn = secret.dsn }
device "postgresql" "malformed" { dsn = secret.wrong }
store "plain" "vault" {
  path = "${var.root}/vault"
  encrypt { recipients = ["`+oldPublic+`"] }
  decrypt { identity = secret.key }
}
backup_plan "good" {
  schedule = "0 23 * * *"
  store    = store.vault
  activity "all" {
    action  = "secure_backup"
    devices = ["good"]
  }
}
backup_plan "bad" {
  store = store.vault
  activity "all" {
    action  = "secure_backup"
    devices = ["loud", "away", "malformed"]
    pre_script { command = ["true"] }
  }
}
`)
	r.env = append(r.env, "HOLDFAST_TEST_SECRET="+canary+"-env-5a1")
	r.write("secret/token", canary+"-file-5a1\n")
	r.write("secret/give", "#!/bin/sh\nprintf '%s-exec-5a1\\n' "+canary[:3]+`""`+canary[3:]+"\n")
	r.write("secret/dsn", "postgres://op:"+canary+"-dsn-5a1@127.0.0.1:1/postgres\n")
	r.write("secret/wrong", "postgres://op:"+canary+"-wrong-5a1@127.0.0.1:port/postgres?x=%zz\n")
	r.write("secret/key", "# "+canary+"-comment-5a1\n"+oldPrivate+"\n")
	for _, name := range []string{"token", "dsn", "wrong", "key"} {
		check(t, os.Chmod(r.path("secret/"+name), 0o600))
	}
	r.write("use", "#!/bin/sh\necho \"$ENV $FILE $EXEC\" >\"$1/secret/used\"\necho content\n")
	r.write("shout", "#!/bin/sh\necho \"$ENV $FILE $EXEC\" >&2\nexit 1\n")

	stop := argvWatch(canary)
	r.ok("init")
	printed := 0
	keep := func(args ...string) answer {
		t.Helper()
		got := r.run(append(args, "--log-level=trace")...)
		printed++
		for _, text := range []string{got.out, got.err} {
			for _, secret := range []string{canary, oldPrivate} {
				if i := strings.Index(text, secret); i >= 0 {
					t.Errorf("holdfast %s prints ...%s", strings.Join(args, " "), text[max(0, i-80):min(len(text), i+40)])
				}
			}
		}
		return got
	}
	keep("plan", "--out=saved.plan")
	if got := keep("apply", "saved.plan", "--json"); got.code != 0 && got.code != 8 {
		t.Errorf("apply: %d %s", got.code, got.err)
	}
	for _, args := range [][]string{
		{"run", "bad"}, {"run", "bad", "--json"}, {"status"}, {"status", "--json"}, {"history"}, {"history", "--json"}, {"history", "2"}, {"history", "--json", "3"},
		{"history", "3.1"}, {"history", "--json", "3.1"}, {"history", "3.2"}, {"history", "3.3"}, {"state", "pull"}, {"state", "show", "device.away"},
		{"state", "list", "--json"}, {"show", "saved.plan"}, {"show", "--json", "saved.plan"}, {"verify", "--all", "--json"}, {"plan", "--format=markdown"},
		{"validate", "--json"}, {"state", "backup", "copy.db"}, {"restore", "--device=good", "--dir=out"},
	} {
		keep(args...)
	}
	r.write("secret/key", "# nothing\nAGE-SECRET-KEY-1"+canary+"\n")
	if got := keep("restore", "--device=good", "--dir=never"); got.code == 0 {
		t.Error("restored with a key that is none")
	}
	looks, hits := stop()
	for _, hit := range hits {
		t.Errorf("a command line shows it: %s", hit)
	}
	if used := r.read("secret/used"); strings.Count(used, canary) != 3 {
		t.Errorf("the program was given %q", used)
	}
	if r.read("out/export.out") != "content\n" {
		t.Error("the artifact was not restored")
	}
	files := 0
	check(t, filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Dir(path) == r.path("secret") {
			return err
		}
		data, err := os.ReadFile(path)
		files++
		for _, secret := range []string{canary, oldPrivate} {
			if bytes.Contains(data, []byte(secret)) {
				t.Errorf("%s contains a secret", path)
			}
		}
		return err
	}))
	figure(t, 20, "canaries in 6 credentials (environment, file, program, two connections, key): 0 hits in %d commands at trace level, %d files, %d looks at all command lines",
		printed, files, looks)
}
