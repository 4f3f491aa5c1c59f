package disk

import "os"

// MoveByLink is how files are moved where the kernel cannot rename without replacing.
func MoveByLink(dir *os.Root, name, newName string) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return moveByLink(dir, int(f.Fd()), name, dir, int(f.Fd()), newName)
}
