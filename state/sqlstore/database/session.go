package database

import "os"

// A session is a number above 0 that a process holds for as long as it lives: a byte of the lock file.

// Hold takes the byte of a session until Free, or until the process, or this DB, ends. It is ErrHeld when somebody else has it.
func (d *DB) Hold(epoch int64) error {
	if err := d.lock.take(epoch); err != nil {
		return err
	}
	d.mu.Lock()
	d.mine[epoch] = true
	d.mu.Unlock()
	return nil
}

// Free gives the byte of a session back, if this DB holds it.
func (d *DB) Free(epoch int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.mine[epoch] {
		return nil
	}
	delete(d.mine, epoch)
	return d.lock.free(epoch)
}

// Dead reports whether the process of a session that did not end is gone. On a local file system the kernel knows, after
// a reboot and in another container too. On a network file system only processes of this host are judged.
func (d *DB) Dead(epoch int64, host string) (bool, error) {
	d.mu.Lock()
	mine := d.mine[epoch]
	d.mu.Unlock()
	if mine {
		return false, nil
	}
	if d.shared && host != Host() {
		return false, nil
	}
	held, err := d.lock.held(epoch, 1)
	return !held && err == nil, err
}

// Host is how sessions of this machine name it.
func Host() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}
