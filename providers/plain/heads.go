package plain

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/chain"
	"github.com/holdfast-dr/holdfast/providers/plain/disk"
	"github.com/holdfast-dr/holdfast/providers/plain/layout"
)

const (
	headsDir = layout.MetaDir + "/heads"
	headLock = "lock"
)

// writerID names the chain this process writes. One installation keeps one name,
// so that the heads do not multiply; two hosts have two, so that they need not
// wait for each other. Without a name of the installation it is the host's:
// its machine id, or its host name where there is none.
func writerID(installation string) string {
	name := installation
	if name == "" {
		id, err := os.ReadFile("/etc/machine-id")
		if name = strings.TrimSpace(string(id)); err != nil || name == "" {
			host, _ := os.Hostname() // an empty name is a name
			name = "host " + host
		}
	}
	return chain.Sum([]byte("holdfast writer\x00" + name))[:16]
}

// addEvent adds an event to this writer's chain, once. The head is written first, with a copy of
// the event in it; what a crash kept from its place is put there by the next call, whatever
// event that is for. Where the file system has no locks, two processes of one writer may give a number
// twice, which Check finds.
func (s *store) addEvent(ctx context.Context, root *os.Root, e layout.Record) error {
	heads, err := disk.MakeSub(root, headsDir)
	if err != nil {
		return s.fault("record", headsDir, err)
	}
	defer heads.Close()
	unlock, err := disk.Lock(ctx, heads, headLock)
	if err != nil {
		return s.fault("record", path.Join(headsDir, headLock), err)
	}
	defer unlock()

	head, err := s.head(ctx, root, heads)
	if err != nil {
		return err
	}
	if head.Entry != "" {
		if _, err := s.putEntry(root, head.Path, head.Entry); err != nil {
			return err
		}
	}
	rel := layout.RecordPath(e.ArtifactRef, e.Event)
	if there, err := s.putEntry(root, rel, ""); there || err != nil {
		return err
	}
	e.Link = head.Next()
	data, err := layout.Encode(e)
	if err != nil {
		return s.fault("record", rel, err)
	}
	head = chain.Head{Schema: 1, Writer: s.writer, Seq: e.Seq, Path: rel, SHA256: chain.Sum(data), Entry: string(data)}
	if data, err = layout.Encode(head); err != nil {
		return s.fault("record", rel, err)
	}
	if err := s.step("record: write head"); err != nil {
		return err
	}
	if err := disk.Replace(heads, s.headName(), data); err != nil {
		return s.fault("record", path.Join(headsDir, s.headName()), err)
	}
	_, err = s.putEntry(root, rel, head.Entry)
	return err
}

// putEntry puts an entry where it belongs and reports whether one is there already. The empty entry is not written.
func (s *store) putEntry(root *os.Root, rel, data string) (there bool, err error) {
	dir, err := disk.MakeSub(root, path.Dir(rel))
	if err != nil {
		return false, s.fault("record", path.Dir(rel), err)
	}
	defer dir.Close()
	if there, err = disk.Exists(dir, path.Base(rel)); there || err != nil || data == "" {
		return there, s.fault("record", rel, err)
	}
	if err := s.step("record: write event"); err != nil {
		return false, err
	}
	return false, s.fault("record", rel, disk.Replace(dir, path.Base(rel), []byte(data)))
}

func (s *store) headName() string { return s.writer + ".json" }

// head reads the end of this writer's chain. When it is gone or damaged, the
// catalogue tells it: backups go on, and Check has told what was wrong until then.
func (s *store) head(ctx context.Context, root, heads *os.Root) (chain.Head, error) {
	head, err := s.readHead(heads, s.headName())
	if err == nil || !errors.Is(err, providers.ErrNotFound) && !errors.Is(err, providers.ErrCorrupt) {
		return head, err
	}
	last := chain.Head{Schema: 1, Writer: s.writer}
	for e := range s.catalog(ctx, root) {
		if ctx.Err() != nil {
			return last, ctx.Err()
		}
		if e.err == nil && e.Writer == s.writer && e.Seq > last.Seq {
			last.Seq, last.Path, last.SHA256 = e.Seq, e.path, e.sum
		}
	}
	return last, nil
}

// readHead reads one head. One that is not what was written is ErrCorrupt.
func (s *store) readHead(heads *os.Root, name string) (chain.Head, error) {
	var head chain.Head
	data, err := disk.Read(heads, name, 8*layout.RecordLimit)
	if err != nil {
		return head, s.fault("read", path.Join(headsDir, name), err)
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return head, s.corrupt(path.Join(headsDir, name), "%w", err)
	}
	if _, err := layout.DecodeRecord([]byte(head.Entry), head.Path); err != nil || !head.Sound(strings.TrimSuffix(name, ".json")) {
		return head, s.corrupt(path.Join(headsDir, name), "%w", cmp.Or(err, errors.New("its hash or its writer is another")))
	}
	if whole, err := layout.Encode(head); err != nil || !bytes.Equal(whole, data) {
		return head, s.corrupt(path.Join(headsDir, name), "it is not as it was written")
	}
	return head, nil
}

// heads reads the heads of all writers. Those that cannot be understood are told by name.
func (s *store) heads(root *os.Root) (heads []chain.Head, damaged map[string]error, err error) {
	damaged = map[string]error{}
	dir, err := disk.Sub(root, headsDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, damaged, nil
	}
	if err != nil {
		return nil, nil, s.fault("read", headsDir, err)
	}
	defer dir.Close()
	names, err := disk.Entries(dir)
	if err != nil {
		return nil, nil, s.fault("read", headsDir, err)
	}
	for _, n := range names {
		if strings.HasPrefix(n.Name(), ".") || n.Name() == headLock {
			continue
		}
		if head, err := s.readHead(dir, n.Name()); err != nil {
			damaged[path.Join(headsDir, n.Name())] = err
		} else {
			heads = append(heads, head)
		}
	}
	return heads, damaged, nil
}
